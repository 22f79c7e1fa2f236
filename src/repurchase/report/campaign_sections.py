"""The last campaigns and what they brought, from the files that `repurchase campaign` wrote."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from repurchase.errors import InputError
from repurchase.report.language import say
from repurchase.report.words import count, counted, day, decimal, money, share
from repurchase.storage.outputs import json_in

__all__ = ["MOST_CAMPAIGNS", "campaign_rows", "read_campaigns"]

MOST_CAMPAIGNS = 8
MEASURED = ".measured.json"
SCHEMA, PLAN, MEASURE = 1, "campaign plan", "campaign measure"
LARGEST_BYTES = 20_000_000
Row = dict[str, Any]
Record = Mapping[str, Any]


def read_campaigns(folder: Path, *, must_be: bool = False) -> list[dict[str, Any]]:
    """Find the campaigns that lie in a folder, or in a folder in it.

    Parameters
    ----------
    folder : Path
        Where to look.
    must_be : bool
        Whether a folder that is not there is a fault.

    Returns
    -------
    list of dict
        Measured ones as measured (over the most days), others as planned; the latest first.

    Raises
    ------
    InputError
        If the folder is not there and must be.
    """
    if not folder.is_dir():
        if must_be:
            raise InputError(f"--campaigns {folder}: no such folder. Name the one that holds the campaign files.")
        return []
    found: dict[str, dict[str, Any]] = {}
    for path in sorted([*folder.glob("*.json"), *folder.glob("*/*.json")]):
        record = _record(path)
        if record is not None:
            place = str(path.with_name(path.name.removesuffix(MEASURED).removesuffix(".json")))
            key = str((record.get("planned") or record).get("digest") or place)
            if key not in found or record.get("observed_days", -1) >= found[key].get("observed_days", -1):
                found[key] = record
    latest = sorted(found.values(), key=lambda record: (record["day"], record["campaign"]), reverse=True)
    return latest[:MOST_CAMPAIGNS]


def _record(path: Path) -> dict[str, Any] | None:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            return None
        record = json_in(path)
    except (OSError, ValueError):
        return None
    ours = isinstance(record, dict) and record.get("command") in {PLAN, MEASURE} and record.get("schema") == SCHEMA
    return record if ours and _can_be_told(record) else None


def _can_be_told(record: dict[str, Any]) -> bool:
    """Whether everything is there that the page tells of a campaign, and of the kind it should be."""
    planned, observed = record.get("planned", {}), record.get("observed_days", 0)
    try:
        list(_rows([record]))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return False
    named = all(isinstance(record[name], str) for name in ("campaign", "day"))
    return named and isinstance(planned, dict) and isinstance(observed, int)


def campaign_rows(records: list[dict[str, Any]]) -> list[Row]:
    """Lay out campaigns.

    Parameters
    ----------
    records : list of dict
        From `read_campaigns`.

    Returns
    -------
    list of dict
        A row for each.
    """
    return list(_rows(records))


def _rows(records: list[dict[str, Any]]) -> Iterator[Row]:
    for record in records:
        row = {"name": record["campaign"], "day": day(record["day"], short=True)}
        yield {**row, **(_measured(record) if record["command"] == MEASURE else _planned(record))}


def _planned(record: Record) -> Row:
    arms = record["arms"]
    return {
        "reached": count(arms["treatment"]),
        "held_out": count(arms["control"]),
        "uplift": "–",
        "sales": "–",
        "profit": "–",
        "verdict": say("campaigns.planned", day=day(record["window_ends"], short=True)),
    }


def _measured(record: Record) -> Row:
    groups, found = record["groups"], record["repurchase"]["adjusted"]
    currency, totals = record.get("currency"), record.get("totals") or {}
    return {
        "reached": _arm(groups["treatment"]),
        "held_out": _arm(groups["control"]),
        "uplift": _range(found, _signed),
        "sales": _range(totals.get("sales"), lambda value: money(value, currency)),
        "profit": _range(totals.get("profit"), lambda value: money(value, currency)),
        "verdict": _verdict(record),
    }


def _arm(group: Record) -> str:
    return f"{count(group['customers'])}; {say('campaigns.bought_treated', share=share(group['share_bought']))}"


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{decimal(abs(value), 1)}"


def _range(found: Record | None, write: Any) -> str:
    if not found:
        return "–"
    return say("campaigns.range", **{name: write(found[name]) for name in ("value", "low", "high")})


def _verdict(record: Record) -> str:
    found = record["repurchase"]["adjusted"]
    if not record["is_over"]:
        days = counted(record["horizon_days"], "day")
        return say("campaigns.not_over", observed=record["observed_days"], days=days)
    if not found["can_tell"]:
        return say("campaigns.cannot_tell")
    return say("campaigns.more" if found["value"] > 0 else "campaigns.less")

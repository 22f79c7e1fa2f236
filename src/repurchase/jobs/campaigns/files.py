"""A campaign on disk: one JSON file that says everything but names nobody, and beside it who is in which group.

``campaign.json`` carries a digest of itself, and every customer's row a seal made of what it says, so that a changed
file is noticed by accident or intent of anyone who does not make the seals anew. Rows may be taken out (a customer who
asked to be forgotten); that is counted and said.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from repurchase.errors import DeliveryError, InputError, first_few
from repurchase.jobs.delivery import Delivery
from repurchase.marketing.campaigns import CONTROL, TREATMENT
from repurchase.marketing.cells import safe_text

__all__ = [
    "CAMPAIGN",
    "CUSTOMERS",
    "MEASURED",
    "OUTCOMES",
    "Campaign",
    "campaign_path",
    "measured_path",
    "read_campaign",
    "read_measured",
    "require_longer",
    "sealed",
    "stage_campaign",
    "with_digest",
]

CAMPAIGN, CUSTOMERS, MEASURED, OUTCOMES = "campaign.json", ".customers.parquet", ".measured.json", ".outcomes.parquet"
SCHEMA = 1
SEALED = ("customer_id", "arm", "stratum", "lot", "p", "spend", "segment")
MOST_MISSING = 0.05
NOT_OURS = "Send the .json file that `repurchase campaign plan` wrote"


class Campaign(NamedTuple):
    """A campaign as it was planned.

    Parameters
    ----------
    path : Path
        Its JSON file.
    record : dict
        What stands in it.
    customers : DataFrame
        Who is in which group.
    n_missing : int
        Customers of the plan that are no longer in the file.
    """

    path: Path
    record: dict[str, Any]
    customers: pl.DataFrame
    n_missing: int


def campaign_path(out: Path) -> Path:
    """Find the campaign's main file.

    Parameters
    ----------
    out : Path
        A .json file, or a folder for one.

    Returns
    -------
    Path
        The .json file.

    Raises
    ------
    DeliveryError
        If a campaign lies there already: one that went out must not be drawn again.

    Examples
    --------
    >>> str(campaign_path(Path("spring/may")))
    'spring/may/campaign.json'
    """
    path = out if out.suffix == ".json" else out / CAMPAIGN
    if path.exists():
        raise DeliveryError(
            f"{path} is there already. A campaign that has gone out must not be drawn again: choose another --out, or "
            "remove it if it never went out."
        )
    return path


def measured_path(planned: Campaign, out: Path | None) -> Path:
    """Find where a measurement goes.

    Parameters
    ----------
    planned : Campaign
        What was measured.
    out : Path, optional
        ``*.measured.json``, or a folder for it; default beside the campaign.

    Returns
    -------
    Path
        The .measured.json file.

    Raises
    ------
    InputError
        If a file is to be called otherwise: it would not be found again.
    """
    name = planned.path.stem + MEASURED
    if out is None:
        return planned.path.with_name(name)
    if out.name.endswith(MEASURED) and out.name != MEASURED:
        return out
    if out.suffix == ".json":
        raise InputError(f"--out {out}: a measurement is called *{MEASURED}. Say --out {out.with_suffix(MEASURED)}.")
    return out / name


def require_longer(path: Path, planned: Campaign, *, days: int, until: date) -> None:
    """Refuse to put a measurement of fewer days in the place of one of more, or of another campaign.

    Parameters
    ----------
    path : Path
        Where it is to go. What cannot be read there is no measurement, and may go.
    planned : Campaign
        What was measured.
    days : int
        Days observed now.
    until : date
        Last day observed now.

    Raises
    ------
    DeliveryError
        If it would be lost.
    """
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        seen, last, plan = int(there["observed_days"]), there["observed_until"], there["planned"]["digest"]
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError):
        return
    if plan != planned.record["digest"]:
        raise DeliveryError(
            f"{path} is the measurement of another campaign. Nothing was written: choose another --out."
        )
    if days < seen:
        raise DeliveryError(
            f"{path}: measured over {seen} days already (up to {last}), these orders give {days} (up to {until}). It "
            f"was kept, nothing was written. To keep both: --out {path.with_name(f'to-{until}{MEASURED}')}"
        )


def stage_campaign(delivery: Delivery, record: dict[str, Any], customers: pl.DataFrame) -> dict[str, Any]:
    """Make a campaign's files ready.

    Parameters
    ----------
    delivery : Delivery
        Where.
    record : dict
        What is known of it; names and digests of the files are added.
    customers : DataFrame
        Who is in which group, sealed.

    Returns
    -------
    dict
        The record as written, with its digest.
    """
    table = delivery.beside(CUSTOMERS)
    customers.write_parquet(delivery.staged(table))
    record["customers"] = {"path": table.name, "rows": customers.height, "sha256": _digest(delivery.staged(table))}
    record["lists"] = {}
    for arm in (TREATMENT, CONTROL):
        place = delivery.beside(f".{arm}.csv")
        mine = customers.filter(pl.col("arm") == arm).select(
            *(safe_text(pl.col(name)).alias(name) for name in ("customer_id", "segment")),
            pl.col("p", "spend", "uplift").round(4),
        )
        mine.write_csv(delivery.staged(place), include_bom=True)
        record["lists"][arm] = {"path": place.name, "rows": mine.height}
    whole = with_digest(record)
    text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)
    delivery.staged(delivery.out).write_text(text + "\n", encoding="utf-8")
    return whole


def with_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    """Put a digest of everything else into a record.

    Parameters
    ----------
    record : mapping
        JSON-able.

    Returns
    -------
    dict
        With ``digest``.
    """
    rest = {name: value for name, value in record.items() if name != "digest"}
    text = json.dumps(rest, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return {**rest, "digest": hashlib.sha256(text.encode()).hexdigest()}


def sealed(customers: pl.DataFrame, *, campaign: str) -> pl.DataFrame:
    """Give every row a seal.

    Parameters
    ----------
    customers : DataFrame
        With the columns that are sealed.
    campaign : str
        Its name; a row of another campaign has another seal.

    Returns
    -------
    DataFrame
        With ``seal``.
    """
    rows = customers.select(SEALED).iter_rows()
    seals = [hashlib.sha256(repr((campaign, row)).encode()).hexdigest()[:16] for row in rows]
    return customers.with_columns(pl.Series("seal", seals, dtype=pl.String()))


def read_campaign(path: Path) -> Campaign:
    """Read a campaign and see that nobody has changed it.

    Parameters
    ----------
    path : Path
        The .json file, or the folder it is in.

    Returns
    -------
    Campaign
        As planned.

    Raises
    ------
    InputError
        If it is no campaign, or was altered.
    """
    path = path / CAMPAIGN if path.is_dir() else path
    record = _json(path)
    if record.get("command") != "campaign plan":
        raise InputError(f"{path} is not a campaign: nobody was held out by lot. {NOT_OURS}.")
    if record.get("schema") != SCHEMA:
        raise InputError(f"{path}: a campaign of schema {record.get('schema')}; this version reads {SCHEMA}.")
    if with_digest(record)["digest"] != record.get("digest"):
        raise InputError(f"{path} was altered since it was planned: its digest does not fit. Restore it from a backup.")
    place = path.with_name(str(record["customers"]["path"]))
    customers = _customers(place)
    missing = int(record["customers"]["rows"]) - customers.height
    if _digest(place) != record["customers"]["sha256"]:
        _require_sealed(customers, place, campaign=record["campaign"], missing=missing)
    return Campaign(path, record, customers, missing)


def read_measured(path: Path) -> dict[str, Any]:
    """Read what measuring a campaign gave.

    Parameters
    ----------
    path : Path
        The .measured.json file.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    InputError
        If it is none, was altered, or its window was not over.
    """
    record = _json(path)
    if record.get("command") != "campaign measure" or record.get("schema") != SCHEMA:
        raise InputError(f"{path} is no measured campaign. Send what `repurchase campaign measure` wrote, *{MEASURED}.")
    if with_digest(record)["digest"] != record.get("digest"):
        raise InputError(f"{path} was altered since it was measured: its digest does not fit. Measure it again.")
    if not record["is_over"]:
        raise InputError(f"{path}: measured before its window was over. Measure again after {record['window_ends']}.")
    return record


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file. {NOT_OURS}.")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as fault:
        raise InputError(
            f"{path} is not a campaign: nobody was held out by lot, so what it brought cannot be measured. {NOT_OURS}."
        ) from fault
    if not isinstance(record, dict):
        raise InputError(f"{path} is not a campaign. {NOT_OURS}.")
    return record


def _customers(path: Path) -> pl.DataFrame:
    try:
        rows = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError) as fault:
        raise InputError(f"{path} cannot be read: it belongs to the campaign. Restore it from a backup.") from fault
    absent = [name for name in (*SEALED, "seal") if name not in rows.columns]
    if absent:
        raise InputError(f"{path} was altered since it was planned: {first_few(absent)} missing. Restore it.")
    return rows


def _require_sealed(customers: pl.DataFrame, path: Path, *, campaign: str, missing: int) -> None:
    broken = int((sealed(customers, campaign=campaign)["seal"] != customers["seal"]).sum())
    twice = customers.height - customers["customer_id"].n_unique()
    planned = customers.height + missing
    if broken or twice or not 0 <= missing <= MOST_MISSING * planned:
        raise InputError(
            f"{path} was altered since it was planned: {broken:,} rows changed, {twice:,} came twice, {missing:,} of "
            f"{planned:,} are gone. Restore it from a backup."
        )


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

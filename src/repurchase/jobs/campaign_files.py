"""A campaign on disk: its record, groups, outcomes, and where they are written."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from repurchase.campaigns.planning import CONTROL, TREATMENT
from repurchase.errors import DeliveryError, InputError, first_few
from repurchase.marketing.csv_export import escape_formula
from repurchase.storage.delivery import (
    Delivery,
    OutputKind,
    json_output,
    parquet_metadata,
    read_csv_header,
    table_output,
)
from repurchase.storage.json_files import has_valid_digest, read_json, sha256_of, with_digest

_CAMPAIGN_SUFFIX, CUSTOMERS_SUFFIX, MEASURED_SUFFIX, OUTCOMES_SUFFIX = (
    "campaign.json",
    ".customers.parquet",
    ".measured.json",
    ".outcomes.parquet",
)
CAMPAIGN_SCHEMA = 1
_SEALED_COLUMNS = ("customer_id", "arm", "stratum", "lot", "p", "spend", "segment")
UPLIFT_FEATURES = ("days_since_last", "frequency", "age_days", "spend_total")
"""What was known of a customer before the campaign, beside ``p`` and ``spend``."""
_SEALED_OUTCOME_COLUMNS = (*_SEALED_COLUMNS, *UPLIFT_FEATURES, "bought", "sales")
_MAX_MISSING_SHARE = 0.05
_RESTORE_HINT = "Restore it from a backup"
_UNRECOGNISED_HINT = "Send the .json file that `repurchase campaign plan` wrote"
_CUSTOMERS_METADATA, _OUTCOMES_METADATA = "campaign_customers", "campaign_outcomes"


class Campaign(NamedTuple):
    """A campaign as it was planned."""

    path: Path
    record: dict[str, Any]
    customers: pl.DataFrame
    n_missing: int


def stage_campaign(delivery: Delivery, record: dict[str, Any], customers: pl.DataFrame) -> dict[str, Any]:
    """Make a campaign's files ready."""
    place = delivery.sibling(CUSTOMERS_SUFFIX)
    customers.write_parquet(delivery.staged(place), metadata=parquet_metadata(_CUSTOMERS_METADATA))
    record["customers"] = {"path": place.name, "rows": customers.height, "sha256": sha256_of(delivery.staged(place))}
    record["lists"] = {}
    for arm in (TREATMENT, CONTROL):
        place = delivery.sibling(f".{arm}.csv")
        mine = customers.filter(pl.col("arm") == arm).select(
            *(escape_formula(pl.col(name)).alias(name) for name in ("customer_id", "segment")),
            pl.col("p", "spend", "uplift").round(4),
        )
        mine.write_csv(delivery.staged(place), include_bom=True)
        record["lists"][arm] = {"path": place.name, "rows": mine.height}
    whole = with_digest(record)
    text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)
    delivery.staged(delivery.out).write_text(text + "\n", encoding="utf-8")
    return whole


def stage_outcomes(delivery: Delivery, record: dict[str, Any], outcomes: pl.DataFrame) -> dict[str, Any]:
    """Make a measurement's files ready."""
    place = _outcomes_path(delivery.out)
    rows = with_seals(outcomes, campaign=_measurement_key(record), columns=_SEALED_OUTCOME_COLUMNS)
    rows.write_parquet(delivery.staged(place), metadata=parquet_metadata(_OUTCOMES_METADATA))
    told = {"path": place.name, "rows": rows.height, "sha256": sha256_of(delivery.staged(place))}
    whole = with_digest({**record, "outcomes": told})
    text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)
    delivery.staged(delivery.out).write_text(text + "\n", encoding="utf-8")
    return whole


def _outcomes_path(measured: Path) -> Path:
    """Name the file of what each customer did."""
    return measured.with_name(measured.name.removesuffix(MEASURED_SUFFIX) + OUTCOMES_SUFFIX)


def campaign_outputs(path: Path) -> dict[Path, OutputKind]:
    """Name what planning a campaign writes."""
    place = path.with_name(path.stem + CUSTOMERS_SUFFIX)
    kind = table_output(
        "a campaign's customers", _CUSTOMERS_METADATA, columns=(*_SEALED_COLUMNS, "seal"), named_by=lambda _: True
    )

    def is_list(file: Path) -> bool:
        return read_csv_header(file)[:3] == ["customer_id", "segment", "p"] and kind.recognises(place)

    lists = OutputKind("a campaign's list", is_list)
    return {
        path: json_output("a campaign", "campaign plan"),
        place: kind,
        **{path.with_name(f"{path.stem}.{arm}.csv"): lists for arm in (TREATMENT, CONTROL)},
    }


def measurement_outputs(path: Path) -> dict[Path, OutputKind]:
    """Name what measuring a campaign writes."""
    columns = (*_SEALED_OUTCOME_COLUMNS, "seal")
    return {
        path: json_output("a measurement of a campaign", "campaign measure"),
        _outcomes_path(path): table_output(
            "a campaign's outcomes", _OUTCOMES_METADATA, columns=columns, named_by=lambda _: True
        ),
    }


def with_seals(customers: pl.DataFrame, *, campaign: str, columns: Sequence[str] = _SEALED_COLUMNS) -> pl.DataFrame:
    """Give every row a seal."""
    rows = customers.select(columns).iter_rows()
    seals = [sha256_of(repr((campaign, row)).encode())[:16] for row in rows]
    return customers.with_columns(pl.Series("seal", seals, dtype=pl.String()))


def read_campaign(path: Path) -> Campaign:
    """Read a campaign and see that nobody has changed it."""
    path = path / _CAMPAIGN_SUFFIX if path.is_dir() else path
    record = _read_record(path)
    if record.get("command") != "campaign plan":
        raise InputError(f"{path} is not a campaign: nobody was held out by lot. {_UNRECOGNISED_HINT}.")
    if record.get("schema") != CAMPAIGN_SCHEMA:
        raise InputError(f"{path}: a campaign of schema {record.get('schema')}; this version reads {CAMPAIGN_SCHEMA}.")
    if not has_valid_digest(record):
        raise InputError(f"{path} was altered since it was planned: its digest does not fit. Restore it from a backup.")
    place = path.with_name(str(record["customers"]["path"]))
    customers, missing = _read_sealed_table(
        place, record["customers"], _SEALED_COLUMNS, campaign=record["campaign"], repair=_RESTORE_HINT
    )
    return Campaign(path, record, customers, missing)


def read_measured(path: Path) -> dict[str, Any]:
    """Read what measuring a campaign gave."""
    record = _read_record(path)
    if record.get("command") != "campaign measure" or record.get("schema") != CAMPAIGN_SCHEMA:
        raise InputError(
            f"{path} is no measured campaign. Send what `repurchase campaign measure` wrote, *{MEASURED_SUFFIX}."
        )
    if not has_valid_digest(record):
        raise InputError(f"{path} was altered since it was measured: its digest does not fit. Measure it again.")
    if not record["is_over"]:
        raise InputError(f"{path}: measured before its window was over. Measure again after {record['window_ends']}.")
    return record


def read_outcomes(path: Path, record: Mapping[str, Any]) -> pl.DataFrame:
    """Read what each customer of a measured campaign did, and see that nobody has changed it."""
    place, again = _outcomes_path(path), "Measure the campaign again"
    told = record.get("outcomes")
    if told is None:
        raise InputError(f"{path} does not say which file its outcomes are. {again}.")
    return _read_sealed_table(place, told, _SEALED_OUTCOME_COLUMNS, campaign=_measurement_key(record), repair=again)[0]


def _measurement_key(record: Mapping[str, Any]) -> str:
    """Tell one measurement of one campaign from others."""
    return f"{record['planned']['digest']} {record['day']} {record['observed_days']}"


def _read_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file. {_UNRECOGNISED_HINT}.")
    try:
        record = read_json(path)
    except (OSError, ValueError) as fault:
        raise InputError(
            f"{path} is not a campaign: nobody was held out by lot, so what it brought cannot be measured. "
            f"{_UNRECOGNISED_HINT}."
        ) from fault
    if not isinstance(record, dict):
        raise InputError(f"{path} is not a campaign. {_UNRECOGNISED_HINT}.")
    return record


def _read_sealed_table(
    path: Path, told: Mapping[str, Any], columns: Sequence[str], *, campaign: str, repair: str
) -> tuple[pl.DataFrame, int]:
    """Rows of a file that was written here, or what is left of them, and how many are gone."""
    try:
        rows = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError) as fault:
        raise InputError(f"{path} cannot be read: it belongs to the campaign. {repair}.") from fault
    absent = [name for name in (*columns, "seal") if name not in rows.columns]
    if absent:
        raise InputError(f"{path} was altered since it was written: {first_few(absent)} missing. {repair}.")
    missing = int(told["rows"]) - rows.height
    if sha256_of(path) != told["sha256"]:
        seals = with_seals(rows, campaign=campaign, columns=columns)["seal"]
        broken = int((seals.ne_missing(rows["seal"].cast(pl.String()))).sum())
        twice = rows.height - rows["customer_id"].n_unique()
        if broken or twice or not 0 <= missing <= _MAX_MISSING_SHARE * int(told["rows"]):
            raise InputError(
                f"{path} was altered since it was written: {broken:,} rows changed, {twice:,} came twice, "
                f"{missing:,} of {int(told['rows']):,} are gone. {repair}."
            )
    return rows, missing


_OTHER_SUFFIXES = (".csv", ".htm", ".html", ".json", ".jsonl", ".parquet", ".tsv", ".txt", ".xls", ".xlsx")
"""Endings, in small letters, of what is plainly meant as a file: no folder is made of that name."""


def campaign_path(out: Path) -> Path:
    """Find the campaign's main file."""
    path = out if out.suffix == ".json" else _require_folder(out, what="a campaign", file="*.json") / _CAMPAIGN_SUFFIX
    if path.exists():
        raise DeliveryError(
            f"{path} is there already. A campaign that has gone out must not be drawn again: choose another --out, or "
            "remove it if it never went out."
        )
    return path


def measured_path(planned: Campaign, out: Path | None) -> Path:
    """Find where a measurement goes."""
    name = planned.path.stem + MEASURED_SUFFIX
    if out is None:
        return planned.path.with_name(name)
    if out.name.endswith(MEASURED_SUFFIX) and out.name != MEASURED_SUFFIX:
        return out
    if out.suffix == ".json":
        raise InputError(
            f"--out {out}: a measurement is called *{MEASURED_SUFFIX}. Say --out {out.with_suffix(MEASURED_SUFFIX)}."
        )
    return _require_folder(out, what="a measurement", file=f"*{MEASURED_SUFFIX}") / name


def _require_folder(out: Path, *, what: str, file: str) -> Path:
    if out.suffix.lower() in _OTHER_SUFFIXES:
        raise InputError(f"--out {out}: {what} is written as {file}, or into a folder. Choose another name.")
    return out


def require_no_shorter_measurement(path: Path, planned: Campaign, *, days: int, until: date) -> None:
    """Refuse to put a measurement of fewer days in the place of one of more, or of another campaign."""
    try:
        there = read_json(path)
        seen, last, plan = int(there["observed_days"]), there["observed_until"], there["planned"]["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if plan != planned.record["digest"]:
        raise DeliveryError(
            f"{path} is the measurement of another campaign. Nothing was written: choose another --out."
        )
    if days < seen:
        raise DeliveryError(
            f"{path}: measured over {seen} days already (up to {last}), these orders give {days} (up to {until}). It "
            f"was kept, nothing was written. To keep both: --out {path.with_name(f'to-{until}{MEASURED_SUFFIX}')}"
        )

"""A campaign on disk: its record, groups, outcomes, and where they are written."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from repurchase.campaigns.planning import CONTROL, TREATMENT
from repurchase.errors import DeliveryError, InputError, first_few
from repurchase.jobs.outputs import stage_record
from repurchase.marketing.csv_export import escape_formula
from repurchase.storage.delivery import (
    Delivery,
    OutputKind,
    json_output,
    parquet_metadata,
    read_csv_header,
    table_output,
)
from repurchase.storage.json_files import has_valid_digest, read_json, read_json_object, sha256_of, with_digest

CampaignRecord = Mapping[str, Any]

_CAMPAIGN_FILE = "campaign.json"
CUSTOMERS_SUFFIX, MEASURED_SUFFIX, OUTCOMES_SUFFIX = ".customers.parquet", ".measured.json", ".outcomes.parquet"
CAMPAIGN_SCHEMA = 1
_SEALED_COLUMNS = ("customer_id", "arm", "stratum", "lot", "p", "spend", "segment")
UPLIFT_FEATURES = ("days_since_last", "frequency", "age_days", "spend_total")
"""What was known of a customer before the campaign, besides ``p`` and ``spend``."""
_SEALED_OUTCOME_COLUMNS = (*_SEALED_COLUMNS, *UPLIFT_FEATURES, "bought", "sales")
_MAX_MISSING_SHARE = 0.05
_CUSTOMERS_METADATA, _OUTCOMES_METADATA = "campaign_customers", "campaign_outcomes"


class Campaign(NamedTuple):
    """A campaign as it was planned."""

    path: Path
    record: dict[str, Any]
    customers: pl.DataFrame
    n_missing: int


def stage_campaign(delivery: Delivery, record: dict[str, Any], customers: pl.DataFrame) -> dict[str, Any]:
    """Make a campaign's files ready."""
    record["customers"] = _stage_table(delivery, delivery.sibling(CUSTOMERS_SUFFIX), customers, _CUSTOMERS_METADATA)
    record["lists"] = {}
    for arm in (TREATMENT, CONTROL):
        path = delivery.sibling(f".{arm}.csv")
        rows = customers.filter(pl.col("arm") == arm).select(
            *(escape_formula(pl.col(name)).alias(name) for name in ("customer_id", "segment")),
            pl.col("p", "spend", "uplift").round(4),
        )
        rows.write_csv(delivery.staged(path), include_bom=True)
        record["lists"][arm] = {"path": path.name, "rows": rows.height}
    record = with_digest(record)
    stage_record(delivery, record)
    return record


def stage_outcomes(delivery: Delivery, record: dict[str, Any], outcomes: pl.DataFrame) -> dict[str, Any]:
    """Make a measurement's files ready."""
    rows = with_seals(outcomes, campaign=_measurement_key(record), columns=_SEALED_OUTCOME_COLUMNS)
    path = _outcomes_path(delivery.out)
    record = with_digest({**record, "outcomes": _stage_table(delivery, path, rows, _OUTCOMES_METADATA)})
    stage_record(delivery, record)
    return record


def _stage_table(delivery: Delivery, path: Path, rows: pl.DataFrame, kind: str) -> dict[str, Any]:
    rows.write_parquet(delivery.staged(path), metadata=parquet_metadata(kind))
    return {"path": path.name, "rows": rows.height, "sha256": sha256_of(delivery.staged(path))}


def _outcomes_path(measured: Path) -> Path:
    return measured.with_name(measured.name.removesuffix(MEASURED_SUFFIX) + OUTCOMES_SUFFIX)


def campaign_outputs(path: Path) -> dict[Path, OutputKind]:
    """List what planning a campaign writes."""
    customers = path.with_name(path.stem + CUSTOMERS_SUFFIX)
    kind = _table_kind("a campaign's customers", _CUSTOMERS_METADATA, _SEALED_COLUMNS)

    def is_list(file: Path) -> bool:
        return read_csv_header(file)[:3] == ["customer_id", "segment", "p"] and kind.recognises(customers)

    lists = OutputKind("a campaign's list", is_list)
    return {
        path: json_output("a campaign", "campaign plan"),
        customers: kind,
        **{path.with_name(f"{path.stem}.{arm}.csv"): lists for arm in (TREATMENT, CONTROL)},
    }


def measurement_outputs(path: Path) -> dict[Path, OutputKind]:
    """List what measuring a campaign writes."""
    return {
        path: json_output("a measurement of a campaign", "campaign measure"),
        _outcomes_path(path): _table_kind("a campaign's outcomes", _OUTCOMES_METADATA, _SEALED_OUTCOME_COLUMNS),
    }


def _table_kind(name: str, kind: str, columns: Sequence[str]) -> OutputKind:
    return table_output(name, kind, columns=(*columns, "seal"), named_by=lambda _: True)


def with_seals(customers: pl.DataFrame, *, campaign: str, columns: Sequence[str] = _SEALED_COLUMNS) -> pl.DataFrame:
    """Give every row a seal: a digest of its values and the campaign."""
    rows = customers.select(columns).iter_rows()
    seals = [sha256_of(repr((campaign, row)).encode())[:16] for row in rows]
    return customers.with_columns(pl.Series("seal", seals, dtype=pl.String()))


def read_campaign(path: Path) -> Campaign:
    """Read a campaign, and check that nobody has changed it."""
    path = path / _CAMPAIGN_FILE if path.is_dir() else path
    repair = "Restore it from a backup"
    record = _read_record(
        path,
        "campaign plan",
        what="a campaign: no control group was randomly assigned, so its effect cannot be measured",
        hint="Send the .json file that `repurchase campaign plan` wrote",
        repair=repair,
    )
    customers, n_missing = _read_sealed_table(
        path.with_name(str(record["customers"]["path"])),
        record["customers"],
        _SEALED_COLUMNS,
        campaign=record["campaign"],
        repair=repair,
    )
    return Campaign(path, record, customers, n_missing)


def read_measured(path: Path) -> dict[str, Any]:
    """Read the measurement of a campaign whose window is over."""
    record = _read_record(
        path,
        "campaign measure",
        what="a measured campaign",
        hint=f"Send what `repurchase campaign measure` wrote, *{MEASURED_SUFFIX}",
        repair="Measure it again",
    )
    if not record["is_over"]:
        raise InputError(f"{path}: measured before its window was over. Measure again after {record['window_ends']}.")
    return record


def read_outcomes(path: Path, record: CampaignRecord) -> pl.DataFrame:
    """Read the outcome of each customer of a measured campaign, and check that nobody has changed it."""
    repair = "Measure the campaign again"
    recorded = record.get("outcomes")
    if recorded is None:
        raise InputError(f"{path} does not name the file of its outcomes. {repair}.")
    key = _measurement_key(record)
    return _read_sealed_table(_outcomes_path(path), recorded, _SEALED_OUTCOME_COLUMNS, campaign=key, repair=repair)[0]


def _measurement_key(record: CampaignRecord) -> str:
    """Identify one measurement of one campaign."""
    return f"{record['planned']['digest']} {record['day']} {record['observed_days']}"


def _read_record(path: Path, command: str, *, what: str, hint: str, repair: str) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file. {hint}.")
    record = read_json_object(path)
    if record.get("command") != command:
        raise InputError(f"{path} is not {what}. {hint}.")
    schema = record.get("schema")
    if schema != CAMPAIGN_SCHEMA:
        raise InputError(f"{path}: a campaign of schema {schema}; this version reads {CAMPAIGN_SCHEMA}.")
    if not has_valid_digest(record):
        raise InputError(f"{path} was altered since it was written: its digest does not match. {repair}.")
    return record


def _read_sealed_table(
    path: Path, recorded: Mapping[str, Any], columns: Sequence[str], *, campaign: str, repair: str
) -> tuple[pl.DataFrame, int]:
    """Read the rows of a file of ours, or what is left of them, and count those that are gone."""
    try:
        rows = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError) as fault:
        raise InputError(f"{path} cannot be read: it belongs to the campaign. {repair}.") from fault
    absent = [name for name in (*columns, "seal") if name not in rows.columns]
    if absent:
        raise InputError(f"{path} was altered since it was written: {first_few(absent)} missing. {repair}.")
    n_rows = int(recorded["rows"])
    n_missing = n_rows - rows.height
    if sha256_of(path) != recorded["sha256"]:
        seals = with_seals(rows, campaign=campaign, columns=columns)["seal"]
        n_broken = int((seals.ne_missing(rows["seal"].cast(pl.String()))).sum())
        n_repeated = rows.height - rows["customer_id"].n_unique()
        if n_broken or n_repeated or not 0 <= n_missing <= _MAX_MISSING_SHARE * n_rows:
            raise InputError(
                f"{path} was altered since it was written: {n_broken:,} rows changed, {n_repeated:,} repeated, "
                f"{n_missing:,} of {n_rows:,} are gone. {repair}."
            )
    return rows, n_missing


_OTHER_SUFFIXES = (".csv", ".htm", ".html", ".json", ".jsonl", ".parquet", ".tsv", ".txt", ".xls", ".xlsx")
"""Endings, in small letters, of names that are meant as files: no folder is made of such a name."""


def campaign_path(out: Path) -> Path:
    """Find the campaign's main file."""
    path = out if out.suffix == ".json" else _require_folder(out, what="a campaign", file="*.json") / _CAMPAIGN_FILE
    if path.exists():
        raise DeliveryError(
            f"{path} is there already. The groups of a campaign that has gone out must not be drawn again: choose "
            "another --out, or remove it if it never went out."
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
            f"--out {out}: a measurement is called *{MEASURED_SUFFIX}. Use --out {out.with_suffix(MEASURED_SUFFIX)}."
        )
    return _require_folder(out, what="a measurement", file=f"*{MEASURED_SUFFIX}") / name


def _require_folder(out: Path, *, what: str, file: str) -> Path:
    if out.suffix.lower() in _OTHER_SUFFIXES:
        raise InputError(f"--out {out}: {what} is written as {file}, or into a folder. Choose another name.")
    return out


def require_no_shorter_measurement(path: Path, planned: Campaign, *, days: int, until: date) -> None:
    """Refuse to replace a measurement of more days, or of another campaign."""
    try:
        earlier = read_json(path)
        n_days, last, digest = int(earlier["observed_days"]), earlier["observed_until"], earlier["planned"]["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if digest != planned.record["digest"]:
        raise DeliveryError(
            f"{path} is the measurement of another campaign. Nothing was written: choose another --out."
        )
    if days < n_days:
        raise DeliveryError(
            f"{path}: measured over {n_days} days already (up to {last}), these orders give {days} (up to {until}). It "
            f"was kept, nothing was written. To keep both: --out {path.with_name(f'to-{until}{MEASURED_SUFFIX}')}"
        )

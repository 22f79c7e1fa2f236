"""A campaign on disk: one JSON file that says everything but names nobody, and beside it who is in which group.

``campaign.json`` carries a digest of itself, and every customer's row a seal made of what it says, so that a changed
file is noticed by accident or intent of anyone who does not make the seals anew. Rows may be taken out (a customer who
asked to be forgotten); that is counted and said.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from repurchase.errors import InputError, first_few
from repurchase.marketing.campaigns import CONTROL, TREATMENT
from repurchase.marketing.cells import safe_text
from repurchase.storage.delivery import Delivery
from repurchase.storage.digests import has_own_digest, sha256_of, with_digest
from repurchase.storage.outputs import OutputKind, csv_heading, json_in, json_record, parquet_mark, table

__all__ = [
    "CAMPAIGN",
    "CUSTOMERS",
    "MEASURED",
    "OUTCOMES",
    "Campaign",
    "campaign_outputs",
    "measurement_outputs",
    "outcomes_path",
    "read_campaign",
    "read_measured",
    "read_outcomes",
    "sealed",
    "stage_campaign",
    "stage_outcomes",
]

CAMPAIGN, CUSTOMERS, MEASURED, OUTCOMES = "campaign.json", ".customers.parquet", ".measured.json", ".outcomes.parquet"
SCHEMA = 1
SEALED = ("customer_id", "arm", "stratum", "lot", "p", "spend", "segment")
LEARNED_FROM = ("days_since_last", "frequency", "age_days", "spend_total")
"""What was known of a customer before the campaign, beside ``p`` and ``spend``."""
SEALED_OUTCOMES = (*SEALED, *LEARNED_FROM, "bought", "sales")
MOST_MISSING = 0.05
FROM_BACKUP = "Restore it from a backup"
NOT_OURS = "Send the .json file that `repurchase campaign plan` wrote"
_CUSTOMERS_MARK, _OUTCOMES_MARK = "campaign_customers", "campaign_outcomes"


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
    place = delivery.beside(CUSTOMERS)
    customers.write_parquet(delivery.staged(place), metadata=parquet_mark(_CUSTOMERS_MARK))
    record["customers"] = {"path": place.name, "rows": customers.height, "sha256": sha256_of(delivery.staged(place))}
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


def stage_outcomes(delivery: Delivery, record: dict[str, Any], outcomes: pl.DataFrame) -> dict[str, Any]:
    """Make a measurement's files ready.

    Parameters
    ----------
    delivery : Delivery
        Where; its main file is ``*.measured.json``.
    record : dict
        What was measured; name and digest of the other file are added.
    outcomes : DataFrame
        What each customer did.

    Returns
    -------
    dict
        The record as written, with its digest.
    """
    place = outcomes_path(delivery.out)
    rows = sealed(outcomes, campaign=_measurement(record), columns=SEALED_OUTCOMES)
    rows.write_parquet(delivery.staged(place), metadata=parquet_mark(_OUTCOMES_MARK))
    told = {"path": place.name, "rows": rows.height, "sha256": sha256_of(delivery.staged(place))}
    whole = with_digest({**record, "outcomes": told})
    text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)
    delivery.staged(delivery.out).write_text(text + "\n", encoding="utf-8")
    return whole


def outcomes_path(measured: Path) -> Path:
    """Name the file of what each customer did.

    Parameters
    ----------
    measured : Path
        The .measured.json file.

    Returns
    -------
    Path
        Beside it.
    """
    return measured.with_name(measured.name.removesuffix(MEASURED) + OUTCOMES)


def campaign_outputs(path: Path) -> dict[Path, OutputKind]:
    """Name what planning a campaign writes.

    Parameters
    ----------
    path : Path
        Its JSON file.

    Returns
    -------
    dict of Path to OutputKind
        With its tables of customers.
    """
    place = path.with_name(path.stem + CUSTOMERS)
    kind = table("a campaign's customers", _CUSTOMERS_MARK, columns=(*SEALED, "seal"), named_by=lambda _: True)

    def is_list(file: Path) -> bool:
        return csv_heading(file)[:3] == ["customer_id", "segment", "p"] and kind.recognises(place)

    lists = OutputKind("a campaign's list", is_list)
    return {
        path: json_record("a campaign", "campaign plan"),
        place: kind,
        **{path.with_name(f"{path.stem}.{arm}.csv"): lists for arm in (TREATMENT, CONTROL)},
    }


def measurement_outputs(path: Path) -> dict[Path, OutputKind]:
    """Name what measuring a campaign writes.

    Parameters
    ----------
    path : Path
        The .measured.json file.

    Returns
    -------
    dict of Path to OutputKind
        With the table of what each customer did.
    """
    columns = (*SEALED_OUTCOMES, "seal")
    return {
        path: json_record("a measurement of a campaign", "campaign measure"),
        outcomes_path(path): table("a campaign's outcomes", _OUTCOMES_MARK, columns=columns, named_by=lambda _: True),
    }


def sealed(customers: pl.DataFrame, *, campaign: str, columns: Sequence[str] = SEALED) -> pl.DataFrame:
    """Give every row a seal.

    Parameters
    ----------
    customers : DataFrame
        With the columns that are sealed.
    campaign : str
        Its name; a row of another campaign has another seal.
    columns : sequence of str
        What the seal is made of.

    Returns
    -------
    DataFrame
        With ``seal``.
    """
    rows = customers.select(columns).iter_rows()
    seals = [sha256_of(repr((campaign, row)).encode())[:16] for row in rows]
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
    if not has_own_digest(record):
        raise InputError(f"{path} was altered since it was planned: its digest does not fit. Restore it from a backup.")
    place = path.with_name(str(record["customers"]["path"]))
    customers, missing = _table(place, record["customers"], SEALED, campaign=record["campaign"], repair=FROM_BACKUP)
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
    if not has_own_digest(record):
        raise InputError(f"{path} was altered since it was measured: its digest does not fit. Measure it again.")
    if not record["is_over"]:
        raise InputError(f"{path}: measured before its window was over. Measure again after {record['window_ends']}.")
    return record


def read_outcomes(path: Path, record: Mapping[str, Any]) -> pl.DataFrame:
    """Read what each customer of a measured campaign did, and see that nobody has changed it.

    Parameters
    ----------
    path : Path
        The .measured.json file.
    record : mapping
        What stands in it.

    Returns
    -------
    DataFrame
        A row per customer; those who asked to be forgotten are gone.

    Raises
    ------
    InputError
        If it is gone, or was altered.
    """
    place, again = outcomes_path(path), "Measure the campaign again"
    told = record.get("outcomes")
    if told is None:
        raise InputError(f"{path} does not say which file its outcomes are. {again}.")
    return _table(place, told, SEALED_OUTCOMES, campaign=_measurement(record), repair=again)[0]


def _measurement(record: Mapping[str, Any]) -> str:
    """Tell one measurement of one campaign from others."""
    return f"{record['planned']['digest']} {record['day']} {record['observed_days']}"


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file. {NOT_OURS}.")
    try:
        record = json_in(path)
    except (OSError, ValueError) as fault:
        raise InputError(
            f"{path} is not a campaign: nobody was held out by lot, so what it brought cannot be measured. {NOT_OURS}."
        ) from fault
    if not isinstance(record, dict):
        raise InputError(f"{path} is not a campaign. {NOT_OURS}.")
    return record


def _table(
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
        seals = sealed(rows, campaign=campaign, columns=columns)["seal"]
        broken = int((seals.ne_missing(rows["seal"].cast(pl.String()))).sum())
        twice = rows.height - rows["customer_id"].n_unique()
        if broken or twice or not 0 <= missing <= MOST_MISSING * int(told["rows"]):
            raise InputError(
                f"{path} was altered since it was written: {broken:,} rows changed, {twice:,} came twice, "
                f"{missing:,} of {int(told['rows']):,} are gone. {repair}."
            )
    return rows, missing

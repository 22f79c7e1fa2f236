"""What a scoring run is about to do, settled before any order is read."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from repurchase.errors import DeliveryError
from repurchase.jobs.customers import CustomerList, free_names, read_customers
from repurchase.jobs.intake import Intake, settings_of
from repurchase.jobs.outputs import files_read, score_outputs
from repurchase.jobs.scoring.destinations import RECORD, ScoresTable, scores_destination
from repurchase.jobs.scoring.tables import require_fitting
from repurchase.jobs.veil import Veil, veil_of
from repurchase.orders.addresses import DatabaseSource
from repurchase.registry.bundle import LoadedBundle, load_bundle
from repurchase.registry.champion import resolve
from repurchase.settings import Settings
from repurchase.storage.delivery import FORMATS, require_file_name, work_folder
from repurchase.storage.outputs import json_in, require_apart, require_outputs, require_outside_registry
from repurchase.tables import scores_table

__all__ = ["Plan", "carried", "plan_scoring", "require_own_record"]


@dataclass(frozen=True)
class Plan:
    """What a scoring run is about to do, as far as it is known before any order is read.

    Parameters
    ----------
    bundle : LoadedBundle
        The model.
    settings : Settings
        How to read and clean.
    asked : CustomerList, optional
        Whom to score.
    table : ScoresTable, optional
        The table to write to; it fits.
    place : Path
        The main file, or what stands for the table.
    veil : Veil, optional
        Hides customer ids, where asked for; ``asked`` is hidden already.
    """

    bundle: LoadedBundle
    settings: Settings
    asked: CustomerList | None
    table: ScoresTable | None
    place: Path
    veil: Veil | None

    @property
    def horizons(self) -> tuple[int, ...]:
        """Days ahead of the model."""
        return tuple(self.bundle.manifest["horizons"])

    @property
    def formats(self) -> tuple[str, ...]:
        """Endings that ``place`` may have."""
        return (RECORD,) if self.table else FORMATS

    def require_apart(self, intake: Intake) -> None:
        """Refuse to overwrite what was read.

        Parameters
        ----------
        intake : Intake
            The orders.

        Raises
        ------
        InputError
            If the scores would.
        """
        _require_apart(self.place, [Path(file.path) for file in intake.log.files if "://" not in file.path])


def plan_scoring(
    source: str | DatabaseSource, *, out: str | Path, settings: Settings, customers: Path | None, model: str
) -> Plan:
    """Settle all that can be settled before orders are read; writes nothing.

    Parameters
    ----------
    source : str or DatabaseSource
        The orders.
    out : str or Path
        Where the scores go.
    settings : Settings
        What is not told here is taken from the model's training.
    customers : Path, optional
        A customer list.
    model : str
        A version number, ``champion`` or ``latest``.

    Returns
    -------
    Plan
        Ready to be carried out.

    Raises
    ------
    InputError
        If the list cannot be used, or would be overwritten.
    BundleError
        If there is no such model, or it is damaged.
    DeliveryError
        If the table does not fit or may not be written.
    """
    bundle = load_bundle(resolve(settings.home, model))
    told = settings_of(settings, bundle.manifest.get("settings", {}))
    table = scores_destination(str(out))
    place = table.record(settings.home) if table else Path(out)
    _require_apart(place, [*files_read(source, customers), bundle.folder])
    require_file_name(place, formats=(RECORD,) if table else FORMATS)
    require_outside_registry(place, home=settings.home)
    require_outputs(score_outputs(place))
    asked = read_customers(customers, told=told.columns) if customers else None
    veil = veil_of(settings)
    asked = veil.asked(asked) if veil and asked else asked
    plan = Plan(bundle, told, asked, table, place, veil)
    if table:
        further = carried(asked, taken=scores_table(plan.horizons).names).schema if asked else pl.Schema()
        require_fitting(table, horizons=plan.horizons, further=further, seconds=settings.retry_seconds)
    return plan


def _require_apart(out: Path, inputs: Iterable[Path]) -> None:
    require_apart([*score_outputs(out), work_folder(out)], inputs)


def carried(asked: CustomerList, *, taken: Iterable[str]) -> pl.DataFrame:
    """Take a list's further columns, under names that scores leave free.

    Parameters
    ----------
    asked : CustomerList
        The list.
    taken : iterable of str
        Names of the scores' columns.

    Returns
    -------
    DataFrame
        One row per customer asked for, in the list's order.
    """
    further = asked.rows.drop("customer_id")
    return further.rename(free_names(further.columns, taken=taken))


def require_own_record(out: Path) -> None:
    """Refuse to overwrite the record of other scores, such as those of scores.csv beside scores.parquet.

    Parameters
    ----------
    out : Path
        The main file.

    Raises
    ------
    DeliveryError
        If other scores lie there under the same stem.
    """
    record = out.with_name(out.stem + ".run.json")
    try:
        theirs = json_in(record)["outputs"]["scores"]["path"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if theirs != out.name and (out.parent / str(theirs)).exists():
        raise DeliveryError(
            f"{record} is the record of {theirs}, which lies beside it. Choose another name than {out.name}, "
            "or another folder."
        )

"""Score a log's customers with a kept model, and deliver the table whole."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from repurchase import __version__
from repurchase.errors import DeliveryError, InputError
from repurchase.jobs.customers import CustomerList, free_names, read_customers
from repurchase.jobs.delivery import Delivery, deliver_to
from repurchase.jobs.intake import Intake, settings_of, take_in
from repurchase.jobs.steps import LogSteps, Steps
from repurchase.marketing.measures import repeat_business
from repurchase.registry.bundle import LoadedBundle, load_bundle
from repurchase.registry.champion import resolve
from repurchase.settings import Settings

__all__ = ["Scored", "score"]

RUN_SCHEMA = 1


@dataclass(frozen=True)
class Scored:
    """What a scoring run came to.

    Parameters
    ----------
    scores : DataFrame
        See ``tables.scores_table``, with the list's further columns.
    out : Path
        Where they are.
    run : dict
        What stands in ``<stem>.run.json``.
    """

    scores: pl.DataFrame
    out: Path
    run: dict[str, Any]


def score(
    source: str,
    *,
    out: Path,
    settings: Settings,
    as_of: date | None = None,
    customers: Path | None = None,
    model: str = "champion",
    steps: Steps | None = None,
) -> Scored:
    """Score everyone in a log, or a list of customers.

    Parameters
    ----------
    source : str
        File, folder or glob of orders.
    out : Path
        ``.parquet`` or ``.csv``; ``<stem>.run.json`` and, where rows were set aside, ``<stem>.quarantine.parquet``
        appear beside it.
    settings : Settings
        What is not told here is taken from the model's training.
    as_of : date, optional
        Last day known; default the last order's day.
    customers : Path, optional
        A customer list; its further columns are carried through.
    model : str
        A version number, ``champion`` or ``latest``.
    steps : Steps, optional
        Who watches.

    Returns
    -------
    Scored
        The table and the record of the run.

    Raises
    ------
    InputError
        If orders or list cannot be used.
    BundleError
        If there is no such model, or it is damaged.
    DeliveryError
        If the output cannot be written; then nothing is.
    """
    steps = steps or LogSteps()
    bundle = load_bundle(resolve(settings.home, model))
    told = settings_of(settings, bundle.manifest.get("settings", {}))
    _require_apart(out, [Path(source), *([customers] if customers else [])])
    asked = read_customers(customers, told=told.columns) if customers else None
    with deliver_to(out) as delivery:
        _require_own_record(delivery)
        with steps.step("Reading and cleaning orders"):
            intake = take_in(source, settings=told, as_of=as_of)
            _require_apart(out, [Path(file.path) for file in intake.raw.files])
        with steps.step("Scoring"):
            scores = _scores(bundle, intake, asked)
        with steps.step("Measuring repeat business"):
            measures = repeat_business(intake.clean.orders, as_of=intake.as_of)
        with steps.step("Writing"):
            outputs = _stage(delivery, scores, intake)
            run = {
                **_record(bundle, intake, scores, asked),
                "outputs": outputs,
                "timings_seconds": dict(steps.timings_seconds),
                "measures": measures,
                "evaluation": bundle.evaluation,
            }
            delivery.staged(delivery.beside(".run.json")).write_text(
                json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
            delivery.publish()
            if outputs["quarantine"] is None:
                delivery.beside(".quarantine.parquet").unlink(missing_ok=True)
    return Scored(scores, out, run)


def _require_apart(out: Path, inputs: Iterable[Path]) -> None:
    for path in inputs:
        if path.is_file() and path.resolve() == out.resolve():
            raise InputError(f"--out {out}: that is one of the inputs and would be overwritten. Choose another name.")


def _scores(bundle: LoadedBundle, intake: Intake, asked: CustomerList | None) -> pl.DataFrame:
    from repurchase.estimators.model import RepurchaseModel

    model = RepurchaseModel.from_state(bundle.state)
    if asked is None:
        return model.predict(intake.clean.orders, intake.as_of)
    scores = model.predict(intake.clean.orders, intake.as_of, asked.rows["customer_id"].to_list())
    carried = asked.rows.rename(free_names(asked.rows.columns[1:], taken=scores.columns))
    return scores.join(carried, on="customer_id", how="left", maintain_order="left")


def _require_own_record(delivery: Delivery) -> None:
    """Refuse to overwrite the record of other scores, such as those of scores.csv beside scores.parquet."""
    record = delivery.beside(".run.json")
    try:
        theirs = json.loads(record.read_text(encoding="utf-8"))["outputs"]["scores"]["path"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if theirs != delivery.out.name and (delivery.out.parent / str(theirs)).exists():
        raise DeliveryError(
            f"{record} is the record of {theirs}, which lies beside it. Choose another name than {delivery.out.name}, "
            "or another folder."
        )


def _stage(delivery: Delivery, scores: pl.DataFrame, intake: Intake) -> dict[str, Any]:
    main = delivery.staged(delivery.out)
    if delivery.out.suffix == ".csv":
        scores.write_csv(main)
    else:
        scores.write_parquet(main)
    set_aside = intake.clean.set_aside
    quarantine = delivery.beside(".quarantine.parquet")
    if set_aside.height:
        set_aside.write_parquet(delivery.staged(quarantine))
    return {
        "scores": _file(main, delivery.out, scores.height),
        "quarantine": _file(delivery.staged(quarantine), quarantine, set_aside.height) if set_aside.height else None,
    }


def _file(staged: Path, target: Path, rows: int) -> dict[str, Any]:
    with staged.open("rb") as content:
        return {"path": target.name, "rows": rows, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}


def _record(bundle: LoadedBundle, intake: Intake, scores: pl.DataFrame, asked: CustomerList | None) -> dict[str, Any]:
    parameters = bundle.state.parameters
    scored = int((scores["status"] == "scored").sum())
    return {
        "schema": RUN_SCHEMA,
        "command": "score",
        "created_at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "repurchase_version": __version__,
        "as_of": intake.as_of.isoformat(),
        "model_version": bundle.version,
        "model_as_of": parameters["as_of"],
        "horizons": parameters["horizons"],
        "clv_horizon_days": parameters["settings"]["clv_horizon_days"],
        "discount_rate": parameters["settings"]["discount_rate"],
        "currency": intake.clean.report.currency,
        "orders": intake.describe(),
        "cleaning": intake.clean.report.to_dict(),
        "counts": {
            "asked": scores.height,
            "scored": scored,
            "no_history": scores.height - scored,
            "duplicates_in_list": len(asked.duplicates) if asked else 0,
            "rows_without_id": asked.without_id if asked else 0,
        },
        "duplicates": list(asked.duplicates[:100]) if asked else [],
        "tiers": parameters["tiers"],
        "notes": [*parameters["notes"], *_age_note(intake.as_of, date.fromisoformat(parameters["as_of"]))],
    }


def _age_note(as_of: date, model_as_of: date) -> list[str]:
    if as_of >= model_as_of:
        return []
    return [f"the model has seen orders up to {model_as_of}, later than {as_of}: these scores are no test of it"]

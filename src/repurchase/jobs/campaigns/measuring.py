"""Measure a campaign with the orders that came since."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from repurchase import __version__
from repurchase.errors import BundleError, InputError
from repurchase.evaluation.judgement import plain
from repurchase.features.timeline import Ledger
from repurchase.jobs.campaigns.files import (
    SCHEMA,
    Campaign,
    campaign_outputs,
    measurement_outputs,
    read_campaign,
    stage_outcomes,
)
from repurchase.jobs.campaigns.places import measured_path, require_longer
from repurchase.jobs.campaigns.planning import CampaignFile
from repurchase.jobs.intake import Intake, settings_of, take_in
from repurchase.jobs.outputs import files_read
from repurchase.jobs.steps import LogSteps, Steps
from repurchase.marketing.campaigns import CONTROL, TREATMENT
from repurchase.marketing.measured import Assigned, measure_campaign
from repurchase.marketing.reach import Terms
from repurchase.orders.addresses import DatabaseSource
from repurchase.orders.pseudonyms import key_of, pseudonymise
from repurchase.registry.bundle import load_bundle
from repurchase.registry.campaigns import track_measurement
from repurchase.registry.champion import resolve
from repurchase.settings import Settings
from repurchase.storage.delivery import deliver_to, work_folder
from repurchase.storage.outputs import require_apart, require_outside_registry

__all__ = ["measure"]

LEAST_FOUND = 0.5
"""Share of the campaign's customers that the orders must know from before it, or they are another shop's."""


class _Came(NamedTuple):
    """What came after a campaign."""

    outcomes: pl.DataFrame
    n_found: int
    observed: date
    days: int


def measure(
    campaign: Path,
    source: str | DatabaseSource,
    *,
    settings: Settings,
    from_day: date | None = None,
    as_of: date | None = None,
    out: Path | None = None,
    steps: Steps | None = None,
) -> CampaignFile:
    """Measure what a campaign changed, against those held out.

    It may be measured every night: more observed days take the place of fewer, never the other way round.

    Parameters
    ----------
    campaign : Path
        What `plan` wrote.
    source : str or DatabaseSource
        The whole log as it is now.
    settings : Settings
        What is not told here is taken from the model's training, if it is in ``settings.home``.
    from_day : date, optional
        Day it went out, if not as planned.
    as_of : date, optional
        Last day observed; default the last order's day.
    out : Path, optional
        ``*.measured.json``, or a folder for it; default beside the campaign.
    steps : Steps, optional
        Who watches.

    Returns
    -------
    CampaignFile
        ``<stem>.measured.json``, with what each customer did beside it.

    Raises
    ------
    InputError
        If campaign or orders cannot be used, do not belong together, or nothing can be known yet.
    DeliveryError
        If the record cannot be written, or a measurement of more days lies there.
    """
    steps = steps or LogSteps()
    planned = read_campaign(campaign)
    record = planned.record
    if not record["arms"][CONTROL]:
        raise InputError(
            f"{planned.path} cannot be measured: nobody was held out, so nobody can say what they would have bought "
            "without it. Plan the next one with a control group."
        )
    day = from_day or date.fromisoformat(record["day"])
    if day < date.fromisoformat(record["scores"]["as_of"]):
        raise InputError(f"--from {day}: before the campaign was planned, on orders up to {record['scores']['as_of']}.")
    target = measured_path(planned, out)
    require_outside_registry(target, home=settings.home)
    outputs = measurement_outputs(target)
    require_apart([*outputs, work_folder(target)], [*campaign_outputs(planned.path), *files_read(source)])
    told = _settings(settings, str(record["scores"]["model_version"]))
    with deliver_to(target, formats=(".json",), kinds=outputs) as delivery:
        with steps.step("Reading and cleaning orders") as counts:
            intake = take_in(source, settings=told, folder=delivery.work, as_of=as_of, on_progress=steps.progress)
            _require_begun(planned, intake, day)
            require_longer(target, planned, days=_days(planned, intake, day), until=intake.as_of)
            counts.update(intake.counts)
        with steps.step("Comparing with those held out") as counts:
            came = _came(planned, intake, day)
            counts.update(customers=came.outcomes.height)
        with steps.step("Writing"):
            measured = stage_outcomes(delivery, _measured(planned, intake, came, day=day), came.outcomes)
            delivery.publish()
    track_measurement(settings.home, record, measured, seconds=settings.tracking_seconds)
    return CampaignFile(target, measured)


def _settings(settings: Settings, version: str) -> Settings:
    try:
        return settings_of(settings, load_bundle(resolve(settings.home, version)).manifest.get("settings", {}))
    except BundleError:
        return settings


def _require_begun(planned: Campaign, intake: Intake, day: date) -> None:
    if intake.as_of <= day:
        raise InputError(
            f"{intake.log.source}: orders up to {intake.as_of}, but the campaign goes out on {day}: it has not begun. "
            "Measure it with the orders that come after."
        )
    ours, theirs = planned.record["currency"], intake.report.currency
    if ours and theirs and ours != theirs:
        raise InputError(f"{intake.log.source}: orders in {theirs}, but the campaign was planned in {ours}.")


def _days(planned: Campaign, intake: Intake, day: date) -> int:
    return min(int(planned.record["horizon_days"]), (intake.as_of - day).days)


def _came(planned: Campaign, intake: Intake, day: date) -> _Came:
    book = intake.books.whole().until(intake.as_of)
    days = _days(planned, intake, day)
    bought, sales, known = _looked_up(book, day, days)
    ids = pl.Series("customer_id", book.ids)
    mark = planned.record["pseudonyms"]
    if mark:
        ids = pseudonymise(ids, key_of(mark, what=str(planned.path))).alias("customer_id")
    came = pl.DataFrame({"customer_id": ids, "bought": bought, "sales": sales, "known": known})
    rows = planned.customers.join(came, on="customer_id", how="left", maintain_order="left")
    n_found = int(rows["known"].sum() or 0)
    if n_found < LEAST_FOUND * rows.height:
        raise InputError(
            f"{intake.log.source}: only {n_found:,} of the campaign's {rows.height:,} customers bought there before "
            f"{day + timedelta(days=1)}. These are the orders of another shop, or only a part of them."
        )
    zero = pl.lit(0.0) if book.has_amounts else pl.lit(None, dtype=pl.Float64)
    outcomes = rows.with_columns(pl.col("bought").fill_null(value=False), pl.col("sales").fill_null(zero))
    return _Came(outcomes.drop("known"), n_found, intake.as_of, days)


def _looked_up(book: Ledger, day: date, days: int) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Of every customer of a ledger: bought in the window, net money in it, known before it."""
    history = book.history(day)
    found = book.outcomes(history, horizon_days=days)
    n = len(book.ids)
    bought, sales, known = np.zeros(n, dtype=np.bool_), np.zeros(n), np.zeros(n, dtype=np.bool_)
    bought[history.customer], sales[history.customer], known[history.customer] = found.bought, found.spend, True
    money = pl.Series(sales if book.has_amounts else [None] * n, dtype=pl.Float64)
    return pl.Series(bought), money, pl.Series(known)


def _measured(planned: Campaign, intake: Intake, came: _Came, *, day: date) -> dict[str, Any]:
    record, rows = planned.record, came.outcomes
    terms = Terms(**record["terms"])
    # Planned without money, it was told no margin: only repurchase is measured.
    without_money = bool(rows["sales"].null_count() or rows["spend"].is_nan().any())
    who = Assigned(
        treated=(rows["arm"] == TREATMENT).to_numpy(),
        stratum=rows["stratum"].to_numpy(),
        bought=rows["bought"].to_numpy(),
        sales=None if without_money else rows["sales"].to_numpy(),
        p=rows["p"].to_numpy(),
        spend=rows["spend"].to_numpy(),
        part=rows["segment"].fill_null("none").to_numpy().astype(np.str_),
    )
    power = record["power"]
    found = measure_campaign(
        who, terms=terms, effect_points=power["effect_points"], power=power["power"], alpha=power["alpha"]
    )
    ends = day + timedelta(days=int(record["horizon_days"]))
    measured: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "command": "campaign measure",
            "campaign": record["campaign"],
            "created_at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
            "repurchase_version": __version__,
            "planned": {"path": planned.path.name, "digest": record["digest"]},
            "orders": intake.describe(),
            "currency": record["currency"] or intake.report.currency,
            "pseudonyms": record["pseudonyms"],
            "day": day.isoformat(),
            "horizon_days": record["horizon_days"],
            "observed_days": came.days,
            "observed_until": came.observed.isoformat(),
            "window_ends": ends.isoformat(),
            "is_over": came.observed >= ends,
            "terms": record["terms"],
            "effect_points": power["effect_points"],
            "assumption": record["assumption"],
            "customers": {"planned": record["customers"]["rows"], "missing": planned.n_missing, "found": came.n_found},
            **found,
        }
    )
    return measured

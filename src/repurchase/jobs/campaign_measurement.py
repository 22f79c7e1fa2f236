"""`repurchase campaign measure`: what a campaign changed, against its control group."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from repurchase import __version__
from repurchase.campaigns.measurement import CampaignOutcomes, measure_campaign
from repurchase.campaigns.planning import CONTROL, TREATMENT
from repurchase.errors import BundleError, InputError
from repurchase.evaluation.summary import to_json_values
from repurchase.features.ledger import Ledger
from repurchase.i18n.formatting import format_money, format_share
from repurchase.i18n.messages import format_quantity
from repurchase.jobs.campaign_files import (
    CAMPAIGN_SCHEMA,
    Campaign,
    campaign_outputs,
    measured_path,
    measurement_outputs,
    read_campaign,
    require_no_shorter_measurement,
    stage_outcomes,
)
from repurchase.jobs.campaign_planning import CampaignFile, CampaignRecord, format_range
from repurchase.jobs.customer_lists import Pseudonymizer
from repurchase.jobs.order_intake import Intake, LogSteps, Steps, load_orders, with_model_settings
from repurchase.jobs.outputs import local_inputs
from repurchase.marketing.economics import CampaignTerms
from repurchase.registry.bundle import load_bundle
from repurchase.registry.champion import resolve_version
from repurchase.registry.retry_queue import track_measurement
from repurchase.settings import Settings
from repurchase.sources.locations import DatabaseSource
from repurchase.storage.delivery import require_distinct_paths, require_outside_registry, staged_delivery, work_folder

_MIN_FOUND_SHARE = 0.5
"""Share of the campaign's customers that the orders must know from before it, or they are another shop's."""


class _Outcomes(NamedTuple):
    """What came after a campaign."""

    outcomes: pl.DataFrame
    n_found: int
    observed: date
    days: int


def run_measurement(
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
    require_distinct_paths([*outputs, work_folder(target)], [*campaign_outputs(planned.path), *local_inputs(source)])
    settings = _planning_settings(settings, str(record["scores"]["model_version"]))
    with staged_delivery(target, formats=(".json",), kinds=outputs) as delivery:
        intake = load_orders(source, settings=settings, folder=delivery.work, as_of=as_of, steps=steps)
        _require_begun(planned, intake, day)
        require_no_shorter_measurement(target, planned, days=_observed_days(planned, intake, day), until=intake.as_of)
        with steps.step("Comparing with those held out") as counts:
            came = _find_outcomes(planned, intake, day)
            counts.update(customers=came.outcomes.height)
        with steps.step("Writing"):
            measured = stage_outcomes(delivery, _measurement_record(planned, intake, came, day=day), came.outcomes)
            delivery.publish()
    track_measurement(settings.home, record, measured, seconds=settings.tracking_seconds)
    return CampaignFile(target, measured)


def _planning_settings(settings: Settings, version: str) -> Settings:
    try:
        return with_model_settings(
            settings, load_bundle(resolve_version(settings.home, version)).manifest.get("settings", {})
        )
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


def _observed_days(planned: Campaign, intake: Intake, day: date) -> int:
    return min(int(planned.record["horizon_days"]), (intake.as_of - day).days)


def _find_outcomes(planned: Campaign, intake: Intake, day: date) -> _Outcomes:
    ledger = intake.ledgers.whole().until(intake.as_of)
    days = _observed_days(planned, intake, day)
    bought, sales, known = _ledger_outcomes(ledger, day, days)
    ids = pl.Series("customer_id", ledger.ids)
    pseudonymizer = Pseudonymizer.of_record(planned.record, name=str(planned.path))
    ids = pseudonymizer.ids(ids) if pseudonymizer else ids
    came = pl.DataFrame({"customer_id": ids, "bought": bought, "sales": sales, "known": known})
    rows = planned.customers.join(came, on="customer_id", how="left", maintain_order="left")
    n_found = int(rows["known"].sum() or 0)
    if n_found < _MIN_FOUND_SHARE * rows.height:
        raise InputError(
            f"{intake.log.source}: only {n_found:,} of the campaign's {rows.height:,} customers bought there before "
            f"{day + timedelta(days=1)}. These are the orders of another shop, or only a part of them."
        )
    zero = pl.lit(0.0) if ledger.has_amounts else pl.lit(None, dtype=pl.Float64)
    outcomes = rows.with_columns(pl.col("bought").fill_null(value=False), pl.col("sales").fill_null(zero))
    return _Outcomes(outcomes.drop("known"), n_found, intake.as_of, days)


def _ledger_outcomes(ledger: Ledger, day: date, days: int) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Of every customer of a ledger: bought in the window, net money in it, known before it."""
    history = ledger.history(day)
    found = ledger.outcomes(history, horizon_days=days)
    n = len(ledger.ids)
    bought, sales, known = np.zeros(n, dtype=np.bool_), np.zeros(n), np.zeros(n, dtype=np.bool_)
    bought[history.customer], sales[history.customer], known[history.customer] = found.bought, found.spend, True
    money = pl.Series(sales if ledger.has_amounts else [None] * n, dtype=pl.Float64)
    return pl.Series(bought), money, pl.Series(known)


def _measurement_record(planned: Campaign, intake: Intake, came: _Outcomes, *, day: date) -> dict[str, Any]:
    record, rows = planned.record, came.outcomes
    terms = CampaignTerms(**record["terms"])
    # Planned without money, it was told no margin: only repurchase is measured.
    without_money = bool(rows["sales"].null_count() or rows["spend"].is_nan().any())
    who = CampaignOutcomes(
        treated=(rows["arm"] == TREATMENT).to_numpy(),
        stratum=rows["stratum"].to_numpy(),
        bought=rows["bought"].to_numpy(),
        sales=None if without_money else rows["sales"].to_numpy(),
        p=rows["p"].to_numpy(),
        spend=rows["spend"].to_numpy(),
        segment=rows["segment"].fill_null("none").to_numpy().astype(np.str_),
    )
    power = record["power"]
    found = measure_campaign(
        who, terms=terms, effect_points=power["effect_points"], power=power["power"], alpha=power["alpha"]
    )
    ends = day + timedelta(days=int(record["horizon_days"]))
    measured: dict[str, Any] = to_json_values(
        {
            "schema": CAMPAIGN_SCHEMA,
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


def measured_lines(record: CampaignRecord, path: Path) -> list[str]:
    """Say what a campaign brought, and whether that can be told."""
    groups, currency = record["groups"], record["currency"]
    treated, held = groups["treatment"], groups["control"]
    lines = [
        _verdict_line(record),
        (
            f"Bought within {record['observed_days']} days after {record['day']}: "
            f"{format_share(treated['share_bought'])} of "
            f"{treated['customers']:,} to be reached, {format_share(held['share_bought'])} of "
            f"{held['customers']:,} held out."
        ),
        (
            f"Repurchase: {_format_points(record['repurchase']['adjusted'])} points, adjusted for the scores; "
            f"{_format_points(record['repurchase']['unadjusted'])} without."
        ),
    ]
    if record["sales"] is not None:
        lines += _money_lines(record, currency)
    lines += _segment_lines(record["segments"])
    missing = record["customers"]["missing"]
    lines += [
        f"{format_quantity(missing, 'customer')} of the plan no longer in the file: left out of all figures."
    ] * bool(missing)
    return [*lines, f"Record: {path}"]


def _verdict_line(record: CampaignRecord) -> str:
    found = record["repurchase"]["adjusted"]
    if not record["is_over"]:
        return (
            f"CANNOT TELL YET: {record['observed_days']} of {record['horizon_days']} days are over. Measure again with "
            f"orders up to {record['window_ends']}. So far:"
        )
    if found["can_tell"]:
        more = "MORE" if found["value"] > 0 else "LESS"
        return f"Those reached bought {more} often because of the campaign: {_format_points(found)} points."
    needed, n = record["needed_customers"], sum(group["customers"] for group in record["groups"].values())
    words = "CANNOT TELL: the difference may be chance, its range holds zero."
    if needed is not None and needed > n:
        words += (
            f" To see {record['effect_points']:.3g} points, about {needed:,} customers are needed, parted alike; these "
            f"were {n:,}."
        )
    elif found["high"] < record["effect_points"]:
        words += f" Its range leaves out {record['effect_points']:.3g} points: so much it did not bring."
    return words


def _money_lines(record: CampaignRecord, currency: str | None) -> list[str]:
    sales, profit, totals = record["sales"], record["profit"], record["totals"]
    lines = [
        (
            f"Net sales per customer against those held out: {_format_amount(sales['adjusted'], currency)}, adjusted; "
            f"{_format_amount(sales['unadjusted'], currency)} without. "
            f"{_significance_sentence(sales['adjusted'], record)}"
        ),
        (
            f"All in all: sales {format_range(totals['sales'], currency)}, cost "
            f"{format_money(totals['cost'], currency)}, profit "
            f"{format_range(totals['profit'], currency)}; per contact {_format_amount(profit['adjusted'], currency)}."
        ),
    ]
    back = record["return_on_spend"]
    if back is not None:
        lines.append(
            f"Return on spend: {back['value']:+.2f} per unit spent ({back['low']:+.2f} to {back['high']:+.2f})."
            f" {_significance_sentence(profit['adjusted'], record)}"
        )
    return lines


def _segment_lines(rows: list[CampaignRecord]) -> list[str]:
    if len(rows) < 2:
        return []
    stands = [row for row in rows if (row["p_value_for_all_looked_at"] or 1.0) < 0.05]
    lines = [f"By segment, in points ({len(rows)} looked at: one may look good by chance):"]
    for row in rows:
        told = "too few" if row["points"] is None else _format_points(row["points"])
        drawn = row["points_drawn_to_the_mean"]
        pooled = "" if drawn is None else f"; drawn to the mean {drawn:+.1f}"
        lines.append(f"  {row['segment']}: {told}{pooled} ({row['treatment']:,} against {row['control']:,})")
    names = ", ".join(str(row["segment"]) for row in stands)
    return [*lines, f"Beyond chance, for all looked at: {names or 'none'}."]


def _format_points(found: CampaignRecord) -> str:
    return f"{found['value']:+.1f} ({found['low']:+.1f} to {found['high']:+.1f})"


def _significance_sentence(found: CampaignRecord, record: CampaignRecord) -> str:
    """Of money: told for certain only where repurchase says so too; of two figures, one is easily beyond chance."""
    if not record["is_over"]:
        return "Cannot tell yet."
    if not found["can_tell"]:
        return "Cannot tell: its range holds zero."
    if not record["repurchase"]["adjusted"]["can_tell"]:
        return "Beyond chance by itself, but repurchase is not: a hint, no proof."
    return "Beyond chance."


def _format_amount(found: CampaignRecord, currency: str | None) -> str:
    unit = f" {currency}" if currency else ""
    return f"{found['value']:+,.2f}{unit} ({found['low']:+,.2f} to {found['high']:+,.2f})"

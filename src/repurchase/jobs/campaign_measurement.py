"""`repurchase campaign measure`: what a campaign changed, against its control group."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

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
    CampaignRecord,
    campaign_outputs,
    measured_path,
    measurement_outputs,
    read_campaign,
    require_no_shorter_measurement,
    stage_outcomes,
)
from repurchase.jobs.campaign_planning import format_range
from repurchase.jobs.customer_lists import Pseudonymizer
from repurchase.jobs.order_intake import Intake, LogSteps, Steps, load_orders, with_model_settings
from repurchase.jobs.outputs import JobResult, local_inputs, record_header
from repurchase.marketing.economics import CampaignTerms
from repurchase.registry.bundle import read_manifest
from repurchase.registry.champion import resolve_version
from repurchase.registry.retry_queue import track_measurement
from repurchase.settings import Settings
from repurchase.sources.locations import DatabaseSource
from repurchase.storage.delivery import require_distinct_paths, require_outside_registry, staged_delivery, work_folder

_MIN_FOUND_SHARE = 0.5
"""Share of the campaign's customers that the orders must know from before it, or they are another shop's."""


class _Outcomes(NamedTuple):
    """What the customers of a campaign did after it."""

    rows: pl.DataFrame
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
) -> JobResult:
    """Measure the effect of a campaign against its control group.

    It may be measured every night: more observed days replace fewer, never the reverse.
    """
    steps = steps or LogSteps()
    planned = read_campaign(campaign)
    record = planned.record
    if not record["arms"][CONTROL]:
        raise InputError(
            f"{planned.path} cannot be measured: there is no control group, so what customers would have bought "
            "without it is not known. Plan the next one with a control group."
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
        with steps.step("Comparing with the control group") as counts:
            outcomes = _find_outcomes(planned, intake, day)
            counts.update(customers=outcomes.rows.height)
        with steps.step("Writing"):
            measured = stage_outcomes(delivery, _measurement_record(planned, intake, outcomes, day=day), outcomes.rows)
            delivery.publish()
    track_measurement(settings.home, record, measured, seconds=settings.tracking_seconds)
    return JobResult(target, measured, tuple(measured_lines(measured, target)))


def _planning_settings(settings: Settings, version: str) -> Settings:
    try:
        manifest = read_manifest(resolve_version(settings.home, version))
    except BundleError:
        return settings
    return with_model_settings(settings, manifest.get("settings", {}))


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
    ids = pl.Series("customer_id", ledger.ids)
    pseudonymizer = Pseudonymizer.of_record(planned.record, name=str(planned.path))
    ids = pseudonymizer.ids(ids) if pseudonymizer else ids
    observed = _ledger_outcomes(ledger, day, days).with_columns(ids)
    rows = planned.customers.join(observed, on="customer_id", how="left", maintain_order="left")
    n_found = int(rows["known"].sum() or 0)
    if n_found < _MIN_FOUND_SHARE * rows.height:
        raise InputError(
            f"{intake.log.source}: only {n_found:,} of the campaign's {rows.height:,} customers bought there before "
            f"{day + timedelta(days=1)}. These are the orders of another shop, or only a part of them."
        )
    zero = pl.lit(0.0) if ledger.has_amounts else pl.lit(None, dtype=pl.Float64)
    rows = rows.with_columns(pl.col("bought").fill_null(value=False), pl.col("sales").fill_null(zero)).drop("known")
    return _Outcomes(rows, n_found, intake.as_of, days)


def _ledger_outcomes(ledger: Ledger, day: date, days: int) -> pl.DataFrame:
    """Of every customer of a ledger: bought in the window, net money in it, known before it."""
    history = ledger.history(day)
    outcomes = ledger.outcomes(history, horizon_days=days)
    n = len(ledger.ids)
    bought, sales, known = np.zeros(n, dtype=np.bool_), np.zeros(n), np.zeros(n, dtype=np.bool_)
    bought[history.customer], sales[history.customer], known[history.customer] = outcomes.bought, outcomes.spend, True
    money = pl.Series(sales if ledger.has_amounts else [None] * n, dtype=pl.Float64)
    return pl.DataFrame({"bought": bought, "sales": money, "known": known})


def _measurement_record(planned: Campaign, intake: Intake, outcomes: _Outcomes, *, day: date) -> dict[str, Any]:
    record, rows = planned.record, outcomes.rows
    # Planned without money there is no margin: only repurchase is measured.
    without_money = bool(rows["sales"].null_count() or rows["spend"].is_nan().any())
    power = record["power"]
    measured = measure_campaign(
        CampaignOutcomes(
            treated=(rows["arm"] == TREATMENT).to_numpy(),
            stratum=rows["stratum"].to_numpy(),
            bought=rows["bought"].to_numpy(),
            sales=None if without_money else rows["sales"].to_numpy(),
            p=rows["p"].to_numpy(),
            spend=rows["spend"].to_numpy(),
            segment=rows["segment"].fill_null("none").to_numpy().astype(np.str_),
        ),
        terms=CampaignTerms(**record["terms"]),
        effect_points=power["effect_points"],
        power=power["power"],
        alpha=power["alpha"],
    )
    ends = day + timedelta(days=int(record["horizon_days"]))
    n_planned = record["customers"]["rows"]
    result: dict[str, Any] = to_json_values(
        {
            **record_header("campaign measure", CAMPAIGN_SCHEMA),
            **{name: record[name] for name in ("campaign", "pseudonyms", "horizon_days", "terms", "assumption")},
            "planned": {"path": planned.path.name, "digest": record["digest"]},
            "orders": intake.describe(),
            "currency": record["currency"] or intake.report.currency,
            "day": day.isoformat(),
            "observed_days": outcomes.days,
            "observed_until": outcomes.observed.isoformat(),
            "window_ends": ends.isoformat(),
            "is_over": outcomes.observed >= ends,
            "effect_points": power["effect_points"],
            "customers": {"planned": n_planned, "missing": planned.n_missing, "found": outcomes.n_found},
            **measured,
        }
    )
    return result


def measured_lines(record: CampaignRecord, path: Path) -> list[str]:
    """Say what a campaign changed, and whether that is statistically significant."""
    treatment, control = (record["groups"][arm] for arm in (TREATMENT, CONTROL))
    repurchase, n_missing = record["repurchase"], record["customers"]["missing"]
    return [
        _verdict_line(record),
        (
            f"Bought within {record['observed_days']} days after {record['day']}: "
            f"{format_share(treatment['share_bought'])} of {treatment['customers']:,} contacted, "
            f"{format_share(control['share_bought'])} of {control['customers']:,} in the control group."
        ),
        (
            f"Repurchase: {_format_points(repurchase['adjusted'])} points, adjusted for the scores; "
            f"{_format_points(repurchase['unadjusted'])} without."
        ),
        *(_money_lines(record) if record["sales"] is not None else []),
        *_segment_lines(record["segments"]),
        *(
            [f"{format_quantity(n_missing, 'customer')} of the plan no longer in the file: left out."]
            if n_missing
            else []
        ),
        f"Record: {path}",
    ]


def _verdict_line(record: CampaignRecord) -> str:
    effect = record["repurchase"]["adjusted"]
    if not record["is_over"]:
        return (
            f"CANNOT TELL YET: {record['observed_days']} of {record['horizon_days']} days are over. Measure again with "
            f"orders up to {record['window_ends']}. So far:"
        )
    if effect["can_tell"]:
        more = "MORE" if effect["value"] > 0 else "LESS"
        return f"Contacted customers bought {more} often because of the campaign: {_format_points(effect)} points."
    text = "CANNOT TELL: the difference is not statistically significant, its range contains zero."
    needed, n_customers = record["needed_customers"], sum(group["customers"] for group in record["groups"].values())
    if needed is not None and needed > n_customers:
        return (
            f"{text} To detect {record['effect_points']:.3g} points, about {needed:,} customers are needed in groups "
            f"of the same shares; there were {n_customers:,}."
        )
    if effect["high"] < record["effect_points"]:
        return f"{text} Its range is below {record['effect_points']:.3g} points: the effect was smaller than that."
    return text


def _money_lines(record: CampaignRecord) -> Iterator[str]:
    sales, profit, totals, currency = record["sales"], record["profit"], record["totals"], record["currency"]
    yield (
        f"Net sales per customer compared with the control group: {_format_amount(sales['adjusted'], currency)}, "
        f"adjusted; {_format_amount(sales['unadjusted'], currency)} without. "
        f"{_significance_sentence(sales['adjusted'], record)}"
    )
    yield (
        f"In total: sales {format_range(totals['sales'], currency)}, cost {format_money(totals['cost'], currency)}, "
        f"profit {format_range(totals['profit'], currency)}; per contact "
        f"{_format_amount(profit['adjusted'], currency)}."
    )
    back = record["return_on_spend"]
    if back is not None:
        yield (
            f"Return on spend: {back['value']:+.2f} per unit spent ({back['low']:+.2f} to {back['high']:+.2f}). "
            f"{_significance_sentence(profit['adjusted'], record)}"
        )


def _segment_lines(rows: list[CampaignRecord]) -> list[str]:
    if len(rows) < 2:
        return []
    lines = [f"By segment, in points ({len(rows)} compared: one may look good by chance):"]
    for row in rows:
        points, pooled = row["points"], row["points_drawn_to_the_mean"]
        effect = "too few" if points is None else _format_points(points)
        pooled = "" if pooled is None else f"; shrunk to the mean {pooled:+.1f}"
        lines.append(f"  {row['segment']}: {effect}{pooled} ({row['treatment']:,} against {row['control']:,})")
    significant = [str(row["segment"]) for row in rows if (row["p_value_for_all_looked_at"] or 1.0) < 0.05]
    return [*lines, f"Statistically significant among all compared: {', '.join(significant) or 'none'}."]


def _format_points(effect: CampaignRecord) -> str:
    return f"{effect['value']:+.1f} ({effect['low']:+.1f} to {effect['high']:+.1f})"


def _significance_sentence(effect: CampaignRecord, record: CampaignRecord) -> str:
    """Call money significant only where repurchase is too: of two figures, one is easily significant by chance."""
    if not record["is_over"]:
        return "Cannot tell yet."
    if not effect["can_tell"]:
        return "Cannot tell: its range contains zero."
    if not record["repurchase"]["adjusted"]["can_tell"]:
        return "Statistically significant by itself, but repurchase is not: a hint, no proof."
    return "Statistically significant."


def _format_amount(effect: CampaignRecord, currency: str | None) -> str:
    unit = f" {currency}" if currency else ""
    return f"{effect['value']:+,.2f}{unit} ({effect['low']:+,.2f} to {effect['high']:+,.2f})"

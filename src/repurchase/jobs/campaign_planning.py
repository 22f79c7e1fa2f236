"""`repurchase campaign plan`: target customers, assign a control group at random, state what is expected."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.campaigns.design import CampaignDesign, UpliftAssumption
from repurchase.campaigns.measurement import Effect, pool_effects
from repurchase.campaigns.planning import CONTROL, TREATMENT, plan_campaign
from repurchase.campaigns.targeting import UpliftModel, evaluate_targeting, fit_uplift, group_weights
from repurchase.errors import InputError, first_few
from repurchase.evaluation.summary import to_json_values
from repurchase.i18n.formatting import format_money, format_percent, format_share
from repurchase.i18n.messages import format_quantity
from repurchase.jobs.campaign_files import (
    CAMPAIGN_SCHEMA,
    UPLIFT_FEATURES,
    CampaignRecord,
    campaign_outputs,
    campaign_path,
    read_measured,
    read_outcomes,
    stage_campaign,
    with_seals,
)
from repurchase.jobs.customer_lists import read_customers
from repurchase.jobs.outputs import JobResult, load_scores, local_inputs, record_header, scores_inputs
from repurchase.marketing.economics import CampaignCandidates, CampaignTerms
from repurchase.registry.retry_queue import track_plan
from repurchase.settings import Settings
from repurchase.storage.delivery import require_distinct_paths, require_outside_registry, staged_delivery
from repurchase.storage.json_files import sha256_of
from repurchase.storage.run_records import ScoredRun

_Floats = npt.NDArray[np.float64]

_MIN_CUSTOMERS = 1000
"""Customers of past campaigns below which nothing is learned: effects are much smaller than their scatter."""
_TARGETED_SHARE = 0.3
_EFFECT_FIELDS = ("value", "low", "high", "error", "p_value")


class _PastCampaigns(NamedTuple):
    """What past campaigns teach."""

    assumption: UpliftAssumption
    record: dict[str, Any]
    model: UpliftModel | None

    def predict_uplift(self, rows: pl.DataFrame, *, horizon_days: int) -> _Floats | None:
        """Predict each customer's uplift, if that could be learned."""
        if self.model is None:
            return None
        names = {f"p_repurchase_{horizon_days}d": "p", f"spend_expected_{horizon_days}d": "spend"}
        return self.model.predict(_features(rows.select(*names, *UPLIFT_FEATURES).rename(names)))


def read_past_campaigns(paths: Sequence[Path], *, horizon_days: int) -> _PastCampaigns:
    """Read measured campaigns, pool their effects and learn whom they moved."""
    measured = [(path, read_measured(path)) for path in paths]
    for path, record in measured:
        _require_usable(path, record, horizon_days=horizon_days)
    measured.sort(key=lambda pair: str(pair[1]["planned"]["digest"]))
    for (path, record), (other, again) in pairwise(measured):
        if record["planned"]["digest"] == again["planned"]["digest"]:
            raise InputError(
                f"--past {path} and {other} are of the same campaign, '{record['campaign']}': it would count twice. "
                "Leave one out."
            )
    effects = (record["repurchase"]["adjusted"] for _, record in measured)
    pooled = pool_effects([Effect(**{name: float(effect[name]) for name in _EFFECT_FIELDS}) for effect in effects])
    if not pooled.value > 0:
        raise InputError(
            f"Past campaigns had no positive effect: {pooled.value:+.1f} points ({pooled.low:+.1f} to "
            f"{pooled.high:+.1f}). There is no gain to plan with. To try another offer, leave out --past and give "
            "--effect."
        )
    words, model = _try_uplift_model([read_outcomes(path, record) for path, record in measured])
    assumption = UpliftAssumption(
        uplift=pooled.value / 100,
        error=pooled.error / 100,
        low=pooled.low / 100,
        high=pooled.high / 100,
        source="past campaigns" if model is None else "learned from past campaigns",
    )
    names = [record["campaign"] for _, record in measured]
    learning = {"used": model is not None, "words": words}
    return _PastCampaigns(assumption, {"campaigns": names, "learning": learning}, model)


def _require_usable(path: Path, record: CampaignRecord, *, horizon_days: int) -> None:
    if record["horizon_days"] != horizon_days:
        raise InputError(
            f"{path}: purchases within {record['horizon_days']} days, but the plan counts {horizon_days}. "
            f"Choose --horizon {record['horizon_days']}, or leave it out."
        )
    if not record["repurchase"]["adjusted"]["error"] > 0:
        raise InputError(
            f"{path}: within each group all bought or none did, so the uncertainty of its uplift is not known. "
            "Leave it out of --past."
        )


def _try_uplift_model(outcomes: Sequence[pl.DataFrame]) -> tuple[str, UpliftModel | None]:
    """Learn whom campaigns move; the model is used only if it beats simple targeting on customers it has not seen."""
    columns = ("customer_id", "arm", "bought", "p", "spend", *UPLIFT_FEATURES)
    rows = pl.concat(
        [frame.select(*columns, campaign=pl.lit(number)) for number, frame in enumerate(outcomes)],
        how="vertical_relaxed",
    )
    fallback = "the same uplift is assumed for everybody"
    if rows.height < _MIN_CUSTOMERS:
        return f"Past campaigns hold {rows.height:,} customers, too few to learn whom to reach: {fallback}.", None
    x, p = _features(rows), rows["p"].to_numpy()
    treated, bought = (rows["arm"] == TREATMENT).to_numpy(), rows["bought"].to_numpy().astype(np.float64)
    weight = group_weights(treated, rows["campaign"].to_numpy())
    try:
        trial = evaluate_targeting(
            x,
            treated,
            bought,
            rivals={"highest risk": -p, "highest p": p},
            share=_TARGETED_SHARE,
            weight=weight,
            customer=rows["customer_id"].rank("dense").to_numpy(),
        )
    except InputError as fault:
        return f"Whom to reach could not be learned ({fault}): {fallback}.", None
    comparisons = "; ".join(
        f"against {one.rival} {one.difference:+.0f} buyers ({one.low:+.0f} to {one.high:+.0f})"
        for one in trial.comparisons
    )
    words = f"Learned targeting at {format_percent(_TARGETED_SHARE)} of past customers it had not seen: {comparisons}"
    if not trial.beats_all:
        return f"{words}. It does not beat all of them, so it is not used: {fallback}.", None
    return f"{words}. It is used.", fit_uplift(x, treated, bought, weight=weight)


def _features(rows: pl.DataFrame) -> _Floats:
    long_tailed = pl.col("spend", *UPLIFT_FEATURES).cast(pl.Float64).clip(lower_bound=0).log1p()
    x = rows.select(pl.col("p").cast(pl.Float64), long_tailed).to_numpy()
    return np.asarray(np.where(np.isfinite(x), x, np.nan), dtype=np.float64)


_KEPT_COLUMNS = ("segment", "risk_band", *UPLIFT_FEATURES)
"""Columns of the scores that are kept: groups to measure by, and what an uplift model may learn from."""


@dataclass(frozen=True, kw_only=True)
class CampaignOptions:
    """What is requested of a plan."""

    name: str | None = None
    day: date | None = None
    list_file: Path | None = None
    segments: Sequence[str] = ()
    horizon_days: int | None = None
    effect_points: float | None = None
    uplift_points: float | None = None
    past: Sequence[Path] = ()
    power: float = 0.8
    alpha: float = 0.05
    control_share: float | None = None
    seed: int = 0


def prepare_campaign(
    scores: Path,
    out: Path,
    *,
    settings: Settings,
    options: CampaignOptions,
    margin: float | None = None,
    terms: CampaignTerms,
) -> JobResult:
    """Plan a campaign and write it."""
    if options.name is not None and not options.name.strip():
        raise InputError("--name is empty. Give the campaign a name, or leave it out.")
    path = campaign_path(out)
    require_outside_registry(path, home=settings.home)
    outputs = campaign_outputs(path)
    require_distinct_paths(outputs, [*scores_inputs(scores), *local_inputs(options.list_file, *options.past)])
    scored = load_scores(scores)
    horizon = choose_horizon(scored, options.horizon_days)
    rows = _select_candidates(scored, horizon, options, settings)
    p, spend = rows[f"p_repurchase_{horizon}d"], rows[f"spend_expected_{horizon}d"]
    has_money = not spend.null_count()
    if has_money and margin is None:
        raise InputError("--margin is missing: the share of sales that is left after the goods are paid, such as 0.3.")
    terms = replace(terms, margin=1.0 if margin is None else margin)
    past = read_past_campaigns(options.past, horizon_days=horizon) if options.past else None
    assumption = past.assumption if past else _uplift_assumption(options)
    design = _design(options, assumption, default_name=f"campaign-{scored.as_of}")
    day = _start_day(options, scored, horizon)
    planned = plan_campaign(
        rows["customer_id"],
        CampaignCandidates.of(p.to_numpy(), spend.to_numpy() if has_money else None),
        terms=terms,
        design=design,
        assumption=assumption,
        learned=past.predict_uplift(rows, horizon_days=horizon) if past else None,
        has_money=has_money,
    )
    kept = rows.select("customer_id", *_KEPT_COLUMNS)
    customers = planned.customers.join(kept, on="customer_id", maintain_order="left")
    record = {
        **record_header("campaign plan", CAMPAIGN_SCHEMA),
        **_scores_fields(scores, scored),
        "campaign": design.campaign,
        "seed": design.seed,
        "list": options.list_file and options.list_file.name,
        "segments": list(options.segments),
        "day": day.isoformat(),
        "horizon_days": horizon,
        "window_ends": (day + timedelta(days=horizon)).isoformat(),
        "terms": {name: getattr(terms, name) for name in ("margin", "cost_per_contact", "offer_cost", "budget")},
        "assumption": _assumption_fields(assumption),
        "past": past.record if past else None,
        **planned.facts,
    }
    with staged_delivery(path, formats=(".json",), kinds=outputs) as delivery:
        sealed = with_seals(customers, campaign=design.campaign)
        record = stage_campaign(delivery, to_json_values(record), sealed)
        delivery.publish()
    track_plan(settings.home, record, seconds=settings.tracking_seconds)
    return JobResult(path, record, tuple(planned_lines(record, path)))


def _design(options: CampaignOptions, assumption: UpliftAssumption, *, default_name: str) -> CampaignDesign:
    return CampaignDesign(
        campaign=options.name or default_name,
        effect=assumption.uplift if options.effect_points is None else options.effect_points / 100,
        power=options.power,
        alpha=options.alpha,
        control_share=options.control_share,
        seed=options.seed,
    )


def choose_horizon(scored: ScoredRun, days: int | None) -> int:
    """Choose the horizon: the requested one, or the scores' primary one."""
    if days is None:
        return scored.primary_days
    if days not in scored.horizons:
        known = ", ".join(map(str, scored.horizons))
        raise InputError(f"--horizon {days}: these scores look {known} days ahead. Choose one of them.")
    return days


def _select_candidates(scored: ScoredRun, horizon: int, options: CampaignOptions, settings: Settings) -> pl.DataFrame:
    rows = scored.scored.filter(pl.col(f"p_repurchase_{horizon}d").is_not_null())
    if not rows.height:
        raise InputError("These scores hold no customer with a history: nobody to reach. Score a longer log.")
    if options.segments:
        known = rows["segment"].drop_nulls().unique().sort().to_list()
        unknown = [name for name in options.segments if name not in known]
        if unknown:
            raise InputError(f"--segment {unknown[0]}: not in these scores. Found: {first_few(known, shown=12)}.")
        rows = rows.filter(pl.col("segment").is_in(options.segments))
    if options.list_file:
        listed = read_customers(options.list_file, column_map=settings.columns).rows["customer_id"]
        rows = rows.filter(pl.col("customer_id").is_in(listed.implode()))
        if not rows.height:
            raise InputError(
                f"{options.list_file}: {len(listed):,} customers, none of them scored here. Send ids of these scores."
            )
    return rows


def _start_day(options: CampaignOptions, scored: ScoredRun, horizon: int) -> date:
    day = options.day or scored.as_of
    if day is None or (scored.as_of and day < scored.as_of):
        raise InputError(f"--day {day}: the scores know orders up to {scored.as_of}; a campaign goes out after that.")
    if (date.max - day).days < horizon:
        raise InputError(f"--day {day}: there are no {horizon} days after it in the calendar. Choose an earlier day.")
    return day


def _uplift_assumption(options: CampaignOptions) -> UpliftAssumption:
    points = options.effect_points if options.uplift_points is None else options.uplift_points
    if points is None:
        raise InputError(
            "--effect is missing: by how many percentage points contacted customers should buy more often for the "
            "campaign to be worth its cost (2 for two in a hundred); or give measured campaigns with --past."
        )
    if not 0 < points < 100:
        name = "--effect" if options.uplift_points is None else "--uplift"
        raise InputError(f"{name} must be above 0 and below 100 points (2 for two in a hundred). Got {points:g}.")
    return UpliftAssumption(uplift=points / 100)


def _scores_fields(path: Path, scored: ScoredRun) -> dict[str, Any]:
    return {
        "scores": {
            "path": path.name,
            "sha256": sha256_of(path),
            "as_of": scored.as_of and scored.as_of.isoformat(),
            "model_version": scored.scores["model_version"][0],
        },
        "pseudonyms": scored.run.get("pseudonyms"),
        "currency": scored.currency,
    }


def _assumption_fields(assumption: UpliftAssumption) -> dict[str, Any]:
    return {
        "uplift_points": 100 * assumption.uplift,
        "low_points": None if assumption.low is None else 100 * assumption.low,
        "high_points": None if assumption.high is None else 100 * assumption.high,
        "source": assumption.source,
    }


def planned_lines(record: CampaignRecord, path: Path) -> list[str]:
    """Say whom a campaign reaches, which effect it can detect, and what is expected of it."""
    arms, candidates = record["arms"], record["candidates"]
    treatment, control = (path.with_name(record["lists"][arm]["path"]) for arm in (TREATMENT, CONTROL))
    return [
        (
            f"Campaign '{record['campaign']}', going out on {record['day']}; purchases up to {record['window_ends']} "
            f"count ({record['horizon_days']} days)."
        ),
        (
            f"{format_quantity(candidates['asked'], 'customer')} considered, {candidates['worth_reaching']:,} expected "
            f"to bring more than they cost, {candidates['chosen']:,} chosen: {arms[TREATMENT]:,} to contact, "
            f"{arms[CONTROL]:,} randomly assigned to the control group ({format_percent(arms['control_share'])})."
        ),
        *_power_lines(record),
        _assumption_line(record),
        *_expected_lines(record),
        *([record["past"]["learning"]["words"]] if record.get("past") else []),
        f"Contact: {treatment}. Do not contact: {control}.",
        f"Campaign file: {path}. Afterwards: repurchase campaign measure {path} ORDERS",
    ]


def _power_lines(record: CampaignRecord) -> list[str]:
    power, without_scores = record["power"], record["power"]["without_scores"]
    if not record["arms"][CONTROL]:
        return ["NO CONTROL GROUP: the effect of this campaign cannot be measured."]
    effect, base = f"{power['effect_points']:.3g} points", format_share(power["base_share"])
    target, reached = format_percent(power["power"]), format_percent(power["reached_power"])
    unadjusted = format_percent(without_scores["reached_power"])
    if power["enough"]:
        needed = without_scores["needed_control"]
        larger = "no control group of this list is enough" if needed is None else f"it must hold {needed:,}"
        return [
            (
                f"About {base} of the control group should buy anyway. Adjusted for the scores, an uplift of {effect} "
                f"is detected with a probability of {reached} (false alarms {format_percent(power['alpha'])}): the "
                f"scores are expected to explain {format_share(power['explained_by_scores'])} of who buys."
            ),
            f"Without the scores: {unadjusted}" + ("." if without_scores["enough"] else f"; for {target}, {larger}."),
        ]
    detectable, needed = power["detectable_points"], power["needed_customers"]
    size = "an uplift of no size" if detectable is None else f"an uplift of {detectable:.2f} points or more"
    enough = ""
    if needed is not None:
        unadjusted_needed = without_scores["needed_customers"]
        also = f" ({unadjusted_needed:,} without the scores)" if unadjusted_needed else ""
        enough = f" About {needed:,} customers like these are needed, half of them in the control group{also}."
    return [
        (
            f"TOO SMALL to detect {effect} with a probability of {target} (about {base} buy anyway; adjusted for the "
            f"scores the probability is {reached}, without them {unadjusted}). It can detect {size}.{enough} A longer "
            "list, a larger control group or more days would help."
        )
    ]


def _assumption_line(record: CampaignRecord) -> str:
    assumption = record["assumption"]
    points, low, high = (assumption[f"{name}_points"] for name in ("uplift", "low", "high"))
    if low is None:
        return (
            f"ASSUMED, not known: contacted customers buy {points:.3g} points more often. Only a measured campaign can "
            "show it."
        )
    return f"Uplift from past campaigns: {points:.3g} points ({low:.1f} to {high:.1f}), if this one is like them."


def _expected_lines(record: CampaignRecord) -> list[str]:
    expected, currency = record["expected"], record["currency"]
    buyers = f"{expected['buyers_more']:,.0f} buyers more than the {expected['buyers_anyway']:,.0f} who buy anyway"
    lines = [f"If so: {buyers}; cost {format_range(expected['cost'], currency)}."]
    if "profit" not in expected:
        return lines
    pays = record["break_even_points"]
    return [
        *lines,
        (
            f"Sales {format_range(expected['sales'], currency)}, profit after margin and costs "
            f"{format_range(expected['profit'], currency)} (95% interval, if the uplift is as assumed)."
        ),
        *(f"  {row['name']}: profit {format_money(row['profit']['value'], currency)}" for row in record["scenarios"]),
        "It pays at no uplift." if pays is None else f"It pays from an uplift of {pays:.2f} points.",
    ]


def format_range(interval: CampaignRecord, currency: str | None) -> str:
    """Write an amount of money with its range."""
    value, low, high = (format_money(interval[name], currency) for name in ("value", "low", "high"))
    return value if interval["low"] == interval["high"] else f"{value} ({low} to {high})"

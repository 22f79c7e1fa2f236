"""`repurchase campaign plan`: target customers, assign a control group at random, state what is expected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase import __version__
from repurchase.campaigns.design import CampaignDesign, UpliftAssumption
from repurchase.campaigns.measurement import Effect, pool_effects
from repurchase.campaigns.planning import CONTROL, TREATMENT, PlannedCampaign, plan_campaign
from repurchase.campaigns.targeting import UpliftModel, evaluate_targeting, fit_uplift, group_weights
from repurchase.errors import InputError, first_few
from repurchase.evaluation.summary import to_json_values
from repurchase.i18n.formatting import format_money, format_share
from repurchase.i18n.messages import format_quantity
from repurchase.jobs.campaign_files import (
    CAMPAIGN_SCHEMA,
    UPLIFT_FEATURES,
    campaign_outputs,
    campaign_path,
    read_measured,
    read_outcomes,
    stage_campaign,
    with_seals,
)
from repurchase.jobs.customer_lists import read_customers
from repurchase.jobs.outputs import load_scores, local_inputs, scores_inputs
from repurchase.marketing.economics import CampaignCandidates, CampaignTerms
from repurchase.registry.retry_queue import track_plan
from repurchase.settings import Settings
from repurchase.storage.delivery import require_distinct_paths, require_outside_registry, staged_delivery
from repurchase.storage.json_files import sha256_of
from repurchase.storage.run_records import ScoredRun

CampaignRecord = Mapping[str, Any]


_Floats = npt.NDArray[np.float64]


_MIN_CUSTOMERS = 1000
"""Customers of past campaigns below which nothing is learned: effects are much smaller than what scatters."""
_TARGETED_SHARE = 0.3


class _PastCampaigns(NamedTuple):
    """What past campaigns teach."""

    assumption: UpliftAssumption
    words: dict[str, Any]
    model: UpliftModel | None

    def uplift_of(self, rows: pl.DataFrame, *, horizon_days: int) -> _Floats | None:
        """Say whom a campaign would move, if that could be learned."""
        if self.model is None:
            return None
        named = {f"p_repurchase_{horizon_days}d": "p", f"spend_expected_{horizon_days}d": "spend"}
        return self.model.predict(_features(rows.select(*named, *UPLIFT_FEATURES).rename(named)))


def read_past_campaigns(paths: Sequence[Path], *, horizon_days: int) -> _PastCampaigns:
    """Read measured campaigns."""
    read = [(path, read_measured(path)) for path in paths]
    for path, record in read:
        _require_usable(path, record, horizon_days=horizon_days)
    read.sort(key=lambda one: str(one[1]["planned"]["digest"]))
    for (path, record), (other, again) in pairwise(read):
        if record["planned"]["digest"] == again["planned"]["digest"]:
            raise InputError(
                f"--past {path} and {other} are of the same campaign, '{record['campaign']}': it would count twice. "
                "Leave one out."
            )
    found = pool_effects([_effect_from_record(record["repurchase"]["adjusted"]) for _, record in read])
    if not found.value > 0:
        raise InputError(
            f"Past campaigns moved nobody: {found.value:+.1f} points ({found.low:+.1f} to {found.high:+.1f}). There "
            "is no gain to plan with. To learn from another offer, leave out --past and say --effect."
        )
    words, model = _try_uplift_model([read_outcomes(path, record) for path, record in read])
    assumption = UpliftAssumption(
        uplift=found.value / 100,
        error=found.error / 100,
        low=found.low / 100,
        high=found.high / 100,
        source="past campaigns" if model is None else "learned from past campaigns",
    )
    names = [record["campaign"] for _, record in read]
    return _PastCampaigns(
        assumption, {"campaigns": names, "learning": {"used": model is not None, "words": words}}, model
    )


def _require_usable(path: Path, record: CampaignRecord, *, horizon_days: int) -> None:
    if record["horizon_days"] != horizon_days:
        raise InputError(
            f"{path}: purchases within {record['horizon_days']} days, but the plan counts {horizon_days}. "
            f"Choose --horizon {record['horizon_days']}, or leave it out."
        )
    if not record["repurchase"]["adjusted"]["error"] > 0:
        raise InputError(
            f"{path}: within each group all bought or none did, so how far chance moves its uplift cannot be told. "
            "Leave it out of --past."
        )


def _try_uplift_model(outcomes: Sequence[pl.DataFrame]) -> tuple[str, UpliftModel | None]:
    used = ("customer_id", "arm", "bought", "p", "spend", *UPLIFT_FEATURES)
    rows = pl.concat(
        [one.select(*used, campaign=pl.lit(number)) for number, one in enumerate(outcomes)], how="vertical_relaxed"
    )
    kept = "everybody is taken to be moved by the same push"
    if rows.height < _MIN_CUSTOMERS:
        return f"Past campaigns hold {rows.height:,} customers, too few to learn whom to reach: {kept}.", None
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
        return f"Nothing could be learned of whom to reach ({fault}): {kept}.", None
    told = "; ".join(
        f"against {one.rival} {one.difference:+.0f} buyers ({one.low:+.0f} to {one.high:+.0f})"
        for one in trial.comparisons
    )
    told = f"Learned targeting at {100 * _TARGETED_SHARE:.0f} % of past customers it had not seen: {told}"
    if not trial.beats_all:
        return f"{told}. It does not beat all of them, so it is not used: {kept}.", None
    return f"{told}. It is used.", fit_uplift(x, treated, bought, weight=weight)


def _features(rows: pl.DataFrame) -> _Floats:
    tails = pl.col("spend", *UPLIFT_FEATURES).cast(pl.Float64).clip(lower_bound=0).log1p()
    x = rows.select(pl.col("p").cast(pl.Float64), tails).to_numpy()
    return np.asarray(np.where(np.isfinite(x), x, np.nan), dtype=np.float64)


def _effect_from_record(told: dict[str, Any]) -> Effect:
    return Effect(*(float(told[name]) for name in ("value", "low", "high", "error", "p_value")))


_KEPT_COLUMNS = ("segment", "risk_band", *UPLIFT_FEATURES)
"""Columns of the scores that go with a customer: parts to measure by, and what an uplift model may learn from."""


@dataclass(frozen=True, kw_only=True)
class CampaignOptions:
    """What a plan is asked for."""

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


@dataclass(frozen=True)
class CampaignFile:
    """A file that was written."""

    path: Path
    record: dict[str, Any]


class _PlanInputs(NamedTuple):
    """What a plan stands on."""

    terms: CampaignTerms
    design: CampaignDesign
    assumption: UpliftAssumption
    day: date
    horizon_days: int


def prepare_campaign(
    scores: Path,
    out: Path,
    *,
    settings: Settings,
    asked: CampaignOptions,
    margin: float | None = None,
    terms: CampaignTerms,
) -> CampaignFile:
    """Plan a campaign and write it."""
    if asked.name is not None and not asked.name.strip():
        raise InputError("--name is empty. Say what the campaign is called, or leave it out.")
    path = campaign_path(out)
    require_outside_registry(path, home=settings.home)
    outputs = campaign_outputs(path)
    require_distinct_paths(outputs, [*scores_inputs(scores), *local_inputs(asked.list_file, *asked.past)])
    facts = load_scores(scores)
    horizon = choose_horizon(facts, asked.horizon_days)
    rows = _select_candidates(facts, horizon, asked, settings)
    has_money = not rows[f"spend_expected_{horizon}d"].null_count()
    if has_money and margin is None:
        raise InputError("Say --margin: the share of sales that is left after the goods are paid, such as 0.3.")
    terms = replace(terms, margin=1.0 if margin is None else margin)
    past = read_past_campaigns(asked.past, horizon_days=horizon) if asked.past else None
    assumption = past.assumption if past else _uplift_assumption(asked)
    design = CampaignDesign(
        campaign=asked.name or f"campaign-{facts.as_of}",
        effect=assumption.uplift if asked.effect_points is None else asked.effect_points / 100,
        power=asked.power,
        alpha=asked.alpha,
        control_share=asked.control_share,
        seed=asked.seed,
    )
    day = _start_day(asked, facts, horizon)
    who = CampaignCandidates.of(
        rows[f"p_repurchase_{horizon}d"].to_numpy(),
        rows[f"spend_expected_{horizon}d"].to_numpy() if has_money else None,
    )
    planned = plan_campaign(
        rows["customer_id"],
        who,
        terms=terms,
        design=design,
        assumption=assumption,
        learned=past.uplift_of(rows, horizon_days=horizon) if past else None,
        has_money=has_money,
    )
    settled = _PlanInputs(terms, design, assumption, day, horizon)
    record = _campaign_record(facts, scores, asked, settled, planned)
    record["past"] = past.words if past else None
    customers = planned.customers.join(
        rows.select("customer_id", *_KEPT_COLUMNS), on="customer_id", maintain_order="left"
    )
    with staged_delivery(path, formats=(".json",), kinds=outputs) as delivery:
        record = stage_campaign(delivery, record, with_seals(customers, campaign=design.campaign))
        delivery.publish()
    track_plan(settings.home, record, seconds=settings.tracking_seconds)
    return CampaignFile(path, record)


def choose_horizon(facts: ScoredRun, told: int | None) -> int:
    """Settle the days ahead."""
    if told is None:
        return facts.primary_days
    if told not in facts.horizons:
        known = ", ".join(map(str, facts.horizons))
        raise InputError(f"--horizon {told}: these scores look {known} days ahead. Choose one of them.")
    return told


def _select_candidates(facts: ScoredRun, horizon: int, asked: CampaignOptions, settings: Settings) -> pl.DataFrame:
    rows = facts.scored.filter(pl.col(f"p_repurchase_{horizon}d").is_not_null())
    if not rows.height:
        raise InputError("These scores hold no customer with a history: nobody to reach. Score a longer log.")
    if asked.segments:
        known = rows["segment"].drop_nulls().unique().sort().to_list()
        unknown = [name for name in asked.segments if name not in known]
        if unknown:
            raise InputError(f"--segment {unknown[0]}: not in these scores. Found: {first_few(known, shown=12)}.")
        rows = rows.filter(pl.col("segment").is_in(asked.segments))
    if asked.list_file:
        listed = read_customers(asked.list_file, column_map=settings.columns).rows["customer_id"]
        rows = rows.filter(pl.col("customer_id").is_in(listed.implode()))
        if not rows.height:
            raise InputError(
                f"{asked.list_file}: {len(listed):,} customers, none of them scored here. Send ids of these scores."
            )
    return rows


def _start_day(asked: CampaignOptions, facts: ScoredRun, horizon: int) -> date:
    day = asked.day or facts.as_of
    if day is None or (facts.as_of and day < facts.as_of):
        raise InputError(f"--day {day}: the scores know orders up to {facts.as_of}; a campaign goes out after that.")
    if (date.max - day).days < horizon:
        raise InputError(f"--day {day}: there are no {horizon} days after it in the calendar. Choose an earlier day.")
    return day


def _uplift_assumption(asked: CampaignOptions) -> UpliftAssumption:
    points = asked.effect_points if asked.uplift_points is None else asked.uplift_points
    if points is None:
        raise InputError(
            "Say --effect: by how many points those reached should buy more often for the campaign to be worth its "
            "while (2 for two in a hundred); or send --past campaigns that were measured."
        )
    if not 0 < points < 100:
        name = "--effect" if asked.uplift_points is None else "--uplift"
        raise InputError(f"{name} must be above 0 and below 100 points (2 for two in a hundred). Got {points:g}.")
    return UpliftAssumption(uplift=points / 100)


def _campaign_record(
    facts: ScoredRun, scores: Path, asked: CampaignOptions, settled: _PlanInputs, planned: PlannedCampaign
) -> dict[str, Any]:
    terms, design, assumption, day, horizon = settled
    record: dict[str, Any] = to_json_values(
        {
            "schema": CAMPAIGN_SCHEMA,
            "command": "campaign plan",
            "campaign": design.campaign,
            "created_at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
            "repurchase_version": __version__,
            "seed": design.seed,
            "scores": {
                "path": scores.name,
                "sha256": sha256_of(scores),
                "as_of": facts.as_of and facts.as_of.isoformat(),
                "model_version": facts.scores["model_version"][0],
            },
            "pseudonyms": facts.run.get("pseudonyms"),
            "currency": facts.currency,
            "list": asked.list_file and asked.list_file.name,
            "segments": list(asked.segments),
            "day": day.isoformat(),
            "horizon_days": horizon,
            "window_ends": (day + timedelta(days=horizon)).isoformat(),
            "terms": {
                "margin": terms.margin,
                "cost_per_contact": terms.cost_per_contact,
                "offer_cost": terms.offer_cost,
                "budget": terms.budget,
            },
            "assumption": {
                "uplift_points": 100 * assumption.uplift,
                "low_points": None if assumption.low is None else 100 * assumption.low,
                "high_points": None if assumption.high is None else 100 * assumption.high,
                "source": assumption.source,
            },
            **planned.facts,
        }
    )
    return record


def planned_lines(record: CampaignRecord, path: Path) -> list[str]:
    """Say whom a campaign reaches, what it can show, and what is expected of it."""
    arms, found = record["arms"], record["candidates"]
    return [
        (
            f"Campaign '{record['campaign']}', going out on {record['day']}; purchases up to {record['window_ends']} "
            f"count ({record['horizon_days']} days)."
        ),
        (
            f"{format_quantity(found['asked'], 'customer')} looked at, {found['worth_reaching']:,} "
            "expected to bring more than "
            f"they cost, {found['chosen']:,} chosen: {arms[TREATMENT]:,} to reach, {arms[CONTROL]:,} held out by lot "
            f"({_format_percent(arms['control_share'])})."
        ),
        *_power_lines(record),
        *_assumption_lines(record),
        *_expected_lines(record),
        *_uplift_model_lines(record),
        (
            f"Reach: {path.with_name(record['lists'][TREATMENT]['path'])}. Leave alone: "
            f"{path.with_name(record['lists'][CONTROL]['path'])}."
        ),
        f"Campaign file: {path}. Afterwards: repurchase campaign measure {path} ORDERS",
    ]


def _power_lines(record: CampaignRecord) -> list[str]:
    power, arms = record["power"], record["arms"]
    if not arms[CONTROL]:
        return ["NOBODY IS HELD OUT: what this campaign brings cannot be measured."]
    effect, base, plain = (
        f"{power['effect_points']:.3g} points",
        format_share(power["base_share"]),
        power["without_scores"],
    )
    explained = f"the scores are counted on to explain {format_share(power['explained_by_scores'])} of who buys"
    if power["enough"]:
        would = plain["needed_control"]
        more = "no control group of this list would do" if would is None else f"{would:,} would have to be held out"
        return [
            (
                f"Of those held out about {base} should buy anyway. Adjusted for the scores, an uplift of {effect} "
                f"would be seen with a probability of {_format_percent(power['reached_power'])} (false alarms "
                f"{_format_percent(power['alpha'])}): {explained}."
            ),
            f"Without the scores: {_format_percent(plain['reached_power'])}"
            + ("." if plain["enough"] else f"; for {_format_percent(power['power'])}, {more}."),
        ]
    least = power["detectable_points"]
    could = f"of {least:.2f} points or more" if least is not None else "of no size"
    needed, without = power["needed_customers"], plain["needed_customers"]
    longer = "" if needed is None else f" About {needed:,} customers like these would show it, half of them held out"
    longer += f" ({without:,} without the scores)." if longer and without else "." * bool(longer)
    return [
        (
            f"TOO SMALL to see {effect} with a probability of {_format_percent(power['power'])} (about "
            f"{base} buy anyway; "
            f"adjusted for the scores it would be seen with {_format_percent(power['reached_power'])}, without with "
            f"{_format_percent(plain['reached_power'])}). It can show an uplift {could}.{longer} A longer "
            "list, a larger "
            "control group or more days would help."
        )
    ]


def _assumption_lines(record: CampaignRecord) -> list[str]:
    told = record["assumption"]
    points = f"{told['uplift_points']:.3g} points"
    if told["low_points"] is None:
        return [f"ASSUMED, not known: those reached buy {points} more often. Only a measured campaign can tell."]
    return [
        (
            f"Uplift from past campaigns: {points} ({told['low_points']:.1f} to {told['high_points']:.1f}), if this "
            "one is like them."
        )
    ]


def _expected_lines(record: CampaignRecord) -> list[str]:
    found, currency = record["expected"], record["currency"]
    lines = [
        (
            f"On that: {found['buyers_more']:,.0f} buyers more than the {found['buyers_anyway']:,.0f} who buy anyway; "
            f"cost {format_range(found['cost'], currency)}."
        )
    ]
    if "profit" in found:
        lines.append(
            f"Sales {format_range(found['sales'], currency)}, profit after margin and costs "
            f"{format_range(found['profit'], currency)} (95 % by chance, if the uplift is as said)."
        )
        lines += [
            f"  {row['name']}: profit {format_money(row['profit']['value'], currency)}" for row in record["scenarios"]
        ]
        pays = record["break_even_points"]
        lines.append("It pays at no uplift." if pays is None else f"It pays from an uplift of {pays:.2f} points.")
    return lines


def _uplift_model_lines(record: CampaignRecord) -> list[str]:
    learned = (record.get("past") or {}).get("learning")
    return [learned["words"]] if learned else []


def format_range(found: CampaignRecord, currency: str | None) -> str:
    value = format_money(found["value"], currency)
    if found["low"] == found["high"]:
        return value
    return f"{value} ({format_money(found['low'], currency)} to {format_money(found['high'], currency)})"


def _format_percent(value: float) -> str:
    return f"{100 * value:.0f} %"

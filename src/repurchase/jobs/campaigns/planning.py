"""Plan a campaign from scores: whom to reach, whom to hold out by lot, and what is expected."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from repurchase import __version__
from repurchase.errors import InputError, first_few
from repurchase.evaluation.judgement import plain
from repurchase.jobs.campaigns.files import LEARNED_FROM, SCHEMA, campaign_outputs, sealed, stage_campaign
from repurchase.jobs.campaigns.past import read_past
from repurchase.jobs.campaigns.places import campaign_path
from repurchase.jobs.customers import read_customers
from repurchase.jobs.outputs import files_read, scores_read
from repurchase.jobs.scored import scores_of
from repurchase.marketing.campaigns import Planned, plan_campaign
from repurchase.marketing.designs import Assumption, Design
from repurchase.marketing.reach import Candidates, Terms
from repurchase.registry.campaigns import track_plan
from repurchase.report.reading import Facts
from repurchase.settings import Settings
from repurchase.storage.delivery import deliver_to
from repurchase.storage.digests import sha256_of
from repurchase.storage.outputs import require_apart, require_outside_registry

__all__ = ["Asked", "CampaignFile", "horizon_of", "plan"]

KEPT = ("segment", "risk_band", *LEARNED_FROM)
"""Columns of the scores that go with a customer: parts to measure by, and what an uplift model may learn from."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a plan is asked for.

    Parameters
    ----------
    name : str, optional
        The campaign's; default by the scores' day.
    day : date, optional
        Day it goes out; default the scores' last day observed. Purchases after it count.
    list_file : Path, optional
        Reach only these.
    segments : sequence of str
        Reach only these; all if empty.
    horizon_days : int, optional
        Days after the campaign's day in which purchases count.
    effect_points, uplift_points : float, optional
        Uplift to be seen, and uplift assumed.
    past : sequence of Path
        Measured campaigns that say what the uplift is.
    power, alpha : float
        Probability of seeing the effect, and of a false alarm.
    control_share : float, optional
        Share held out.
    seed : int
        Of the lot.
    """

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
    """A file that was written.

    Parameters
    ----------
    path : Path
        Where it lies.
    record : dict
        What stands in it.
    """

    path: Path
    record: dict[str, Any]


class _Settled(NamedTuple):
    """What a plan stands on."""

    terms: Terms
    design: Design
    assumption: Assumption
    day: date
    horizon_days: int


def plan(
    scores: Path, out: Path, *, settings: Settings, asked: Asked, margin: float | None = None, terms: Terms
) -> CampaignFile:
    """Plan a campaign and write it.

    Parameters
    ----------
    scores : Path
        What `repurchase score` wrote.
    out : Path
        A .json file that does not exist yet, or a folder for one.
    settings : Settings
        How ids of a list are named.
    asked : Asked
        Whom, when, and how it is to be measured.
    margin : float, optional
        Share of sales left after the goods; needed where the scores have money.
    terms : Terms
        Costs and budget.

    Returns
    -------
    CampaignFile
        The campaign.

    Raises
    ------
    InputError
        If scores, list or wishes cannot be used.
    DeliveryError
        If it cannot be written, or a campaign lies there.
    """
    if asked.name is not None and not asked.name.strip():
        raise InputError("--name is empty. Say what the campaign is called, or leave it out.")
    path = campaign_path(out)
    require_outside_registry(path, home=settings.home)
    outputs = campaign_outputs(path)
    require_apart(outputs, [*scores_read(scores), *files_read(asked.list_file, *asked.past)])
    facts = scores_of(scores)
    horizon = horizon_of(facts, asked.horizon_days)
    rows = _asked_for(facts, horizon, asked, settings)
    has_money = not rows[f"spend_expected_{horizon}d"].null_count()
    if has_money and margin is None:
        raise InputError("Say --margin: the share of sales that is left after the goods are paid, such as 0.3.")
    terms = replace(terms, margin=1.0 if margin is None else margin)
    past = read_past(asked.past, horizon_days=horizon) if asked.past else None
    assumption = past.assumption if past else _assumed(asked)
    design = Design(
        campaign=asked.name or f"campaign-{facts.as_of}",
        effect=assumption.uplift if asked.effect_points is None else asked.effect_points / 100,
        power=asked.power,
        alpha=asked.alpha,
        control_share=asked.control_share,
        seed=asked.seed,
    )
    day = _day(asked, facts, horizon)
    who = Candidates.of(
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
    settled = _Settled(terms, design, assumption, day, horizon)
    record = _record(facts, scores, asked, settled, planned)
    record["past"] = past.words if past else None
    customers = planned.customers.join(rows.select("customer_id", *KEPT), on="customer_id", maintain_order="left")
    with deliver_to(path, formats=(".json",), kinds=outputs) as delivery:
        record = stage_campaign(delivery, record, sealed(customers, campaign=design.campaign))
        delivery.publish()
    track_plan(settings.home, record, seconds=settings.tracking_seconds)
    return CampaignFile(path, record)


def horizon_of(facts: Facts, told: int | None) -> int:
    """Settle the days ahead.

    Parameters
    ----------
    facts : Facts
        Scores.
    told : int, optional
        What was asked for.

    Returns
    -------
    int
        Told, or the one the page shows where one must do.

    Raises
    ------
    InputError
        If the scores do not have it.
    """
    if told is None:
        return facts.primary_days
    if told not in facts.horizons:
        known = ", ".join(map(str, facts.horizons))
        raise InputError(f"--horizon {told}: these scores look {known} days ahead. Choose one of them.")
    return told


def _asked_for(facts: Facts, horizon: int, asked: Asked, settings: Settings) -> pl.DataFrame:
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
        listed = read_customers(asked.list_file, told=settings.columns).rows["customer_id"]
        rows = rows.filter(pl.col("customer_id").is_in(listed.implode()))
        if not rows.height:
            raise InputError(
                f"{asked.list_file}: {len(listed):,} customers, none of them scored here. Send ids of these scores."
            )
    return rows


def _day(asked: Asked, facts: Facts, horizon: int) -> date:
    day = asked.day or facts.as_of
    if day is None or (facts.as_of and day < facts.as_of):
        raise InputError(f"--day {day}: the scores know orders up to {facts.as_of}; a campaign goes out after that.")
    if (date.max - day).days < horizon:
        raise InputError(f"--day {day}: there are no {horizon} days after it in the calendar. Choose an earlier day.")
    return day


def _assumed(asked: Asked) -> Assumption:
    points = asked.effect_points if asked.uplift_points is None else asked.uplift_points
    if points is None:
        raise InputError(
            "Say --effect: by how many points those reached should buy more often for the campaign to be worth its "
            "while (2 for two in a hundred); or send --past campaigns that were measured."
        )
    if not 0 < points < 100:
        name = "--effect" if asked.uplift_points is None else "--uplift"
        raise InputError(f"{name} must be above 0 and below 100 points (2 for two in a hundred). Got {points:g}.")
    return Assumption(uplift=points / 100)


def _record(facts: Facts, scores: Path, asked: Asked, settled: _Settled, planned: Planned) -> dict[str, Any]:
    terms, design, assumption, day, horizon = settled
    record: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
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

"""Campaigns as runs of their own: what was planned, and what was measured, night after night in the same run.

The records go along as artifacts. They name no customer, and who is in which group stays in the campaign's folder.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repurchase.registry.pending import Entry, track

__all__ = ["EXPERIMENT", "track_measurement", "track_plan"]

EXPERIMENT = "repurchase-campaigns"
LONGEST_TAG = 500
Record = Mapping[str, Any]


def track_plan(home: Path, plan: Record, *, seconds: float) -> str | None:
    """Log a planned campaign; see `pending.track`.

    Parameters
    ----------
    home : Path
        Folder that holds ``mlruns/``.
    plan : mapping
        The campaign's record.
    seconds : float
        How long it may take; 0 for not at all.

    Returns
    -------
    str or None
        Why it is not in MLflow yet, if so.
    """
    power, found = plan["power"], plan["expected"]
    metrics = {
        **{f"candidates/{name}": value for name, value in plan["candidates"].items()},
        "power/reached": power["reached_power"],
        "power/without_scores": power["without_scores"]["reached_power"],
        "power/explained_by_scores": power["explained_by_scores"],
        "power/detectable_points": power["detectable_points"],
        "power/base_share": power["base_share"],
        "expected/buyers_more": found["buyers_more"],
        **_ranged({f"expected/{name}": found.get(name) for name in ("sales", "cost", "profit")}),
        "break_even_points": plan["break_even_points"],
    }
    return track(home, _entry("plan", plan, plan, metrics, tags={"can_tell": _word(power["enough"])}), seconds=seconds)


def track_measurement(home: Path, plan: Record, measured: Record, *, seconds: float) -> str | None:
    """Log what a campaign brought; see `pending.track`. Measured again, it is the same run, a step further.

    Counted from another day, it is another run: neither takes the other's place.

    Parameters
    ----------
    home : Path
        Folder that holds ``mlruns/``.
    plan : mapping
        The campaign's record.
    measured : mapping
        What measuring gave.
    seconds : float
        How long it may take; 0 for not at all.

    Returns
    -------
    str or None
        Why it is not in MLflow yet, if so.
    """
    uplift, totals = measured["repurchase"]["adjusted"], measured["totals"] or {}
    plain = measured["repurchase"]["unadjusted"]
    metrics = {
        "observed_days": measured["observed_days"],
        "uplift/p_value": uplift["p_value"],
        "needed_customers": measured["needed_customers"],
        "cost": totals.get("cost"),
        **{f"bought/{arm}": group["share_bought"] for arm, group in measured["groups"].items()},
        **_ranged(
            {
                "uplift/points": uplift,
                "uplift/unadjusted_points": plain,
                "sales": totals.get("sales"),
                "profit": totals.get("profit"),
                "return_on_spend": measured["return_on_spend"],
            }
        ),
    }
    tags = {
        "can_tell": _word(measured["is_over"] and uplift["can_tell"]),
        "is_over": _word(measured["is_over"]),
        "observed_until": measured["observed_until"],
    }
    return track(home, _entry("measure", plan, measured, metrics, tags=tags), seconds=seconds)


def _entry(what: str, plan: Record, record: Record, metrics: Mapping[str, Any], *, tags: Mapping[str, str]) -> Entry:
    arms = plan["arms"]
    params = {
        "day": record["day"],
        "horizon_days": plan["horizon_days"],
        **plan["terms"],
        **{f"customers_{arm}": arms[arm] for arm in ("treatment", "control")},
        "effect_points": plan["power"]["effect_points"],
        "assumed_uplift_points": plan["assumption"]["uplift_points"],
        "assumption": plan["assumption"]["source"],
        "plan_digest": plan["digest"],
        "repurchase_version": plan["repurchase_version"],
    }
    campaign = str(plan["campaign"])[:LONGEST_TAG]
    return Entry(
        experiment=EXPERIMENT,
        source=f"repurchase campaign {what}",
        run_name=f"{what} {campaign}",
        created_at=record["created_at"],
        params=params,
        metrics=metrics,
        tags={"campaign": campaign, "model_version": str(plan["scores"]["model_version"]), **tags},
        artifacts={f"{'campaign' if what == 'plan' else 'measured'}.json": _without_source(record)},
        subject=hashlib.sha256(f"{what} {plan['digest']} {record['day']}".encode()).hexdigest(),
        step=int(record.get("observed_days", 0)),
    )


def _ranged(found: Mapping[str, Mapping[str, float] | None]) -> dict[str, float]:
    """Values under their name, the ends of their ranges beside them."""
    return {
        name if end == "value" else f"{name}_{end}": told[end]
        for name, told in found.items()
        if told
        for end in ("value", "low", "high")
    }


def _without_source(record: Record) -> dict[str, Any]:
    """A record without the orders' place, whose folders may say whose they are."""
    orders = {name: value for name, value in record.get("orders", {}).items() if name not in ("source", "files")}
    return {**record, **({"orders": orders} if orders else {})}


def _word(fact: bool) -> str:
    return "true" if fact else "false"

"""Tonight's orders beside those a model learned from."""

import logging
from datetime import date
from typing import Any

from repurchase.evaluation.drift import drift_from, unknown_drift
from repurchase.evaluation.judgement import plain
from repurchase.evaluation.profile import SCHEMA, Look, look_at, profile_of
from repurchase.features.closing import Closing
from repurchase.jobs.intake import Intake
from repurchase.registry.bundle import LoadedBundle

__all__ = ["drift_of", "training_profile"]

logger = logging.getLogger("repurchase")


def training_profile(intake: Intake, *, closing: Closing | None) -> dict[str, Any]:
    """Describe the orders that a model learns from, to be kept beside it.

    Parameters
    ----------
    intake : Intake
        The orders.
    closing : Closing, optional
        A time in which the shop was closed, as the model has it.

    Returns
    -------
    dict
        See `evaluation.profile.profile_of`.
    """
    return profile_of(
        intake.clean.orders, as_of=intake.as_of, closing=closing, set_aside_share=_set_aside_share(intake)
    )


def drift_of(bundle: LoadedBundle, intake: Intake, *, as_of: date | None = None) -> dict[str, Any]:
    """Compare orders with those a model learned from.

    Parameters
    ----------
    bundle : LoadedBundle
        The model.
    intake : Intake
        The orders.
    as_of : date, optional
        Day to look at; default the intake's own.

    Returns
    -------
    dict
        See `evaluation.drift.drift_from`; ``known`` is False for a model that was kept without a profile.
    """
    if bundle.profile is None:
        return unknown_drift(
            f"version {bundle.version} was kept without a profile of its orders; train again to have one"
        )
    if bundle.profile.get("schema") != SCHEMA:
        return unknown_drift(f"the profile of version {bundle.version} is of another form than this one reads")
    closing = bundle.state.get("closing")
    look: Look = look_at(
        intake.clean.orders,
        as_of=as_of or intake.as_of,
        closing=Closing.from_dict(closing) if closing else None,
        set_aside_share=_set_aside_share(intake),
    )
    drift: dict[str, Any] = plain(drift_from(bundle.profile, look))
    level = logging.WARNING if drift["drifted"] else logging.INFO
    logger.log(level, "%s", drift["words"], extra={"event": "drift", "drift": drift["level"]})
    return drift


def _set_aside_share(intake: Intake) -> float | None:
    report = intake.clean.report
    return report.count("set_aside") / report.n_raw if report.n_raw else None

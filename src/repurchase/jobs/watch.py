"""Tonight's orders beside those a model learned from."""

import logging
from datetime import date
from functools import reduce
from operator import add
from typing import Any

from repurchase.evaluation.drift import drift_from, unknown_drift
from repurchase.evaluation.judgement import plain
from repurchase.evaluation.look import Look, look_at
from repurchase.evaluation.profile import SCHEMA, profile_of
from repurchase.features.closing import Closing
from repurchase.features.timeline import Ledger
from repurchase.jobs.intake import Intake
from repurchase.registry.bundle import LoadedBundle

__all__ = ["drift_between", "drift_of", "look_for", "training_profile"]

logger = logging.getLogger("repurchase")


def training_profile(
    intake: Intake, book: Ledger, *, closing: Closing | None, look: Look | None = None
) -> dict[str, Any]:
    """Describe the orders that a model learns from, to be kept beside it.

    Parameters
    ----------
    intake : Intake
        Which day it is, and what cleaning set aside.
    book : Ledger
        Its orders.
    closing : Closing, optional
        A time in which the shop was closed, as the model has it.
    look : Look, optional
        At all customers, where ``book`` holds only some.

    Returns
    -------
    dict
        See `evaluation.profile.profile_of`.
    """
    share = _set_aside_share(intake)
    return profile_of(book, as_of=intake.as_of, closing=closing, set_aside_share=share, look=look)


def drift_of(bundle: LoadedBundle, intake: Intake, *, look: Look | None = None) -> dict[str, Any]:
    """Compare orders with those a model learned from.

    Parameters
    ----------
    bundle : LoadedBundle
        The model.
    intake : Intake
        The orders.
    look : Look, optional
        What was seen, if that is known already.

    Returns
    -------
    dict
        See `evaluation.drift.drift_from`; ``known`` is False for a model that was kept without a profile.
    """
    if look is None and _readable(bundle):
        look = reduce(add, (look_for(bundle, book, as_of=intake.as_of) for book in intake.books))
    return drift_between(bundle, look, set_aside_share=_set_aside_share(intake))


def look_for(bundle: LoadedBundle, book: Ledger, *, as_of: date) -> Look:
    """Look at a log, or at some of its customers, as a model sees it.

    Parameters
    ----------
    bundle : LoadedBundle
        The model.
    book : Ledger
        All entries of these customers.
    as_of : date
        Day to look at.

    Returns
    -------
    Look
        Looks at other customers can be added.
    """
    closing = bundle.state.get("closing")
    return look_at(book, as_of=as_of, closing=Closing.from_dict(closing) if closing else None)


def drift_between(bundle: LoadedBundle, look: Look | None, *, set_aside_share: float | None) -> dict[str, Any]:
    """Compare a look at orders with those a model learned from, and log it.

    Parameters
    ----------
    bundle : LoadedBundle
        The model.
    look : Look, optional
        At all customers; it is not needed of a model that was kept without a profile.
    set_aside_share : float, optional
        Rows that cleaning set aside, of all.

    Returns
    -------
    dict
        See `drift_of`.
    """
    if bundle.profile is None:
        return unknown_drift(
            f"version {bundle.version} was kept without a profile of its orders; train again to have one"
        )
    if not _readable(bundle):
        return unknown_drift(
            f"the profile of version {bundle.version} is of another form than this one reads; train again to have one"
        )
    if look is None:
        return unknown_drift("the orders were not looked at")
    drift: dict[str, Any] = plain(drift_from(bundle.profile, look, set_aside_share=set_aside_share))
    level = logging.WARNING if drift["drifted"] else logging.INFO
    logger.log(level, "%s", drift["words"], extra={"event": "drift", "drift": drift["level"]})
    return drift


def _readable(bundle: LoadedBundle) -> bool:
    return bundle.profile is not None and bundle.profile.get("schema") == SCHEMA


def _set_aside_share(intake: Intake) -> float | None:
    report = intake.report
    return report.count("set_aside") / report.n_raw if report.n_raw else None

"""What is learned once purchases and money are: how outcomes scatter, thresholds, and what the reader must know."""

import numpy as np
import numpy.typing as npt

from repurchase.estimators.cuts import Cut, Cuts
from repurchase.estimators.design import stacked
from repurchase.estimators.explain import Explanation
from repurchase.estimators.forecaster import Forecaster
from repurchase.estimators.predictor import YEAR_DAYS, Prediction, Predictor
from repurchase.estimators.ranges import KnownWindow, SpendSpread, fit_spread
from repurchase.estimators.scores import value_of
from repurchase.estimators.spend import orders_if_bought
from repurchase.estimators.tiers import Tiers, fit_tiers
from repurchase.estimators.timing import Waits, fit_waits
from repurchase.features.closing import Closing

__all__ = ["learn_ranges", "learn_tiers", "notes_of"]

Floats = npt.NDArray[np.float64]

WELL_EXPLAINED = 0.9
"""Share of the differences in risk that reasons must hold, or a note says so."""
OFTEN = 4
"""Purchase days from which a customer's gaps tell how long a usual gap can become."""
RANGE_CUTOFFS = 6
RANGE_CUSTOMERS = 8_000
"""Customers of a cut-off from whom the scatter of money and waits is learned, at most."""


def learn_ranges(cuts: Cuts, forecaster: Forecaster, *, random_state: int) -> tuple[SpendSpread, Waits | None]:
    """Learn from earlier windows how buyers' money scatters and how long they wait.

    Parameters
    ----------
    cuts : Cuts
        Of a log that may reach beyond the forecaster's last day; what lies there is not asked for.
    forecaster : Forecaster
        Fitted.
    random_state : int
        Seed of the samples.

    Returns
    -------
    spread : SpendSpread
        The assumed one where nothing teaches it.
    waits : Waits or None
        None where nothing teaches them.
    """
    learned = tuple(forecaster.heads)
    if not learned:
        return SpendSpread.unknown(), None
    # Waits are of the shortest horizon: beyond it, dates are read off the probabilities, and cannot contradict them.
    waits = _learn_waits(cuts, forecaster, horizon_days=learned[0], random_state=random_state)
    h = max(h for h in learned if h <= YEAR_DAYS or h == learned[0])
    if forecaster.heads[h].spend is None:
        return SpendSpread.unknown(), waits
    windows = []
    for day in cuts.train_days(forecaster.as_of, horizon_days=h, most=RANGE_CUTOFFS):
        cut = cuts.sample(day, most=RANGE_CUSTOMERS, random_state=random_state)
        outcome, design = cuts.outcomes(cut, horizon_days=h), forecaster.design(cut, horizon_days=h)
        windows.append(
            KnownWindow(
                log_odds=design["btyd_logit"],
                bought=outcome.bought,
                orders_if_bought=orders_if_bought(design["btyd_rate"], horizon_days=h),
                spend_if_bought=forecaster.spend_if_bought(cut, design, horizon_days=h),
                spend=outcome.spend,
            )
        )
    return fit_spread(windows), waits


def learn_tiers(cut: Cut, prediction: Prediction, predictor: Predictor) -> Tiers:
    """Learn thresholds of segments and risk bands.

    Parameters
    ----------
    cut : Cut
        The shop's customers.
    prediction : Prediction
        For them.
    predictor : Predictor
        That made it.

    Returns
    -------
    Tiers
        Of the longest learned horizon up to a year.
    """
    known = tuple(predictor.forecaster.heads) or predictor.horizons
    risk_days = max((h for h in known if h <= YEAR_DAYS), default=known[0])
    history = cut.history
    back, often = history.count > 1, history.count >= OFTEN
    second = history.start[back] + 1
    own_gap = cut.features["gap_median_days"]
    gaps = often[history.place] & (history.gap > 0)
    return fit_tiers(
        p=prediction.p[risk_days],
        value=value_of(prediction, horizon_days=risk_days),
        first_gap_days=(history.day[second] - history.day[second - 1]).astype(np.float64),
        risk_horizon_days=risk_days,
        purchases=history.count[back].astype(np.float64),
        own_gap_days=own_gap[back],
        gap_over_own=history.gap[gaps] / own_gap[history.place[gaps]],
    )


def notes_of(predictor: Predictor, explanation: Explanation, closing: Closing | None) -> tuple[str, ...]:
    """Say what the reader of the scores must know.

    Parameters
    ----------
    predictor : Predictor
        Fitted.
    explanation : Explanation
        Of it.
    closing : Closing or None
        A time in which the shop was closed.

    Returns
    -------
    tuple of str
        Sentences.
    """
    forecaster = predictor.forecaster
    notes = [
        f"{h} days ahead: answered by BTYD alone, since too few outcomes of both kinds are known to learn from"
        for h in predictor.horizons
        if h not in forecaster.heads
    ]
    if closing:
        notes.append(f"{closing.words}: taken as a time when the shop was closed, not as customers' silence")
    if forecaster.btyd.note:
        notes.append(f"BTYD: {forecaster.btyd.note}")
    explained = explanation.explained
    if explained is not None and explained < WELL_EXPLAINED:
        notes.append(f"reasons hold {max(explained, 0.0):.0%} of what the model's risk differs by between customers")
    if forecaster.gamma_gamma is None:
        notes.append("the orders carry no amounts: expected spend and lifetime value are absent")
    elif forecaster.gamma_gamma.fallback_mean is not None:
        notes.append("money per purchase: Gamma-Gamma did not fit; the shop's median stands in, shrunk to own means")
    return tuple(notes)


def _learn_waits(cuts: Cuts, forecaster: Forecaster, *, horizon_days: int, random_state: int) -> Waits | None:
    designs, waits = [], []
    for day in cuts.train_days(forecaster.as_of, horizon_days=horizon_days, most=RANGE_CUTOFFS):
        cut = cuts.sample(day, most=RANGE_CUSTOMERS, random_state=random_state)
        designs.append(forecaster.design(cut, horizon_days=horizon_days))
        waits.append(cuts.outcomes(cut, horizon_days=horizon_days).wait_days)
    return fit_waits(stacked(designs), np.concatenate(waits), horizon_days=horizon_days)

"""The rules a shop could use instead of a model, made as good as they can be.

Each rule ranks customers by one number a shop knows without any model. What the number means as a probability is
learned from earlier cut-offs (isotonic regression), so a model is never better than a rule only for being calibrated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.estimators.cuts import Cut

__all__ = ["RULES", "CalibratedRule", "fit_rule", "recency_weight"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def _days_since_last(cut: Cut) -> Floats:
    return np.asarray(-cut.features["days_since_last"])


def _past_rate(cut: Cut) -> Floats:
    """Repeat purchase days a day, with half a purchase and a month in hand for newcomers."""
    frequency, _, age = cut.rfm
    return np.asarray((frequency + 0.5) / (age + 30.0))


RULES: dict[str, Callable[[Cut], Floats]] = {"days_since_last": _days_since_last, "past_rate": _past_rate}
"""Name to the number that ranks; higher means likelier to buy."""


@dataclass(frozen=True)
class CalibratedRule:
    """A rule with the probabilities its number stood for.

    Parameters
    ----------
    name : str
        Key of ``RULES``.
    knots, shares : tuple of float
        The number, rising, and the share of customers who bought; between knots the share is interpolated.
    """

    name: str
    knots: tuple[float, ...]
    shares: tuple[float, ...]

    def p_purchase(self, cut: Cut) -> Floats:
        """Probability of a purchase day in the horizon the rule was fitted for.

        Parameters
        ----------
        cut : Cut
            Customers.

        Returns
        -------
        array of shape (n_customers,)
            In (0, 1).
        """
        return np.asarray(np.interp(RULES[self.name](cut), self.knots, self.shares))

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        return {"name": self.name, "knots": list(self.knots), "shares": list(self.shares)}


def fit_rule(name: str, cuts: Sequence[Cut], bought: Sequence[Bools], *, horizon_days: int) -> CalibratedRule:
    """Learn what a rule's number meant at earlier cut-offs.

    Cut-offs count as they do for the model, less the older they are. Each group of equal shares is moved toward the
    overall share as by one more customer, so that a rule never swears on a small group.

    Parameters
    ----------
    name : str
        Key of ``RULES``.
    cuts : sequence of Cut
        Earlier cut-offs, latest first, at least one.
    bought : sequence of bool arrays
        What their customers did.
    horizon_days : int
        Days ahead.

    Returns
    -------
    CalibratedRule
        Shares rise with the rule's number and lie inside (0, 1).
    """
    from sklearn.isotonic import IsotonicRegression

    rank = np.concatenate([RULES[name](cut) for cut in cuts])
    outcome = np.concatenate(bought).astype(np.float64)
    weight = np.concatenate([np.full(cut.n_customers, recency_weight(cuts[0], cut, horizon_days)) for cut in cuts])
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(rank, outcome, sample_weight=weight)
    shares = _toward_base(fitted.predict(rank), outcome, weight)
    knots = fitted.X_thresholds_
    return CalibratedRule(name, tuple(map(float, knots)), tuple(shares(level) for level in fitted.y_thresholds_))


def recency_weight(latest: Cut, cut: Cut, horizon_days: int) -> float:
    """How much a cut-off counts beside the latest one: half for every horizon that it is older.

    Parameters
    ----------
    latest, cut : Cut
        The latest cut-off, and the one to weigh.
    horizon_days : int
        Days ahead.

    Returns
    -------
    float
        In (0, 1].
    """
    return float(2.0 ** (-(latest.as_of - cut.as_of).days / horizon_days))


def _toward_base(levels: Floats, outcome: Floats, weight: Floats) -> Callable[[float], float]:
    blocks, member = np.unique(levels, return_inverse=True)
    size = np.bincount(member, weights=weight)
    base = float(np.average(outcome, weights=weight))
    moved = (np.bincount(member, weights=weight * outcome) + base) / (size + 1.0)
    rising = np.maximum.accumulate(np.clip(moved, 1e-6, 1.0 - 1e-6))
    return lambda level: float(rising[np.abs(blocks - level).argmin()])

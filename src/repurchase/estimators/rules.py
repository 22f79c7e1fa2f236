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

__all__ = ["RULES", "CalibratedRule", "fit_rule"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def _days_since_last(cut: Cut) -> Floats:
    return np.asarray(-cut.features["days_since_last"].to_numpy())


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


def fit_rule(name: str, cuts: Sequence[Cut], bought: Sequence[Bools]) -> CalibratedRule:
    """Learn what a rule's number meant at earlier cut-offs.

    Parameters
    ----------
    name : str
        Key of ``RULES``.
    cuts : sequence of Cut
        Earlier cut-offs, at least one.
    bought : sequence of bool arrays
        What their customers did.

    Returns
    -------
    CalibratedRule
        Shares are kept off 0 and 1 by half a customer, so that no log loss is infinite.
    """
    from sklearn.isotonic import IsotonicRegression

    rank = np.concatenate([RULES[name](cut) for cut in cuts])
    outcome = np.concatenate(bought).astype(np.float64)
    margin = 0.5 / len(outcome)
    fitted = IsotonicRegression(y_min=margin, y_max=1.0 - margin).fit(rank, outcome)
    return CalibratedRule(name, tuple(map(float, fitted.X_thresholds_)), tuple(map(float, fitted.y_thresholds_)))

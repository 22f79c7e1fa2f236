"""What moves the model: its log odds retold as a sum of curves over the few facts that a customer can be told by.

The blend hears some sixty features, many of them one fact in several forms (seven fading counts, two BTYD models), and
a fact's part is spread over all of them, in curves, trees and closed forms. So, once everything else is fitted, one
curve per plain feature is fitted to the log odds that the model delivers. The curves split exactly; how much of the log
odds' variance they hold is kept as ``explained``, and how often a change of the fact itself moved the model the way
they say as ``agreement`` (see `trials`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.estimators.additive import AdditiveHead
from repurchase.estimators.additive_fit import fit_curves
from repurchase.estimators.baseline import USUAL_SPEND, money_unit_of
from repurchase.estimators.blend import expit
from repurchase.estimators.design import Design
from repurchase.features.history import MONEY

__all__ = ["FACTS", "SIDES", "Explanation", "fit_explanation"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FACTS: Mapping[str, tuple[str, ...]] = {
    "silence": ("days_since_last", "silence_in_spreads", "silence_to_gap"),
    "often": ("frequency", "age_days", "days_bought_365d", "usual_log_gap"),
    "lately": ("days_bought_90d", "days_bought_90d_before"),
    "rhythm": ("gap_irregularity", "gap_longest_days"),
    "money": ("spend_typical",),
}
"""What moves a customer's risk, and the features that are forms of it: what rises together stands together."""
SIDES = ("raises", "lowers")
FEATURES = tuple(name for names in FACTS.values() for name in names)
USUAL = ("days_since_last", "frequency", "days_bought_365d", "rate", "spend_typical")
PENALTY = 10.0
"""Small: there is no chance in the model's log odds, only its bends."""
LEAST_TO_JUDGE = 100
LEAST_AGREEMENT = 0.8
"""Of trials, below which a fact is not told on that side."""


@dataclass(frozen=True)
class Explanation:
    """Log odds of a purchase as one curve per plain feature, around the shop's usual buyer.

    Parameters
    ----------
    curves : AdditiveHead
        Of the features in ``FACTS``.
    base : tuple of float
        Height of each curve from which parts are counted: the mean over the shop's customers, each counted by the
        probability of buying. A plain mean would be one over those long gone, beside whom everyone looks well.
        For money, the height at the usual money, which is told beside the customer's own.
    usual : mapping of str to float
        Median of what is told, over the same customers counted the same way.
    dearer_stays : bool
        Whether more money per purchase goes with a lower risk in this shop.
    explained : float or None
        Share of the log odds' variance that the curves hold on customers left out of the fit; None where there were
        too few to tell.
    agreement : mapping of str to mapping of str to float
        By fact and side (``raises``, ``lowers``): share of trials in which the model moved as told.
    typical_spend : int, optional
        The model's (see `cuts.Baseline`): the curve of money is one of multiples of it, whatever the currency.
    """

    curves: AdditiveHead
    base: tuple[float, ...]
    usual: Mapping[str, float]
    dearer_stays: bool
    explained: float | None
    agreement: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    typical_spend: int = USUAL_SPEND

    def parts(self, features: Design) -> dict[str, Floats]:
        """Split each customer's distance from the base over the facts.

        Parameters
        ----------
        features : Design of shape (n_customers, n_features)
            See `behaviour_table`.

        Returns
        -------
        dict of str to array of shape (n_customers,)
            By fact, log odds of a purchase above the base; below 0 raises the risk. Added up, they are the `total` of
            the curves less that of the base.
        """
        heights = self.curves.contributions(_without_currency(features, self.typical_spend))
        base = dict(zip(self.curves.columns, self.base, strict=True))
        parts = {fact: np.zeros(features.n_customers) for fact in FACTS}
        for fact, names in FACTS.items():
            for name in names:
                if name in heights:
                    parts[fact] += heights[name] - base[name]
        return parts

    def trusts(self, fact: str, part: Floats) -> Flags:
        """Tell where the trials bear a fact out.

        Parameters
        ----------
        fact : str
            Which.
        part : array of shape (n_customers,)
            Its part of the log odds.

        Returns
        -------
        bool array of shape (n_customers,)
            False where the model went the other way in too many trials of that side; True where none were made.
        """
        tried = self.agreement.get(fact, {})
        raises, lowers = (tried.get(side, 1.0) >= LEAST_AGREEMENT for side in SIDES)
        return np.where(part < 0.0, raises, lowers)

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        return {
            "curves": self.curves.to_dict(),
            "base": list(self.base),
            "usual": dict(self.usual),
            "dearer_stays": self.dearer_stays,
            "explained": self.explained,
            "agreement": {fact: dict(sides) for fact, sides in self.agreement.items()},
            "typical_spend": self.typical_spend,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Explanation":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : dict
            What `to_dict` gave.

        Returns
        -------
        Explanation
            Equal to the one saved.
        """
        return cls(**{**fields, "curves": AdditiveHead.from_dict(fields["curves"]), "base": tuple(fields["base"])})


def fit_explanation(features: Design, log_odds: Floats, *, typical_spend: int = USUAL_SPEND) -> Explanation:
    """Fit curves of plain facts to what a model says.

    Parameters
    ----------
    features : Design of shape (n_customers, n_features)
        See `behaviour_table`.
    log_odds : array of shape (n_customers,)
        Of a purchase, as the model delivers them.
    typical_spend : int, optional
        See `Explanation`.

    Returns
    -------
    Explanation
        Before any trial.
    """
    plain = _without_currency(features, typical_spend)
    curves = fit_curves(plain, log_odds, features=FEATURES, penalty=PENALTY)
    heights, chance = curves.contributions(plain), expit(log_odds)
    usual = {name: _median(features[name], chance) for name in USUAL if name in features}
    base = {name: float(np.average(heights[name], weights=chance)) for name in curves.columns}
    dearer_stays = True
    if "spend_typical" in heights:
        money, size = heights["spend_typical"], np.log(features["spend_typical"])
        base["spend_typical"] = float(money[np.argmin(np.abs(size - np.log(usual["spend_typical"])))])
        dearer_stays = bool(np.sum(chance * (size - np.average(size, weights=chance)) * money) >= 0.0)
    explained = _explained(plain, log_odds)
    return Explanation(curves, tuple(base.values()), usual, dearer_stays, explained, typical_spend=typical_spend)


def _without_currency(features: Design, typical_spend: int) -> Design:
    """Money in the models' unit instead of the currency's."""
    if "spend_typical" not in features:
        return features
    money = features["spend_typical"] * (MONEY / money_unit_of(typical_spend))
    return Design({"spend_typical": money}, beside=features)


def _median(values: Floats, weight: Floats) -> float:
    order = np.argsort(values, kind="stable")
    running = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(running, running[-1] / 2.0)])


def _explained(features: Design, log_odds: Floats) -> float | None:
    """Fit every second customer and judge the others."""
    odd = np.arange(len(log_odds)) % 2 == 1
    spread = float(np.var(log_odds[odd])) if len(log_odds) >= LEAST_TO_JUDGE else 0.0
    if spread < 1e-12:
        return None
    curves = fit_curves(features.rows(~odd), log_odds[~odd], features=FEATURES, penalty=PENALTY)
    return 1.0 - float(np.mean((log_odds[odd] - curves.total(features.rows(odd))) ** 2)) / spread

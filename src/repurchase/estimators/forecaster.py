"""Purchases and money of every customer over every horizon: what is learned first, and what a backtest judges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.errors import InsufficientHistory
from repurchase.estimators.baseline import USUAL_SPEND, Baseline
from repurchase.estimators.blend import expit, rising
from repurchase.estimators.btyd import Btyd, GammaGamma
from repurchase.estimators.cuts import Cut, Cuts, design_matrix
from repurchase.estimators.design import Design
from repurchase.estimators.heads import Head, fit_head, gather, place
from repurchase.estimators.level import LOOK_AHEAD_DAYS
from repurchase.estimators.purchase_days import btyd_days_if_bought, pace_of
from repurchase.estimators.spend import mix_with_gamma_gamma
from repurchase.estimators.value import expected_orders, expected_spend, never_falling

__all__ = ["Forecast", "Forecaster", "fit_forecaster"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Forecast:
    """What is expected of the customers of a cut, by horizon in days.

    Parameters
    ----------
    p : mapping of int to array of shape (n_customers,)
        Probability of a purchase day, rising with the horizon.
    p_parts : mapping of str to such mappings
        ``btyd``, and what outcomes taught where they did: ``additive`` and ``boosting``.
    orders : mapping of int to array
        Expected purchase days.
    spend : mapping of int to array
        Expected net money; empty without money.
    designs : mapping of int to Design
        What the heads read, for the horizons that were learned.
    """

    p: Mapping[int, Floats]
    p_parts: Mapping[str, Mapping[int, Floats]]
    orders: Mapping[int, Floats]
    spend: Mapping[int, Floats]
    designs: Mapping[int, Design]


@dataclass(frozen=True)
class Forecaster:
    """Fitted models of purchases and money.

    Parameters
    ----------
    as_of : date
        Last day seen.
    btyd, other_btyd : Btyd
        Purchases and dropout: MBG/NBD, which speaks, and BG/NBD, which the heads hear too.
    gamma_gamma : GammaGamma or None
        Money per purchase day; None where the log has no money.
    heads : mapping of int to Head
        Horizon to what outcomes taught about it, where they did.
    typical_spend : int, optional
        Median purchase day, in integer units of money: all that the size of the currency does to features.
    """

    as_of: date
    btyd: Btyd
    other_btyd: Btyd
    gamma_gamma: GammaGamma | None
    heads: Mapping[int, Head]
    typical_spend: int = USUAL_SPEND

    @property
    def baseline(self) -> Baseline:
        """What features are measured against."""
        return Baseline(self.btyd, self.other_btyd, self.typical_spend)

    def forecast(self, cut: Cut, *, days: Sequence[int]) -> Forecast:
        """Say what to expect of the customers of a cut.

        Parameters
        ----------
        cut : Cut
            Customers on a day.
        days : sequence of int
            Horizons to answer, besides those that were learned.

        Returns
        -------
        Forecast
            One value per customer.
        """
        horizons = sorted({*days, *self.heads})
        outlook = cut.outlook(self.btyd)
        p_btyd = {h: outlook.p_purchase(h) for h in horizons}
        designs = {h: self.design(cut, horizon_days=h) for h in self.heads}
        log_odds = {h: head.log_odds(designs[h]) for h, head in self.heads.items()}
        p = rising({h: expit(parts.blended + self._season(cut, h)[0]) for h, parts in log_odds.items()}, p_btyd)
        orders = expected_orders(p, self._days_if_bought(cut, designs), outlook)
        parts = {
            "btyd": p_btyd,
            "additive": {h: expit(parts.additive) for h, parts in log_odds.items()},
            "boosting": {h: expit(parts.trees) for h, parts in log_odds.items()},
        }
        return Forecast(p, parts, orders, self._spend(cut, designs, p, orders), designs)

    def design(self, cut: Cut, *, horizon_days: int) -> Design:
        """Put together what a head reads.

        Parameters
        ----------
        cut : Cut
            Customers on a day.
        horizon_days : int
            Days ahead.

        Returns
        -------
        Design of shape (n_customers, n_features)
            See `design_matrix`.
        """
        return design_matrix(cut, self.baseline, horizon_days=horizon_days)

    def spend_if_bought(self, cut: Cut, design: Design, *, horizon_days: int) -> Floats:
        """Expect a buyer's money in a window, the time of the year left out.

        Parameters
        ----------
        cut : Cut
            Customers on a day.
        design : Design of shape (n_customers, n_features)
            Their `design` for the horizon.
        horizon_days : int
            A horizon that was learned.

        Returns
        -------
        array of shape (n_customers,)
            > 0; NaN without money.
        """
        if self.gamma_gamma is None:
            return np.full(design.n_customers, np.nan)
        per_order = self.gamma_gamma.expected_value(cut.rfm[0], cut.repeat_spend_mean)
        head = self.heads[horizon_days].spend
        if head is None:
            return per_order
        rate = design["btyd_rate"]
        return mix_with_gamma_gamma(
            head.if_bought(design), per_order=per_order, rate=rate, frequency=cut.rfm[0], horizon_days=horizon_days
        )

    def _days_if_bought(self, cut: Cut, designs: Mapping[int, Design]) -> dict[int, Floats]:
        """Purchase days of a buyer; what moves all customers' chances moves how often they come."""
        days = {h: btyd_days_if_bought(cut.outlook(self.btyd), horizon_days=h) for h in self.heads}
        for h, head in self.heads.items():
            if head.days is not None:
                pace = pace_of(head.level, self._season(cut, h)[0])
                days[h] = head.days.if_bought(designs[h], days[h], pace=pace, horizon_days=h)
        return days

    def _season(self, cut: Cut, horizon_days: int) -> tuple[float, float]:
        return self.heads[horizon_days].season.at((cut.as_of - self.as_of).days)

    def _spend(
        self, cut: Cut, designs: Mapping[int, Design], p: Mapping[int, Floats], orders: Mapping[int, Floats]
    ) -> dict[int, Floats]:
        if self.gamma_gamma is None:
            return {}
        per_order = self.gamma_gamma.expected_value(cut.rfm[0], cut.repeat_spend_mean)
        learned = {
            h: p[h] * np.exp(self._season(cut, h)[1]) * self.spend_if_bought(cut, designs[h], horizon_days=h)
            for h, head in self.heads.items()
            if head.spend is not None
        }
        return never_falling({h: expected_spend(h, learned, orders, per_order) for h in orders})

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        btyd = {
            "as_of": self.as_of.isoformat(),
            "mbgnbd": self.btyd.to_dict(),
            "bgnbd": self.other_btyd.to_dict(),
            "gamma_gamma": self.gamma_gamma and self.gamma_gamma.to_dict(),
            "typical_spend": self.typical_spend,
        }
        return {"btyd": btyd, "heads": [[h, head.to_dict()] for h, head in self.heads.items()]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Forecaster":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : mapping
            What `to_dict` gave.

        Returns
        -------
        Forecaster
            Expects the same numbers.
        """
        btyd = fields["btyd"]
        money = btyd["gamma_gamma"]
        return cls(
            as_of=date.fromisoformat(btyd["as_of"]),
            btyd=Btyd.from_dict(btyd["mbgnbd"]),
            other_btyd=Btyd.from_dict(btyd["bgnbd"]),
            gamma_gamma=GammaGamma.from_dict(money) if money else None,
            heads={h: Head.from_dict(head) for h, head in fields["heads"]},
            typical_spend=btyd.get("typical_spend", USUAL_SPEND),
        )


def fit_forecaster(
    cuts: Cuts,
    as_of: date,
    *,
    horizons: Sequence[int],
    random_state: int,
    n_jobs: int = 1,
    days_ahead: Sequence[int] = LOOK_AHEAD_DAYS,
) -> Forecaster:
    """Learn purchases and money; asks only for days and windows that end by ``as_of``.

    Parameters
    ----------
    cuts : Cuts
        Of a log that may reach beyond ``as_of``.
    as_of : date
        Last day that may be known, inclusive.
    horizons : sequence of int
        Days ahead to learn, where the history can teach them.
    random_state : int
        Seed of everything random.
    n_jobs : int
        Fits side by side.
    days_ahead : sequence of int, optional
        On which days after the fit forecasts will be asked for, rising from 0: the season is learned for each.

    Returns
    -------
    Forecaster
        Fitted.

    Raises
    ------
    InsufficientHistory
        If no one has bought yet.
    """
    if not len(cuts.at(as_of).history.customer):
        raise InsufficientHistory(
            f"orders: no customer has a day with net sales above zero up to {as_of}, so there is nothing to learn "
            "from. Send orders with sales, or a later day."
        )
    from joblib import Parallel, delayed

    baseline = Baseline(cuts.btyd(as_of, "mbgnbd"), cuts.btyd(as_of, "bgnbd"), cuts.typical_spend(as_of))
    fitted = Parallel(n_jobs=n_jobs)(
        delayed(_fit_horizon)(cuts, as_of, baseline, days_ahead, horizon_days=h, random_state=random_state)
        for h in horizons
    )
    heads = {h: head for h, head in zip(horizons, fitted, strict=True) if head is not None}
    return Forecaster(as_of, baseline.btyd, baseline.other_btyd, cuts.gamma_gamma(as_of), heads, baseline.typical_spend)


def _fit_horizon(
    cuts: Cuts, as_of: date, baseline: Baseline, days_ahead: Sequence[int], *, horizon_days: int, random_state: int
) -> Head | None:
    asked = {"horizon_days": horizon_days, "random_state": random_state}
    lessons = gather(cuts, as_of, baseline, **asked)
    if lessons is None:
        return None
    head = fit_head(lessons, random_state=random_state)
    return place(head, cuts, as_of, baseline, days_ahead=days_ahead, **asked)

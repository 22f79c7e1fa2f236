"""Cuts of one log at many days: what every fit, backtest and score starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from repurchase.estimators.baseline import USUAL_SPEND, Baseline
from repurchase.estimators.blend import logit
from repurchase.estimators.btyd import Btyd, Family, GammaGamma, Outlook
from repurchase.estimators.btyd_fit import fit_btyd, fit_gamma_gamma
from repurchase.estimators.btyd_rows import Pairs
from repurchase.estimators.design import Design
from repurchase.features.behaviour import behaviour, money_behaviour, windows
from repurchase.features.history import MONEY, History, Outcomes, day_number
from repurchase.features.timeline import Ledger, train_cutoffs

__all__ = ["Cut", "Cuts", "design_matrix", "purchase_rate"]

MOST_TRAIN_CUTOFFS = 10
LEAST_STEP_DAYS = 7
FEW_CUSTOMERS = 10_000
"""Up to which a cut is remembered: the fits of one process look at the same days again and again."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cut:
    """Everything known about customers on a day.

    Parameters
    ----------
    history : History
        Purchase days up to the day.
    shared_pairs : Pairs, optional
        Of a block: its customers' part of everyone's ``pairs``.
    """

    history: History
    shared_pairs: Pairs | None = None

    @property
    def as_of(self) -> date:
        """Last day known, inclusive."""
        return self.history.as_of

    @property
    def n_customers(self) -> int:
        """How many."""
        return len(self.history.customer)

    def block(self, first: int, last: int) -> "Cut":
        """Look at customers that stand side by side; what they share with the others is computed once.

        Parameters
        ----------
        first, last : int
            Positions, the second one exclusive.

        Returns
        -------
        Cut
            Of those customers.
        """
        return Cut(self.history.block(first, last), self.pairs.rows(first, last))

    @cached_property
    def features(self) -> Design:
        """Behaviour of every customer, money in currency (see `behaviour_table`)."""
        return Design(behaviour(self.history))

    def features_in(self, money_unit: float) -> Design:
        """Behaviour of every customer, money in any unit.

        Parameters
        ----------
        money_unit : float
            See `money_behaviour`.

        Returns
        -------
        Design
            The same one for the same unit; what is not money is shared by all units.
        """
        if money_unit not in self._in_units:
            money = money_behaviour(self.history, money_unit=money_unit)
            self._in_units[money_unit] = Design(money, beside=self.features)
        return self._in_units[money_unit]

    @cached_property
    def _in_units(self) -> dict[float, Design]:
        return {MONEY: self.features}

    @cached_property
    def rfm(self) -> tuple[Floats, Floats, Floats]:
        """Frequency, recency and age in days, as BTYD models take them."""
        history = self.history
        first, last = history.day[history.start], history.day[history.last_row]
        frequency, recency, age = history.count - 1, last - first, day_number(self.as_of) - first
        return frequency.astype(np.float64), recency.astype(np.float64), age.astype(np.float64)

    @cached_property
    def pairs(self) -> Pairs:
        """Distinct pairs of frequency and age."""
        return self.shared_pairs or Pairs(self.rfm[0], self.rfm[2])

    def outlook(self, fit: Btyd) -> Outlook:
        """Ask a fitted BTYD model about the customers.

        Parameters
        ----------
        fit : Btyd
            Fitted.

        Returns
        -------
        Outlook
            The same one for the same fit.
        """
        if fit not in self._outlooks:
            self._outlooks[fit] = Outlook(fit, self.rfm, self.pairs)
        return self._outlooks[fit]

    @cached_property
    def _outlooks(self) -> dict[Btyd, Outlook]:
        return {}

    @property
    def repeat_spend_mean(self) -> Floats:
        """Mean net money per repeat purchase day; 0 without one."""
        repeat = self.history.total(self.history.spend) - self.history.spend[self.history.start]
        return np.asarray(repeat / MONEY / np.maximum(self.history.count - 1, 1))


def design_matrix(cut: Cut, baseline: Baseline, *, horizon_days: int) -> Design:
    """Put behaviour and what BTYD expects side by side.

    Parameters
    ----------
    cut : Cut
        Customers.
    baseline : Baseline
        What they are measured against.
    horizon_days : int
        Days ahead.

    Returns
    -------
    Design of shape (n_customers, n_features)
        Behaviour is shared by all horizons.
    """
    outlook = cut.outlook(baseline.btyd)
    outputs = {
        "btyd_logit": logit(outlook.p_purchase(horizon_days)),
        "btyd_other_logit": logit(cut.outlook(baseline.other_btyd).p_purchase(horizon_days)),
        "btyd_p_alive": outlook.p_alive,
        "btyd_rate": purchase_rate(cut, baseline.btyd),
    }
    recent = windows(cut.history, horizon_days=horizon_days, money_unit=baseline.money_unit)
    return Design({**recent, **outputs}, beside=cut.features_in(baseline.money_unit))


def purchase_rate(cut: Cut, btyd: Btyd) -> Floats:
    """Expect how often customers buy while they are customers.

    Parameters
    ----------
    cut : Cut
        Customers.
    btyd : Btyd
        Fitted.

    Returns
    -------
    array of shape (n_customers,)
        Purchase days a day, (r + x) / (alpha + T).
    """
    x, _, T = cut.rfm
    return np.asarray((btyd.r + x) / (btyd.alpha + T))


class Cuts:
    """Cuts, outcomes and BTYD fits of one ledger; fits are remembered.

    Nothing here knows which day a model is fitted for: a model asks only for days and windows that end by then.

    Parameters
    ----------
    book : Ledger
        The whole log. A time in which the shop was closed is left out, and every day here is counted without it.
    horizons : sequence of int
        Days ahead that are asked for.
    """

    def __init__(self, book: Ledger, *, horizons: Sequence[int]) -> None:
        self.book = book.without(book.find_closing())
        self.horizons = tuple(horizons)
        self._btyd: dict[tuple[date, Family], Btyd] = {}
        self._gamma_gamma: dict[date, GammaGamma] = {}
        self._cuts: dict[date, Cut] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the remembered cuts behind: another process makes them sooner than it reads them."""
        return {**self.__dict__, "_cuts": {}}

    def at(self, as_of: date) -> Cut:
        """Cut at a day.

        Parameters
        ----------
        as_of : date
            Last day known, inclusive.

        Returns
        -------
        Cut
            One row per customer with a purchase day by then; remembered, with its features, where they are few.
        """
        if as_of in self._cuts:
            return self._cuts[as_of]
        cut = Cut(self.book.history(as_of))
        if len(cut.history.customer) <= FEW_CUSTOMERS:
            self._cuts[as_of] = cut
        return cut

    def sample(self, as_of: date, *, most: int, random_state: int) -> Cut:
        """Cut at a day and keep some customers by chance.

        Parameters
        ----------
        as_of : date
            Last day known, inclusive.
        most : int
            How many to keep at most.
        random_state : int
            Seed.

        Returns
        -------
        Cut
            Everyone where they are no more than ``most``.
        """
        cut = self.at(as_of)
        n_customers = len(cut.history.customer)
        if n_customers <= most:
            return cut
        rng = np.random.default_rng([random_state, as_of.toordinal()])
        return Cut(cut.history.take(np.sort(rng.choice(n_customers, most, replace=False))))

    def outcomes(self, cut: Cut, *, horizon_days: int) -> Outcomes:
        """Look up what the customers of a cut did next.

        Parameters
        ----------
        cut : Cut
            Customers.
        horizon_days : int
            Days ahead.

        Returns
        -------
        Outcomes
            One value per customer of the cut.
        """
        return self.book.outcomes(cut.history, horizon_days=horizon_days)

    def btyd(self, as_of: date, family: Family) -> Btyd:
        """Fit purchases and dropout on what was known on a day.

        Parameters
        ----------
        as_of : date
            Last day known, inclusive.
        family : str
            Which model.

        Returns
        -------
        Btyd
            Fitted on first use.
        """
        if (as_of, family) not in self._btyd:
            self._btyd[as_of, family] = fit_btyd(*self.at(as_of).rfm, families=(family,))
        return self._btyd[as_of, family]

    def typical_spend(self, as_of: date) -> int:
        """Find the median purchase day of what was known on a day.

        Parameters
        ----------
        as_of : date
            Last day known, inclusive.

        Returns
        -------
        int
            In integer units of money; ``USUAL_SPEND`` where the log has no money.
        """
        if not self.book.has_amounts:
            return USUAL_SPEND
        spend = self.at(as_of).history.spend
        return int(np.partition(spend, len(spend) // 2)[len(spend) // 2])

    def tell(self, as_of: date, btyd: Mapping[Family, Btyd], gamma_gamma: GammaGamma | None) -> None:
        """Take over fits of a day that were made elsewhere, of more customers than these.

        Parameters
        ----------
        as_of : date
            Last day known to them, inclusive.
        btyd : mapping of str to Btyd
            Family to fit.
        gamma_gamma : GammaGamma or None
            Money per purchase day; None to fit it here.
        """
        self._btyd.update({(as_of, family): fit for family, fit in btyd.items()})
        if gamma_gamma is not None:
            self._gamma_gamma[as_of] = gamma_gamma

    def gamma_gamma(self, as_of: date) -> GammaGamma | None:
        """Fit money per purchase day on what was known on a day.

        Parameters
        ----------
        as_of : date
            Last day known, inclusive.

        Returns
        -------
        GammaGamma or None
            None where the log has no money.
        """
        if not self.book.has_amounts:
            return None
        if as_of in self._gamma_gamma:
            return self._gamma_gamma[as_of]
        cut = self.at(as_of)
        fit = fit_gamma_gamma(cut.rfm[0], cut.repeat_spend_mean)
        if fit.fallback_mean == 0.0:  # nobody came back: what a first purchase brought is all that is known
            return replace(fit, fallback_mean=float(np.median(cut.history.spend)) / MONEY)
        return fit

    def train_days(self, as_of: date, *, horizon_days: int, most: int = MOST_TRAIN_CUTOFFS) -> Sequence[date]:
        """Choose earlier cut-offs whose outcomes were known on a day.

        Parameters
        ----------
        as_of : date
            Last day that may be known.
        horizon_days : int
            Days ahead.
        most : int
            Upper limit of how many.

        Returns
        -------
        sequence of date
            Latest first, a third of the horizon apart; empty where history is too short.
        """
        return train_cutoffs(
            first_day=self.book.first_day,
            as_of=as_of,
            horizon_days=horizon_days,
            most=most,
            step_days=max(LEAST_STEP_DAYS, horizon_days // 3),
        )

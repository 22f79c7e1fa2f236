"""Cuts of one log at many days, each made once: what every fit, backtest and score starts from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl
from joblib import Parallel, delayed

from repurchase.estimators.btyd import FAMILIES, Btyd, Family, GammaGamma, fit_btyd, fit_gamma_gamma
from repurchase.features.behaviour import behaviour_table
from repurchase.features.timeline import MONEY, History, Ledger, Outcomes, train_cutoffs

__all__ = ["Cut", "Cuts", "make_cut"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cut:
    """Everything known about customers on a day.

    Parameters
    ----------
    history : History
        Purchase days up to the day.
    features : DataFrame of shape (n_customers, n_features)
        See `behaviour_table`.
    """

    history: History
    features: pl.DataFrame

    @property
    def as_of(self) -> date:
        """Last day known, inclusive."""
        return self.history.as_of

    @property
    def rfm(self) -> tuple[Floats, Floats, Floats]:
        """Frequency, recency and age in days, as BTYD models take them."""
        frequency, recency, age = (self.features[name].to_numpy() for name in ("frequency", "recency_days", "age_days"))
        return frequency, recency, age

    @property
    def repeat_spend_mean(self) -> Floats:
        """Mean net money per repeat purchase day; 0 without one."""
        repeat = self.history.total(self.history.spend) - self.history.spend[self.history.start]
        return np.asarray(repeat / MONEY / np.maximum(self.history.count - 1, 1))


def make_cut(book: Ledger, as_of: date, *, horizons: Iterable[int]) -> Cut:
    """Cut a ledger at a day and derive the features.

    Parameters
    ----------
    book : Ledger
        Orders; later ones than ``as_of`` are not read.
    as_of : date
        Last day known, inclusive.
    horizons : iterable of int
        Days ahead, for the windows a year ago.

    Returns
    -------
    Cut
        One row per customer with a purchase day by then.
    """
    history = book.history(as_of)
    return Cut(history, behaviour_table(history, horizons=horizons))


class Cuts:
    """Cuts, outcomes and BTYD fits of one ledger, remembered.

    Nothing here knows which day a model is fitted for: a model asks only for days and windows that end by then.

    Parameters
    ----------
    book : Ledger
        The whole log.
    horizons : sequence of int
        Days ahead, for the windows a year ago.
    """

    def __init__(self, book: Ledger, *, horizons: Sequence[int]) -> None:
        self.book = book
        self.horizons = tuple(horizons)
        self._cuts: dict[date, Cut] = {}
        self._btyd: dict[tuple[date, tuple[Family, ...]], Btyd] = {}

    def at(self, as_of: date) -> Cut:
        """Cut at a day.

        Parameters
        ----------
        as_of : date
            Last day known, inclusive.

        Returns
        -------
        Cut
            Made on first use.
        """
        if as_of not in self._cuts:
            self._cuts[as_of] = make_cut(self.book, as_of, horizons=self.horizons)
        return self._cuts[as_of]

    def outcomes(self, as_of: date, *, horizon_days: int) -> Outcomes:
        """Look up what the customers of a cut did next.

        Parameters
        ----------
        as_of : date
            Day of the cut.
        horizon_days : int
            Days ahead.

        Returns
        -------
        Outcomes
            One value per customer of the cut.
        """
        return self.book.outcomes(self.at(as_of).history, horizon_days=horizon_days)

    def btyd(self, as_of: date, families: tuple[Family, ...] = FAMILIES) -> Btyd:
        """Fit purchases and dropout on what was known on a day.

        Parameters
        ----------
        as_of : date
            Last day known, inclusive.
        families : tuple of str
            Families to choose from.

        Returns
        -------
        Btyd
            Fitted on first use.
        """
        key = (as_of, families)
        if key not in self._btyd:
            start = self._earlier_fit(as_of)
            self._btyd[key] = fit_btyd(*self.at(as_of).rfm, families=families, start=start)
        return self._btyd[key]

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
        cut = self.at(as_of)
        return fit_gamma_gamma(cut.rfm[0], cut.repeat_spend_mean)

    def prepare(self, days: Iterable[date], families: tuple[Family, ...], *, jobs: int) -> None:
        """Fit the BTYD models of several days side by side, searching on from the earliest day's parameters.

        Parameters
        ----------
        days : iterable of date
            Days that will be asked for.
        families : tuple of str
            Families to choose from.
        jobs : int
            Fits at a time.
        """
        missing = sorted({day for day in days if (day, families) not in self._btyd})
        if not missing:
            return
        first = self.btyd(missing[0], families)
        fits = Parallel(n_jobs=jobs)(
            delayed(fit_btyd)(*self.at(day).rfm, families=families, start=first) for day in missing[1:]
        )
        self._btyd.update({(day, families): fit for day, fit in zip(missing[1:], fits, strict=True)})

    def _earlier_fit(self, as_of: date) -> Btyd | None:
        # Only earlier days: a later day's parameters must not reach back, not even as a place to search from.
        earlier = [(day, families) for day, families in self._btyd if day < as_of]
        return self._btyd[max(earlier)] if earlier else None

    def train_days(self, as_of: date, *, horizon_days: int, most: int) -> Sequence[date]:
        """Choose earlier cut-offs on the grid whose outcomes were known on a day.

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
            Latest first, about a third of the horizon apart, in tens of days so that backtests meet the same days
            again; empty where history is too short.
        """
        return train_cutoffs(
            first_day=self.book.first_day,
            as_of=as_of,
            horizon_days=horizon_days,
            most=most,
            step_days=max(10, horizon_days // 30 * 10),
        )

"""One object from orders to scores.

Training and scoring share every step, since the model owns its features: they cannot drift apart. A customer's row
depends on that customer's orders, the model and ``as_of``, on nothing else.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Self

import polars as pl
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from repurchase.estimators.blend import logit
from repurchase.estimators.cuts import Cut, Cuts
from repurchase.estimators.explain import Explanation
from repurchase.estimators.fitted import FittedModel, last_day
from repurchase.estimators.forecaster import Forecaster, fit_forecaster
from repurchase.estimators.learning import learn_ranges, learn_tiers, notes_of
from repurchase.estimators.predictor import Prediction, Predictor, in_blocks
from repurchase.estimators.tiers import Tiers
from repurchase.estimators.trials import learn_reasons
from repurchase.features.closing import Closing
from repurchase.features.ledgers import ledger
from repurchase.orders.sufficiency import supported_horizons
from repurchase.settings import Settings
from repurchase.tables import Frame, as_polars

__all__ = ["RepurchaseModel"]


class RepurchaseModel(BaseEstimator):  # type: ignore[misc]
    """Repurchase probability, expected orders and money, and lifetime value of every customer.

    Per horizon three models, averaged on the scale of log odds: MBG/NBD, and a sum of curves and boosted trees that
    learned from several earlier cut-offs whose outcomes were known by ``as_of``. A horizon that the history cannot
    teach is answered by BTYD alone, and ``notes_`` says so.

    Parameters
    ----------
    horizons : sequence of int, optional
        Days ahead. Without it: 30, 90, 180, 365, cut to what the history supports.
    clv_horizon_days : int
        Days over which lifetime value is counted.
    discount_rate : float
        Yearly rate at which later money counts less.
    random_state : int
        Seed of everything random.
    n_jobs : int
        Fits side by side.

    Attributes
    ----------
    fitted_ : FittedModel
        What was learned; the properties below read it.

    Examples
    --------
    >>> RepurchaseModel(horizons=(30,)).predict(pl.DataFrame())
    Traceback (most recent call last):
        ...
    sklearn.exceptions.NotFittedError: This RepurchaseModel is not fitted yet. Call fit(orders, as_of) first.
    """

    def __init__(
        self,
        *,
        horizons: Sequence[int] | None = None,
        clv_horizon_days: int = 365,
        discount_rate: float = 0.10,
        random_state: int = 0,
        n_jobs: int = 1,
    ) -> None:
        self.horizons = horizons
        self.clv_horizon_days = clv_horizon_days
        self.discount_rate = discount_rate
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, orders: Frame, as_of: date | None = None) -> Self:
        """Learn from orders up to a day.

        Parameters
        ----------
        orders : DataFrame of shape (n_rows, >=4)
            Clean orders (see ``tables.ORDERS``); those after ``as_of`` are not read.
        as_of : date, optional
            Last day observed, inclusive; without it the day of the last order.

        Returns
        -------
        RepurchaseModel
            Itself, fitted.

        Raises
        ------
        InsufficientHistory
            If a horizon that was asked for is longer than the history, or no one has bought yet.
        InputError
            If it is not a table of orders, or there is none up to ``as_of``.
        """
        frame = as_polars(orders)
        day = last_day(frame) if as_of is None else as_of
        book = ledger(frame, observed_until=day)
        settings = Settings(horizons=None if self.horizons is None else tuple(self.horizons))
        horizons = supported_horizons(first_day=book.first_day, as_of=day, settings=settings)
        return self.fit_cuts(Cuts(book, horizons=horizons), day)

    def fit_cuts(self, cuts: Cuts, as_of: date) -> Self:
        """Learn from cuts that others share; asks only for days and windows that end by ``as_of``.

        Parameters
        ----------
        cuts : Cuts
            Of a log that may reach beyond ``as_of``.
        as_of : date
            Last day that may be known, inclusive.

        Returns
        -------
        RepurchaseModel
            Itself, fitted.

        Raises
        ------
        InsufficientHistory
            If no one has bought yet.
        """
        horizons = tuple(sorted(set(self.horizons or cuts.horizons)))
        forecaster = fit_forecaster(cuts, as_of, horizons=horizons, random_state=self.random_state, n_jobs=self.n_jobs)
        spread, waits = learn_ranges(cuts, forecaster, random_state=self.random_state)
        predictor = Predictor(forecaster, spread, waits, horizons, self.clv_horizon_days, self.discount_rate)
        now = cuts.at(as_of)
        tiers = learn_tiers(now, in_blocks(now, predictor.predict, n_jobs=self.n_jobs), predictor)
        explanation = learn_reasons(
            now,
            lambda cut: logit(forecaster.forecast(cut, days=(tiers.risk_horizon_days,)).p[tiers.risk_horizon_days]),
            random_state=self.random_state,
            typical_spend=forecaster.typical_spend,
        )
        self.fitted_ = FittedModel(
            predictor,
            tiers,
            explanation,
            cuts.book.closing,
            notes_of(predictor, explanation, cuts.book.closing),
            settings={**self.get_params(), "horizons": self.horizons and list(self.horizons)},
        )
        return self

    def predict(self, orders: Frame, as_of: date | None = None, customers: Sequence[str] | None = None) -> pl.DataFrame:
        """Score customers.

        Parameters
        ----------
        orders : DataFrame of shape (n_rows, >=4)
            Clean orders (see ``tables.ORDERS``); those after ``as_of`` are not read.
        as_of : date, optional
            Last day observed, inclusive; without it the day of the last order.
        customers : sequence of str, optional
            Whom to score, each once; without it everyone with a purchase day by ``as_of``.

        Returns
        -------
        DataFrame
            See ``tables.scores_table(horizons_)``, sorted by id, or in the order of ``customers``.

        Raises
        ------
        NotFittedError
            Before `fit`.
        OrdersError
            If the orders are not clean, or carry no amounts while the model learned from amounts.
        InputError
            If it is not a table of orders, or there is none up to ``as_of``.
        """
        return self._fitted().predict_orders(orders, as_of, customers, n_jobs=self.n_jobs)

    def predict_cut(self, cut: Cut) -> Prediction:
        """Predict for the customers of a cut.

        Parameters
        ----------
        cut : Cut
            Customers on a day.

        Returns
        -------
        Prediction
            By horizon, the longer ones of lifetime value and the year included.
        """
        return self._fitted().predict_cut(cut)

    def to_state(self) -> dict[str, Any]:
        """Take the fitted model apart.

        Returns
        -------
        dict
            See `FittedModel.to_state`.
        """
        return self._fitted().to_state()

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "RepurchaseModel":
        """Put a fitted model together again.

        Parameters
        ----------
        state : mapping
            What `to_state` gave.

        Returns
        -------
        RepurchaseModel
            Predicts the same numbers.
        """
        model = cls(**state["settings"])
        model.fitted_ = FittedModel.from_state(state)
        return model

    def _fitted(self) -> FittedModel:
        if not hasattr(self, "fitted_"):
            raise NotFittedError("This RepurchaseModel is not fitted yet. Call fit(orders, as_of) first.")
        return self.fitted_

    @property
    def horizons_(self) -> tuple[int, ...]:
        """Days ahead that are delivered."""
        return self._fitted().horizons

    @property
    def learned_(self) -> tuple[int, ...]:
        """Those of them that outcomes taught."""
        return self._fitted().learned

    @property
    def as_of_(self) -> date:
        """Last day the model saw."""
        return self._fitted().as_of

    @property
    def closing_(self) -> Closing | None:
        """A time in which the shop was closed."""
        return self._fitted().closing

    @property
    def forecaster_(self) -> Forecaster:
        """Purchases and money."""
        return self._fitted().predictor.forecaster

    @property
    def tiers_(self) -> Tiers:
        """Thresholds of segments and risk bands."""
        return self._fitted().tiers

    @property
    def explanation_(self) -> Explanation:
        """What moves the risk."""
        return self._fitted().explanation

    @property
    def notes_(self) -> tuple[str, ...]:
        """What the reader of the scores must know."""
        return self._fitted().notes

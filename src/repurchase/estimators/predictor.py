"""Everything that is fitted before thresholds and reasons, and what it says of customers, block by block.

A block's columns stay in the processor's cache from one step to the next, and blocks can be looked at side by side:
numpy lets go of the interpreter. What a customer gets depends on neither.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from repurchase.estimators.cuts import Cut, purchase_rate
from repurchase.estimators.forecaster import Forecast, Forecaster
from repurchase.estimators.ranges import SpendSpread, spend_range
from repurchase.estimators.spend import orders_if_bought
from repurchase.estimators.timing import Waits, days_to_next_order
from repurchase.estimators.value import discount_factor

__all__ = ["BLOCK", "Prediction", "Predictor", "in_blocks"]

Floats = npt.NDArray[np.float64]
Answer = TypeVar("Answer")

BLOCK = 65_536
"""Customers looked at together: fewer spend their time on calls, more do not fit the cache."""
YEAR_DAYS = 365


@dataclass(frozen=True)
class Prediction:
    """What a model says about the customers of a cut, by horizon in days.

    Parameters
    ----------
    p : mapping of int to array of shape (n_customers,)
        Probability of a purchase day, rising with the horizon.
    p_alive : array of shape (n_customers,)
        BTYD's probability of still being a customer.
    next_order_days : tuple of three arrays of shape (n_customers,)
        Low, median and high days to the next order; NaN where none within a year is likely.
    orders : mapping of int to array
        Expected purchase days.
    spend : mapping of int to array
        Expected net money; empty without money.
    clv, clv_low, clv_high : arrays of shape (n_customers,)
        Discounted money over the CLV horizon and its 80 % range; NaN without money.
    """

    p: Mapping[int, Floats]
    p_alive: Floats
    next_order_days: tuple[Floats, Floats, Floats]
    orders: Mapping[int, Floats]
    spend: Mapping[int, Floats]
    clv: Floats
    clv_low: Floats
    clv_high: Floats


@dataclass(frozen=True)
class Predictor:
    """Fitted models of purchases, money and waits.

    Parameters
    ----------
    forecaster : Forecaster
        Purchases and money.
    spread : SpendSpread
        How far a customer's money lies around what is expected.
    waits : Waits or None
        How long those who come back wait; None where no outcome taught it.
    horizons : tuple of int
        Days ahead that are delivered.
    clv_horizon_days : int
        Days over which lifetime value is counted.
    discount_rate : float
        Yearly rate at which later money counts less.
    """

    forecaster: Forecaster
    spread: SpendSpread
    waits: Waits | None
    horizons: tuple[int, ...]
    clv_horizon_days: int
    discount_rate: float

    def predict(self, cut: Cut) -> Prediction:
        """Predict for the customers of a cut, all at once.

        Parameters
        ----------
        cut : Cut
            Customers on a day.

        Returns
        -------
        Prediction
            By horizon, the longer ones of lifetime value and the year included.
        """
        forecast = self.forecaster.forecast(cut, days=(*self.horizons, self.clv_horizon_days, YEAR_DAYS))
        design = forecast.designs[self.waits.horizon_days] if self.waits else None
        return Prediction(
            p=forecast.p,
            p_alive=cut.outlook(self.forecaster.btyd).p_alive,
            next_order_days=days_to_next_order(forecast.p, waits=self.waits, design=design),
            orders=forecast.orders,
            spend=forecast.spend,
            **self._lifetime_value(cut, forecast),
        )

    def _lifetime_value(self, cut: Cut, forecast: Forecast) -> dict[str, Floats]:
        if not forecast.spend:
            nothing = np.full(cut.n_customers, np.nan)
            return {"clv": nothing, "clv_low": nothing, "clv_high": nothing}
        h, btyd = self.clv_horizon_days, self.forecaster.btyd
        p = forecast.p[h]
        worth = discount_factor(cut.outlook(btyd), horizon_days=h, yearly_rate=self.discount_rate)
        clv = forecast.spend[h] * worth
        days = orders_if_bought(purchase_rate(cut, btyd), horizon_days=h)
        low, high = spend_range(p, clv / np.maximum(p, 1e-9), days, self.spread)
        return {"clv": clv, "clv_low": low, "clv_high": high}


def in_blocks(
    cut: Cut, answer_of: Callable[[Cut], Answer], *, n_jobs: int = 1, customers_per_block: int = BLOCK
) -> Answer:
    """Ask about the customers of a cut block by block, and put the answers together.

    Parameters
    ----------
    cut : Cut
        Customers on a day.
    answer_of : callable
        What to ask about a block; each customer's answer depends on that customer alone. Arrays, one value per
        customer, maybe in dictionaries, tuples and dataclasses.
    n_jobs : int, optional
        Blocks looked at side by side.
    customers_per_block : int, optional
        The last block may have fewer.

    Returns
    -------
    Answer
        For all customers, in their order.
    """
    ends = range(0, max(cut.n_customers, 1), customers_per_block)
    blocks = (cut.block(first, min(first + customers_per_block, cut.n_customers)) for first in ends)
    if n_jobs == 1 or len(ends) == 1:
        answers = [answer_of(block) for block in blocks]
    else:
        with ThreadPoolExecutor(n_jobs) as threads:
            answers = list(threads.map(answer_of, blocks))
    joined: Answer = _joined(answers)
    return joined


def _joined(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    if isinstance(first, Mapping):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if is_dataclass(first) and not isinstance(first, type):
        return type(first)(*(_joined([getattr(part, item.name) for part in parts]) for item in fields(first)))
    together = [_joined(some) for some in zip(*parts, strict=True)]
    return type(first)(*together) if hasattr(first, "_fields") else tuple(together)

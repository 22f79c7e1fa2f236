"""The logs and the protocol: which horizon, which cut-offs, who is judged, what came."""

import importlib.util
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Protocol:
    """Horizon and cut-offs of a log: the last lies one horizon before its end, the others ``step_days`` apart."""

    horizon_days: int
    step_days: int
    n_cutoffs: int = 3


PROTOCOLS = {
    "cdnow": Protocol(90, 30),
    "online_retail_ii": Protocol(90, 60),
    "completejourney": Protocol(28, 28),
    "shopify_store": Protocol(60, 30),
    "grocery_elog": Protocol(182, 45),
}


@dataclass(frozen=True)
class Days:
    """Purchase days up to a cut-off, sorted by customer and day, as plain arrays.

    ``customer`` numbers the customers 0..n-1 in the order of ``customer_id``; ``spend`` is the day's net
    amount, and NaN in a log without money.
    """

    customer_id: np.ndarray
    customer: np.ndarray
    day: np.ndarray
    spend: np.ndarray
    cutoff: int

    @property
    def n(self) -> int:
        return len(self.customer_id)

    @cached_property
    def starts(self) -> np.ndarray:
        """Position of each customer's first purchase day."""
        return np.searchsorted(self.customer, np.arange(self.n))

    @cached_property
    def count(self) -> np.ndarray:
        """Purchase days per customer."""
        return np.bincount(self.customer, minlength=self.n)

    @cached_property
    def first(self) -> np.ndarray:
        return self.day[self.starts]

    @cached_property
    def last(self) -> np.ndarray:
        return self.day[self.starts + self.count - 1]

    @property
    def has_money(self) -> bool:
        return bool(np.isfinite(self.spend).all())


@dataclass(frozen=True)
class Outcome:
    """What came in (cut-off, cut-off + h], in the order of ``Days.customer_id``; ``spend`` is net of returns."""

    bought: np.ndarray
    spend: np.ndarray | None


class Log:
    """One order log under its protocol."""

    def __init__(self, name: str, orders: pl.DataFrame, protocol: Protocol) -> None:
        self.name = name
        self.orders = orders
        self.horizon_days = protocol.horizon_days
        self.protocol = protocol
        amount = pl.col("amount")
        daily = orders.group_by("customer_id", day=pl.col("order_date").dt.date().cast(pl.Int32)).agg(
            net=pl.when(amount.is_not_null().any()).then(amount.sum().round(4)),
            purchase=amount.is_null().any() | (amount > 0).any(),
        )
        daily = daily.sort("customer_id", "day")
        self._customer_id = daily["customer_id"].to_numpy()
        self._day = daily["day"].to_numpy()
        self._net = daily["net"].cast(pl.Float64).to_numpy()
        self._is_purchase = daily["purchase"].to_numpy()
        self.first_day, self.last_day = int(self._day.min()), int(self._day.max())

    @property
    def cutoffs(self) -> list[int]:
        """The protocol's cut-offs, as days since 1970-01-01, rising."""
        last = self.last_day - self.horizon_days
        return [last - step * self.protocol.step_days for step in reversed(range(self.protocol.n_cutoffs))]

    def history(self, cutoff: int) -> Days:
        """Days with a sale (an amount > 0, or any order where there is no money) up to and including ``cutoff``."""
        keep = (self._day <= cutoff) & self._is_purchase
        customer_id, customer = np.unique(self._customer_id[keep], return_inverse=True)
        return Days(customer_id, customer, self._day[keep], self._net[keep], cutoff)

    def outcome(self, days: Days, horizon_days: int | None = None) -> Outcome:
        """What the customers of ``days`` did next."""
        horizon = self.horizon_days if horizon_days is None else horizon_days
        later = (self._day > days.cutoff) & (self._day <= days.cutoff + horizon)
        position = np.searchsorted(days.customer_id, self._customer_id).clip(max=days.n - 1)
        later &= days.customer_id[position] == self._customer_id
        bought = np.bincount(position[later & self._is_purchase], minlength=days.n) > 0
        if not days.has_money:
            return Outcome(bought, None)
        spend = np.bincount(position[later], weights=self._net[later], minlength=days.n)
        return Outcome(bought, spend)


def as_date(day: int) -> date:
    return EPOCH + timedelta(days=int(day))


def available_logs() -> list[str]:
    """CDNOW ships inside lifetimes; the others are there when ``../shared`` is."""
    return [name for name in PROTOCOLS if name == "cdnow" or (SHARED / f"{name}.parquet").is_file()]


def load_log(name: str) -> Log:
    orders = _cdnow() if name == "cdnow" else pl.read_parquet(SHARED / f"{name}.parquet")
    columns = ["customer_id", "order_id", "order_date", "amount"]
    optional = [c for c in ("product_id", "quantity") if c in orders.columns]
    return Log(
        name,
        orders.select(columns + optional).with_columns(pl.col("order_date").cast(pl.Datetime("us"))),
        PROTOCOLS[name],
    )


def _cdnow() -> pl.DataFrame:
    spec = importlib.util.find_spec("lifetimes")
    if spec is None or spec.origin is None:
        raise SystemExit("lifetimes is not installed; it carries the CDNOW orders.")
    text = (Path(spec.origin).parent / "datasets" / "CDNOW_master.txt").read_text()
    rows = [line.split() for line in text.splitlines()[1:]]
    return pl.DataFrame(
        {
            "customer_id": [row[0] for row in rows],
            "order_id": [f"cdnow-{number:06d}" for number in range(len(rows))],
            "order_date": pl.Series([row[1] for row in rows]).str.to_datetime("%Y%m%d", time_unit="us"),
            "amount": [float(row[3]) for row in rows],
            "quantity": [float(row[2]) for row in rows],
        }
    )

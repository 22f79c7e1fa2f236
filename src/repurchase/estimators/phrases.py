"""Figures in words, such as "84 days ago": each made once for all customers who share the figure."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["Phrases"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

YEAR_DAYS, MONTH_DAYS = 365.25, 30.4375
MOST_SEEN = 1_000_000
"""Of a figure's steps, up to which those that occur are ticked off; beyond, they are sorted."""


class Phrases:
    """Figures of customers and the words for them.

    Parameters
    ----------
    figures : mapping of str to array of shape (n_customers,)
        Such as ``days_since_last``; what does not apply is NaN.
    """

    def __init__(self, figures: Mapping[str, Floats]) -> None:
        self._figures = figures
        self._words: dict[str, tuple[pl.Series, Ints]] = {}

    def of(self, rows: Ints, names: Iterable[str]) -> pl.DataFrame:
        """Put some customers' figures and words side by side.

        Parameters
        ----------
        rows : array of shape (n_rows,)
            Positions of the customers.
        names : iterable of str
            Figures, and words as in `words`.

        Returns
        -------
        DataFrame of shape (n_rows, n_names)
            Floats and words.
        """
        return pl.DataFrame({name: self._column(name, rows) for name in names})

    def words(self, name: str) -> pl.Series:
        """Say a figure of every customer.

        Parameters
        ----------
        name : str
            ``ago``, ``gap``, ``every``, ``age``, ``longest``, ``purchases``, ``year``, ``lately``, ``before`` or
            ``money``.

        Returns
        -------
        Series of shape (n_customers,)
            Words.
        """
        words, place = self._said(name)
        return words.gather(place)

    def _column(self, name: str, rows: Ints) -> pl.Series:
        if name not in _WORDS:
            return pl.Series(self._figures[name][rows])
        words, place = self._said(name)
        return words.gather(place[rows])

    def _said(self, name: str) -> tuple[pl.Series, Ints]:
        if name not in self._words:
            figure, per_unit, words = _WORDS[name]
            steps = np.rint(np.nan_to_num(self._figures[figure]) * per_unit).astype(np.int64)
            if name == "money":
                steps = _shown(self._figures[figure])
            some, place = _distinct(steps)
            self._words[name] = (pl.DataFrame({figure: some / per_unit}).select(words=words)["words"], place)
        return self._words[name]


def _shown(amounts: Floats) -> Ints:
    """Cents as they are told: none from 100 on."""
    cents = np.rint(amounts * 100.0)
    return np.where(cents >= 10_000.0, 100.0 * np.rint(amounts), cents).astype(np.int64)


def _distinct(steps: Ints) -> tuple[Ints, Ints]:
    """The values that occur, and where each stands among them."""
    if not len(steps) or steps.min() < 0 or steps.max() > MOST_SEEN:
        some, place = np.unique(steps, return_inverse=True)
        return some, place.ravel()
    seen = np.zeros(int(steps.max()) + 1, dtype=np.bool_)
    seen[steps] = True
    return np.flatnonzero(seen), (np.cumsum(seen) - 1)[steps]


def _span(days: pl.Expr) -> pl.Expr:
    """Days up to a year, months up to three, then years."""
    return (
        pl.when(_whole(days) <= 365)
        .then(_counted(days, "day"))
        .when(_whole(days / MONTH_DAYS) <= 36)
        .then(_counted(days / MONTH_DAYS, "month"))
        .otherwise(_counted(days / YEAR_DAYS, "year"))
    )


def _ago(days: pl.Expr) -> pl.Expr:
    return pl.when(_whole(days) == 0).then(pl.lit("today")).otherwise(pl.format("{} ago", _span(days)))


def _every(days: pl.Expr) -> pl.Expr:
    return pl.when(_whole(days) <= 1).then(pl.lit("day")).otherwise(_span(days))


def _purchases(count: pl.Expr) -> pl.Expr:
    return _counted(count, "purchase")


def _lately(count: pl.Expr) -> pl.Expr:
    return pl.when(_whole(count) == 0).then(pl.lit("no purchase")).otherwise(_purchases(count))


def _before(count: pl.Expr) -> pl.Expr:
    return pl.when(_whole(count) == 0).then(pl.lit("none")).otherwise(_whole(count).cast(pl.String()))


def _counted(column: pl.Expr, one: str) -> pl.Expr:
    number = _whole(column)
    return pl.format("{} {}", number, pl.when(number == 1).then(pl.lit(one)).otherwise(pl.lit(f"{one}s")))


def _money(amount: pl.Expr) -> pl.Expr:
    cents = (amount * 100.0).round().cast(pl.Int64())
    exact = pl.format("{}.{}", cents // 100, (cents % 100).cast(pl.String()).str.zfill(2))
    return pl.when(cents >= 10_000).then(_whole(amount).cast(pl.String())).otherwise(exact)


def _whole(column: pl.Expr) -> pl.Expr:
    return column.fill_nan(0.0).round().cast(pl.Int64())


def _said_of(figure: str, per_unit: int, words: Callable[[pl.Expr], pl.Expr]) -> tuple[str, int, pl.Expr]:
    return figure, per_unit, words(pl.col(figure))


_WORDS: Mapping[str, tuple[str, int, pl.Expr]] = {
    "ago": _said_of("days_since_last", 2, _ago),
    "gap": _said_of("gap_median_days", 2, _span),
    "every": _said_of("gap_median_days", 2, _every),
    "age": _said_of("age_days", 2, _span),
    "longest": _said_of("gap_longest_days", 2, _span),
    "purchases": _said_of("frequency", 1, lambda frequency: _purchases(frequency + 1)),
    "year": _said_of("days_bought_365d", 1, _purchases),
    "lately": _said_of("days_bought_90d", 1, _lately),
    "before": _said_of("days_bought_90d_before", 1, _before),
    "money": _said_of("spend_typical", 100, _money),
}
"""Figure, steps per unit in which it is told (a median may lie half a day between), and the words."""

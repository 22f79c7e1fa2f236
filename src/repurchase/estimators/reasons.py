"""Up to three reasons per customer, in words and with the customer's own figures.

Each candidate reason is a statement that is true of the customer, with a strength that says how far it lies from
where it would start to matter; the strongest three are told.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["MOST_REASONS", "reasons"]

MOST_REASONS = 3
Floats = npt.NDArray[np.float64]


def reasons(features: pl.DataFrame) -> pl.DataFrame:
    """Tell what stands out about each customer's risk.

    Parameters
    ----------
    features : DataFrame of shape (n_customers, n_features)
        See `behaviour_table`.

    Returns
    -------
    DataFrame of shape (n_customers, 3)
        ``reason_1`` to ``reason_3``; null where fewer stand out.
    """
    statements = _statements()
    strengths = features.select(
        strength.fill_nan(0.0).fill_null(0.0).alias(f"{number}") for number, (strength, _) in enumerate(statements)
    ).to_numpy()
    ranked = np.argsort(-strengths, axis=1, kind="stable")[:, :MOST_REASONS]
    told = np.take_along_axis(strengths, ranked, axis=1) > 0
    words = features.select(text.alias(f"{number}") for number, (_, text) in enumerate(statements))
    return pl.DataFrame({f"reason_{place + 1}": _pick(words, ranked[:, place], told[:, place]) for place in range(3)})


def _pick(words: pl.DataFrame, choice: npt.NDArray[np.int64], told: npt.NDArray[np.bool_]) -> pl.Series:
    chosen = pl.Series("choice", np.where(told, choice, -1))
    branches = words.with_columns(chosen).select(
        pl.coalesce(
            *[pl.when(pl.col("choice") == number).then(pl.col(name)) for number, name in enumerate(words.columns)],
            pl.lit(None, dtype=pl.String()),
        ).alias("reason")
    )
    return branches["reason"]


def _statements() -> Sequence[tuple[pl.Expr, pl.Expr]]:
    silence, gap = pl.col("days_since_last"), pl.col("gap_median_days")
    repeat = pl.col("frequency") > 0
    overdue = (silence + 1.0).log() - (gap + 1.0).log()
    recent, before = pl.col("days_bought_90d"), pl.col("days_bought_90d_before")
    trend = ((recent + 0.5) / (before + 0.5)).log()
    rhythm = (
        pl.when(_whole(gap) <= 1).then(pl.lit("usually every day")).otherwise(pl.format("usually every {}", _days(gap)))
    )
    last = pl.format("last order {} ago", _days(silence))
    return [
        (pl.when(repeat & (silence > 1.5 * gap)).then(overdue), pl.format("{}; {}", last, rhythm)),
        (pl.when(repeat & (silence <= gap)).then(-overdue + 0.2), pl.format("on rhythm: {}, {}", last, rhythm)),
        (pl.when(~repeat).then((silence + 1.0).log() / 4.0), pl.format("one purchase only, {} ago", _days(silence))),
        (
            pl.when((pl.col("frequency") >= 3) & (trend < -0.3)).then(-trend),
            pl.format("buying less: {} in the last 90 days, {} in the 90 before", _times(recent), _whole(before)),
        ),
        (
            pl.when((pl.col("frequency") >= 3) & (trend > 0.3)).then(trend),
            pl.format("buying more: {} in the last 90 days, {} in the 90 before", _times(recent), _whole(before)),
        ),
        (
            pl.when(pl.col("days_bought_365d") >= 5).then((pl.col("days_bought_365d") / 4.0).log()),
            pl.format("bought on {} in the last year", _days(pl.col("days_bought_365d"))),
        ),
        (
            pl.when(repeat & (pl.col("age_days") >= 365)).then((pl.col("age_days") / 365.0).log() / 2.0 + 0.1),
            pl.format("customer for {} months", _whole(pl.col("age_days") / 30.44)),
        ),
        (pl.when(repeat & (pl.col("days_bought_365d") == 0)).then(1.0), pl.lit("no purchase in the last year")),
    ]


def _days(column: pl.Expr) -> pl.Expr:
    return _counted(column, "day", "days")


def _times(column: pl.Expr) -> pl.Expr:
    return _counted(column, "purchase", "purchases")


def _counted(column: pl.Expr, one: str, many: str) -> pl.Expr:
    number = _whole(column)
    return pl.format("{} {}", number, pl.when(number == 1).then(pl.lit(one)).otherwise(pl.lit(many)))


def _whole(column: pl.Expr) -> pl.Expr:
    return column.fill_nan(0.0).round().cast(pl.Int64)

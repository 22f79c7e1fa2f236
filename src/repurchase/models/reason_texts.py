"""Reasons as text, with the customer's own figures."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import polars as pl

from repurchase.features.history import Floats, Ints
from repurchase.models.explanations import (
    DIRECTIONS,
    MAX_REASONS,
    REASON_FACTS,
    SPEND_FEATURE,
    Codes,
    Explanation,
)

_MEAN_YEAR_DAYS, _MEAN_MONTH_DAYS = 365.25, 30.4375
MAX_LOOKUP_STEPS = 1_000_000
"""Largest number of steps for a lookup table; beyond it, steps are sorted."""


class FigureTexts:
    """Figures of customers and the texts for them."""

    def __init__(self, figures: Mapping[str, Floats]) -> None:
        self._figures = figures
        self._texts: dict[str, tuple[pl.Series, Ints]] = {}

    def of(self, rows: Ints, names: Iterable[str]) -> pl.DataFrame:
        """Put some customers' figures and texts side by side."""
        return pl.DataFrame({name: self._column(name, rows) for name in names})

    def texts(self, name: str) -> pl.Series:
        """Say a figure of every customer."""
        texts, index = self._texts_and_index(name)
        return texts.gather(index)

    def _column(self, name: str, rows: Ints) -> pl.Series:
        if name not in _FIGURE_TEXTS:
            return pl.Series(self._figures[name][rows])
        texts, index = self._texts_and_index(name)
        return texts.gather(index[rows])

    def _texts_and_index(self, name: str) -> tuple[pl.Series, Ints]:
        if name not in self._texts:
            figure, per_unit, texts = _FIGURE_TEXTS[name]
            steps = np.rint(np.nan_to_num(self._figures[figure]) * per_unit).astype(np.int64)
            if name == "money":
                steps = _displayed_cents(self._figures[figure])
            some, index = _distinct_codes(steps)
            self._texts[name] = (pl.DataFrame({figure: some / per_unit}).select(texts=texts)["texts"], index)
        return self._texts[name]


def _displayed_cents(amounts: Floats) -> Ints:
    """Cents as they are shown: none from 100 on."""
    cents = np.rint(amounts * 100.0)
    return np.where(cents >= 10_000.0, 100.0 * np.rint(amounts), cents).astype(np.int64)


def _distinct_codes(steps: Ints) -> tuple[Ints, Ints]:
    """The distinct values, and the position of each value among them."""
    if not len(steps) or steps.min() < 0 or steps.max() > MAX_LOOKUP_STEPS:
        some, index = np.unique(steps, return_inverse=True)
        return some, index.ravel()
    seen = np.zeros(int(steps.max()) + 1, dtype=np.bool_)
    seen[steps] = True
    return np.flatnonzero(seen), (np.cumsum(seen) - 1)[steps]


def _duration_text(days: pl.Expr) -> pl.Expr:
    """Days up to a year, months up to three, then years."""
    return (
        pl.when(_rounded(days) <= 365)
        .then(_count_text(days, "day"))
        .when(_rounded(days / _MEAN_MONTH_DAYS) <= 36)
        .then(_count_text(days / _MEAN_MONTH_DAYS, "month"))
        .otherwise(_count_text(days / _MEAN_YEAR_DAYS, "year"))
    )


def _ago_text(days: pl.Expr) -> pl.Expr:
    return pl.when(_rounded(days) == 0).then(pl.lit("today")).otherwise(pl.format("{} ago", _duration_text(days)))


def _interval_text(days: pl.Expr) -> pl.Expr:
    return pl.when(_rounded(days) <= 1).then(pl.lit("day")).otherwise(_duration_text(days))


def _purchases_text(count: pl.Expr) -> pl.Expr:
    return _count_text(count, "purchase")


def _recent_purchases_text(count: pl.Expr) -> pl.Expr:
    return pl.when(_rounded(count) == 0).then(pl.lit("no purchase")).otherwise(_purchases_text(count))


def _earlier_purchases_text(count: pl.Expr) -> pl.Expr:
    return pl.when(_rounded(count) == 0).then(pl.lit("none")).otherwise(_rounded(count).cast(pl.String()))


def _count_text(column: pl.Expr, one: str) -> pl.Expr:
    number = _rounded(column)
    return pl.format("{} {}", number, pl.when(number == 1).then(pl.lit(one)).otherwise(pl.lit(f"{one}s")))


def _money_text(amount: pl.Expr) -> pl.Expr:
    cents = (amount * 100.0).round().cast(pl.Int64())
    exact = pl.format("{}.{}", cents // 100, (cents % 100).cast(pl.String()).str.zfill(2))
    return pl.when(cents >= 10_000).then(_rounded(amount).cast(pl.String())).otherwise(exact)


def _rounded(column: pl.Expr) -> pl.Expr:
    return column.fill_nan(0.0).round().cast(pl.Int64())


def _figure_text(figure: str, per_unit: int, texts: Callable[[pl.Expr], pl.Expr]) -> tuple[str, int, pl.Expr]:
    return figure, per_unit, texts(pl.col(figure))


_FIGURE_TEXTS: Mapping[str, tuple[str, int, pl.Expr]] = {
    "ago": _figure_text("days_since_last", 2, _ago_text),
    "gap": _figure_text("gap_median_days", 2, _duration_text),
    "every": _figure_text("gap_median_days", 2, _interval_text),
    "age": _figure_text("age_days", 2, _duration_text),
    "longest": _figure_text("gap_longest_days", 2, _duration_text),
    "purchases": _figure_text("frequency", 1, lambda frequency: _purchases_text(frequency + 1)),
    "year": _figure_text("days_bought_365d", 1, _purchases_text),
    "lately": _figure_text("days_bought_90d", 1, _recent_purchases_text),
    "before": _figure_text("days_bought_90d_before", 1, _earlier_purchases_text),
    "money": _figure_text("spend_typical", 100, _money_text),
}
"""Figure, steps per unit in which it is shown (a median may lie half a day between), and the texts."""


def render_reasons(codes: Codes, figures: Mapping[str, Floats], explanation: Explanation) -> dict[str, pl.Series]:
    """Render reasons with the customers' own figures."""
    phrases = FigureTexts(figures)
    texts = _reason_expressions(explanation)
    index = np.zeros(codes.size, dtype=np.int64)
    parts = [pl.Series("texts", [None], dtype=pl.String())]
    length = 1
    for number, fact in enumerate(REASON_FACTS):
        for side, text in enumerate(texts[fact]):
            here = np.flatnonzero(codes.ravel() == 2 * number + side)
            if len(here):
                index[here] = length + np.arange(len(here))
                sentence = pl.format("{} risk: {}", pl.lit(DIRECTIONS[side]), text)
                parts.append(
                    phrases.of(here // MAX_REASONS, sentence.meta.root_names()).select(texts=sentence)["texts"]
                )
                length += len(here)
    rendered = pl.concat(parts)
    return {f"reason_{number + 1}": rendered.gather(at) for number, at in enumerate(index.reshape(codes.shape).T)}


def _reason_expressions(explanation: Explanation) -> dict[str, tuple[pl.Expr, pl.Expr]]:
    """Texts that raise and texts that lower the risk, by fact."""
    silent, gap, days = pl.col("days_since_last"), pl.col("gap_median_days"), pl.col("frequency") + 1
    last = pl.format("last order {}", pl.col("ago"))
    usually = pl.format("usually every {}", pl.col("every"))
    own = pl.when(days == 2).then(pl.format("{} after the first", pl.col("gap"))).otherwise(usually)
    with_gap = pl.format("{}, {}", last, own)
    late = pl.when((days == 2) & (silent > 2 * gap)).then(pl.format("only 2 purchases, the last {}", pl.col("ago")))
    usual = explanation.usual.get(SPEND_FEATURE)
    money = pl.lit(None, pl.String())
    if usual is not None:
        usual_text = FigureTexts({SPEND_FEATURE: np.array([usual])}).texts("money")[0]
        spent = pl.format("spent {}", pl.col("money"))
        about = pl.format("about {} per purchase", pl.col("money"))
        money = pl.format("{}, usual here {}", pl.when(days == 1).then(spent).otherwise(about), pl.lit(usual_text))
    windows = pl.format("{} in the last 90 days, {} in the 90 before", pl.col("lately"), pl.col("before"))
    return {
        "once": (
            pl.format("one purchase only, {}", pl.col("ago")),
            pl.format("first purchase {}", pl.col("ago")),
        ),
        "silence": (
            late.when(silent > gap).then(with_gap).otherwise(last),
            pl.when((silent <= gap) & (days > 2)).then(with_gap).otherwise(last),
        ),
        "often": _frequency_expressions(explanation.usual["rate"]),
        "lately": (pl.format("buying less: {}", windows), pl.format("buying more: {}", windows)),
        "rhythm": (
            pl.format("uneven rhythm, usually every {} but once {}", pl.col("every"), pl.col("longest")),
            pl.format("steady rhythm, about every {}", pl.col("every")),
        ),
        "money": (money, money),
    }


def _frequency_expressions(usual_rate: float) -> tuple[pl.Expr, pl.Expr]:
    """The count, of the last year or of all time, that supports the direction better."""
    days, age, year = pl.col("frequency") + 1, pl.col("age_days"), pl.col("days_bought_365d")
    in_all = pl.format("{} in {}", pl.col("purchases"), pl.col("age"))
    last_year = pl.format("{} in the last year", pl.col("year"))
    slower = year * age <= 365.0 * days
    few = (
        pl.when(days == 2)
        .then(pl.format("only 2 purchases, {} apart", pl.col("gap")))
        .when((age > 365) & (year >= 1) & slower)
        .then(pl.format("only {}", last_year))
        .when(pl.col("rate") > usual_rate)
        .then(pl.format("only {} so far", pl.col("purchases")))
        .otherwise(pl.format("only {}", in_all))
    )
    many = (
        pl.when(days == 2)
        .then(pl.format("came back once, after {}", pl.col("gap")))
        .when((age > 365) & ~slower & (year >= 3))
        .then(last_year)
        .otherwise(in_all)
    )
    return few, many

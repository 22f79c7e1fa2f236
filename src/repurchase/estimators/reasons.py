"""Up to three reasons per customer: what raises or lowers the risk most, in words, with the customer's own figures.

How much each fact moves the risk comes from the model (see `explain`); here is decided what may be said of it. A part
is told only in words that bear out its direction: where the figures do not, it is counted with the fact that it is
another form of, or not told.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.estimators.design import Design
from repurchase.estimators.explain import SIDES, Explanation
from repurchase.estimators.phrases import Phrases

__all__ = ["LEAST_TOLD", "MOST_REASONS", "TOLD", "figures_of", "ranked", "reasons", "told", "told_parts"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int8]

MOST_REASONS = 3
TOLD = ("once", "silence", "often", "lately", "rhythm", "money")
"""What may be told."""
LEAST_TOLD = 0.15
"""Of log odds; what moves less is not worth a marketer's glance."""
FIGURES = (
    *("frequency", "age_days", "days_since_last", "rate"),
    *("gap_median_days", "gap_longest_days", "gap_irregularity"),
    *("days_bought_90d", "days_bought_90d_before", "days_bought_365d"),
)
MONEY = "spend_typical"


def reasons(features: Design, explanation: Explanation) -> pl.DataFrame:
    """Tell what moves each customer's risk most.

    Parameters
    ----------
    features : Design of shape (n_customers, n_features)
        See `behaviour_table`.
    explanation : Explanation
        Of the model that scored them.

    Returns
    -------
    DataFrame of shape (n_customers, 3)
        See `told`.
    """
    return pl.DataFrame(told(ranked(features, explanation), figures_of(features), explanation))


def figures_of(features: Design) -> dict[str, Floats]:
    """Pick the figures that reasons tell.

    Parameters
    ----------
    features : Design of shape (n_customers, n_features)
        See `behaviour_table`.

    Returns
    -------
    dict of str to array of shape (n_customers,)
        Some of the features.
    """
    return {name: features[name] for name in (*FIGURES, MONEY) if name in features}


def ranked(features: Design, explanation: Explanation) -> Codes:
    """Find what moves each customer's risk most.

    Parameters
    ----------
    features : Design of shape (n_customers, n_features)
        See `behaviour_table`.
    explanation : Explanation
        Of the model that scored them.

    Returns
    -------
    int8 array of shape (n_customers, 3)
        Strongest first: twice the position in ``TOLD``, and one more where it lowers the risk; -1 where fewer move
        the risk by ``LEAST_TOLD``.
    """
    parts = np.column_stack(list(told_parts(features, explanation).values()))
    strength = np.abs(parts)
    strength[strength < LEAST_TOLD] = 0.0
    order = np.argsort(-strength, axis=1, kind="stable")[:, :MOST_REASONS]
    lowers = np.take_along_axis(parts, order, axis=1) >= 0.0
    nothing = np.take_along_axis(strength, order, axis=1) == 0.0
    return np.where(nothing, -1, 2 * order + lowers).astype(np.int8)


def told(codes: Codes, figures: Mapping[str, Floats], explanation: Explanation) -> dict[str, pl.Series]:
    """Put reasons into words, with the customers' own figures.

    Parameters
    ----------
    codes : int8 array of shape (n_customers, 3)
        See `ranked`.
    figures : mapping of str to array of shape (n_customers,)
        See `figures_of`; as the reader counts days, where the model counts them otherwise.
    explanation : Explanation
        Of the model that scored them.

    Returns
    -------
    dict of str to Series of shape (n_customers,)
        ``reason_1`` to ``reason_3``, strongest first, each beginning with its direction; null where there are fewer.
    """
    phrases = Phrases(figures)
    texts = _texts(explanation)
    place = np.zeros(codes.size, dtype=np.int64)
    said = [pl.Series("words", [None], dtype=pl.String())]
    length = 1
    for number, fact in enumerate(TOLD):
        for side, text in enumerate(texts[fact]):
            here = np.flatnonzero(codes.ravel() == 2 * number + side)
            if len(here):
                place[here] = length + np.arange(len(here))
                sentence = pl.format("{} risk: {}", pl.lit(SIDES[side]), text)
                said.append(
                    phrases.of(here // MOST_REASONS, sentence.meta.root_names()).select(words=sentence)["words"]
                )
                length += len(here)
    words = pl.concat(said)
    return {f"reason_{number + 1}": words.gather(at) for number, at in enumerate(place.reshape(codes.shape).T)}


def told_parts(features: Design, explanation: Explanation) -> dict[str, Floats]:
    """Split each customer's distance from the base over what may be told of that customer.

    Of a one-time buyer there is one thing to tell beside money: one purchase, so many days ago. A trend without two
    purchases to show it is counted with the silence or with how often; a rhythm with them too, unless it shows and
    the customer still keeps it; and few purchases with the silence of those who are long overdue.

    Parameters
    ----------
    features : Design of shape (n_customers, n_features)
        See `behaviour_table`.
    explanation : Explanation
        Of the model that scored them.

    Returns
    -------
    dict of str to array of shape (n_customers,)
        Log odds of a purchase above the base; below 0 raises the risk; 0 where the words would not bear it out.
    """
    who = {name: features[name] for name in FIGURES}
    silence, often, lately, rhythm, money = explanation.parts(features).values()
    repeat, quiet = who["frequency"] > 0, who["days_bought_90d"] + who["days_bought_90d_before"] <= 1
    overdue = who["days_since_last"] > np.fmax(who["gap_longest_days"], 2.0 * who["gap_median_days"])
    once = silence + often + lately + rhythm
    trend = _shows_trend(who, lately) & explanation.trusts("lately", lately)
    steps = _shows_rhythm(who, rhythm) & ~overdue & explanation.trusts("rhythm", rhythm)
    silence = silence + np.where(~trend & quiet, lately, 0.0) + np.where(~steps & overdue, rhythm, 0.0)
    often = often + np.where(~trend & ~quiet, lately, 0.0) + np.where(~steps & ~overdue, rhythm, 0.0)
    shows = _shows_silence(who, silence, explanation.usual)
    often = often + np.where(shows, 0.0, silence)
    gone = shows & overdue & (silence < 0.0) & (often < 0.0)
    silence, often = silence + np.where(gone, often, 0.0), np.where(gone, 0.0, often)
    facts = {
        "once": (once, ~repeat & ((once < 0.0) | (who["days_since_last"] <= explanation.usual["days_since_last"]))),
        "silence": (silence, repeat & shows),
        "often": (often, repeat & _shows_count(who, often, explanation.usual)),
        "lately": (lately, repeat & trend),
        "rhythm": (rhythm, repeat & steps),
        "money": (money, _shows_money(features, money, explanation)),
    }
    return {fact: np.where(shown & explanation.trusts(fact, part), part, 0.0) for fact, (part, shown) in facts.items()}


def _shows_trend(who: dict[str, Floats], part: Floats) -> Flags:
    recent, before = who["days_bought_90d"], who["days_bought_90d_before"]
    more = (recent > before) & (recent >= 2) & ((before > 0) | (who["age_days"] >= 180))
    return np.where(part < 0.0, (recent < before) & (before >= 2), more)


def _shows_rhythm(who: dict[str, Floats], part: Floats) -> Flags:
    uneven = (who["gap_irregularity"] > 0.8) & (who["gap_longest_days"] > 2.5 * who["gap_median_days"])
    return np.where(part < 0.0, uneven, who["gap_irregularity"] < 0.6) & (who["frequency"] >= 3)


def _shows_silence(who: dict[str, Floats], part: Floats, usual: Mapping[str, float]) -> Flags:
    days, gap, elsewhere = who["days_since_last"], who["gap_median_days"], usual["days_since_last"]
    return np.where(part < 0.0, (days > gap) | (days > elsewhere), (days <= gap) | (days <= elsewhere))


def _shows_count(who: dict[str, Floats], part: Floats, usual: Mapping[str, float]) -> Flags:
    above = [who[name] - usual[name] for name in ("frequency", "rate", "days_bought_365d")]
    return np.asarray(np.where(part < 0.0, np.minimum.reduce(above) <= 0.0, np.maximum.reduce(above) >= 0.0))


def _shows_money(features: Design, part: Floats, explanation: Explanation) -> Flags:
    if MONEY not in explanation.usual or MONEY not in features:
        return np.zeros(len(part), dtype=np.bool_)
    times = features[MONEY] / explanation.usual[MONEY]
    return np.asarray(np.where((part > 0.0) == explanation.dearer_stays, times > 1.1, times < 0.9))


def _texts(explanation: Explanation) -> dict[str, tuple[pl.Expr, pl.Expr]]:
    """Words that raise and words that lower the risk, by fact."""
    silent, gap, days = pl.col("days_since_last"), pl.col("gap_median_days"), pl.col("frequency") + 1
    last = pl.format("last order {}", pl.col("ago"))
    usually = pl.format("usually every {}", pl.col("every"))
    own = pl.when(days == 2).then(pl.format("{} after the first", pl.col("gap"))).otherwise(usually)
    beside = pl.format("{}, {}", last, own)
    late = pl.when((days == 2) & (silent > 2 * gap)).then(pl.format("only 2 purchases, the last {}", pl.col("ago")))
    usual = explanation.usual.get(MONEY)
    money = pl.lit(None, pl.String())
    if usual is not None:
        here = Phrases({MONEY: np.array([usual])}).words("money")[0]
        spent = pl.format("spent {}", pl.col("money"))
        about = pl.format("about {} per purchase", pl.col("money"))
        money = pl.format("{}, usual here {}", pl.when(days == 1).then(spent).otherwise(about), pl.lit(here))
    windows = pl.format("{} in the last 90 days, {} in the 90 before", pl.col("lately"), pl.col("before"))
    return {
        "once": (
            pl.format("one purchase only, {}", pl.col("ago")),
            pl.format("first purchase {}", pl.col("ago")),
        ),
        "silence": (
            late.when(silent > gap).then(beside).otherwise(last),
            pl.when((silent <= gap) & (days > 2)).then(beside).otherwise(last),
        ),
        "often": _often(explanation.usual["rate"]),
        "lately": (pl.format("buying less: {}", windows), pl.format("buying more: {}", windows)),
        "rhythm": (
            pl.format("uneven rhythm, usually every {} but once {}", pl.col("every"), pl.col("longest")),
            pl.format("steady rhythm, about every {}", pl.col("every")),
        ),
        "money": (money, money),
    }


def _often(usual_rate: float) -> tuple[pl.Expr, pl.Expr]:
    """The one of two counts, of the last year and of all time, that bears the direction out better."""
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

"""What earlier outcomes teach about one horizon: a sum of curves and a booster, from the same customers."""

from dataclasses import dataclass
from datetime import date

from repurchase.estimators.additive import AdditiveHead, fit_additive
from repurchase.estimators.boosting import BoostedHead, TrainingSet, fit_boosted, training_set
from repurchase.estimators.btyd import Btyd
from repurchase.estimators.cuts import Cuts, design_matrix

__all__ = ["Head", "fit_head", "rows_of"]

MOST_ROWS = 60_000
LEAST_PER_CUTOFF = 3_000


@dataclass(frozen=True)
class Head:
    """What was learned about one horizon.

    Parameters
    ----------
    additive : AdditiveHead
        A curve per feature.
    trees : BoostedHead
        Boosted trees.
    """

    additive: AdditiveHead
    trees: BoostedHead


def rows_of(
    cuts: Cuts, as_of: date, btyd: Btyd, other: Btyd, *, horizon_days: int, random_state: int
) -> TrainingSet | None:
    """Gather customers at earlier cut-offs and what they did.

    BTYD keeps the parameters of ``as_of`` at every cut-off: parameters refitted at each would tell the heads of
    another world than the one they are asked about.

    Parameters
    ----------
    cuts : Cuts
        Of a log that may reach beyond ``as_of``.
    as_of : date
        Last day that may be known.
    btyd, other : Btyd
        Fitted on what was known by ``as_of``.
    horizon_days : int
        Days ahead.
    random_state : int
        Seed of the sample.

    Returns
    -------
    TrainingSet or None
        None where there are too few cut-offs or outcomes to learn from.
    """
    days = cuts.train_days(as_of, horizon_days=horizon_days)
    if not days:
        return None
    most = max(LEAST_PER_CUTOFF, MOST_ROWS // len(days))
    known = [cuts.sample(day, most=most, random_state=random_state) for day in days]
    rows = training_set(
        [design_matrix(cut, btyd, other, horizon_days=horizon_days) for cut in known],
        [cuts.outcomes(cut, horizon_days=horizon_days).bought for cut in known],
        [(days[0] - day).days for day in days],
        horizon_days,
    )
    return rows if rows.teaches else None


def fit_head(rows: TrainingSet, *, random_state: int) -> Head:
    """Learn one horizon.

    Parameters
    ----------
    rows : TrainingSet
        Earlier cut-offs.
    random_state : int
        Seed.

    Returns
    -------
    Head
        Fitted.
    """
    return Head(fit_additive(rows.design, rows.bought, rows.weight), fit_boosted(rows, random_state=random_state))

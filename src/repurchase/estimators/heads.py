"""What earlier outcomes teach about one horizon, from the same customers: curves, trees, money, level and season."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from repurchase.estimators.additive import AdditiveHead
from repurchase.estimators.additive_fit import fit_additive
from repurchase.estimators.baseline import Baseline
from repurchase.estimators.blend import blend, expit, mixed, trees_share
from repurchase.estimators.boosting import BoostedHead, TrainingSet, fit_boosted, training_set
from repurchase.estimators.cuts import Cut, Cuts, design_matrix
from repurchase.estimators.design import Design, stacked
from repurchase.estimators.level import (
    LOOK_AHEAD_DAYS,
    Season,
    carried_on,
    latest_misses,
    learn_season,
    level_shift,
    shift_to_share,
)
from repurchase.estimators.purchase_days import PurchaseDaysHead, btyd_days_if_bought, fit_purchase_days
from repurchase.estimators.spend import SpendHead, fit_spend

__all__ = ["Head", "Lessons", "fit_head", "gather", "place"]

Floats = npt.NDArray[np.float64]

MOST_ROWS = 60_000
LEAST_PER_CUTOFF = 3_000
SPEND_CUTOFFS = 6
MOST_BUYERS = 60_000
LEVEL_CUSTOMERS = 20_000
MOST_SPEND_SHIFT = 1.0
NO_SEASON = Season()


class LogOdds(NamedTuple):
    """Log odds of a purchase, one value per customer: of each part, of curves and trees together, and of all."""

    additive: Floats
    trees: Floats
    learned: Floats
    blended: Floats


@dataclass(frozen=True)
class Head:
    """What was learned about one horizon.

    Parameters
    ----------
    additive : AdditiveHead
        A curve per feature.
    trees : BoostedHead
        Boosted trees.
    spend : SpendHead or None
        Money of a buyer.
    days : PurchaseDaysHead or None
        Purchase days of a buyer; None, where a model was saved without, leaves them to BTYD.
    trees_share : float
        How much the trees count beside the curves.
    level : float
        What all customers' log odds are moved by.
    season : Season
        What the time of the year adds.
    """

    additive: AdditiveHead
    trees: BoostedHead
    spend: SpendHead | None
    days: PurchaseDaysHead | None
    trees_share: float
    level: float = 0.0
    season: Season = NO_SEASON

    def log_odds(self, design: Design) -> LogOdds:
        """Log odds of the curves, of the trees, of both, and of both with BTYD at the learned level, without season.

        Parameters
        ----------
        design : Design of shape (n_customers, n_features)
            See `design_matrix`.

        Returns
        -------
        LogOdds
            One value per customer.
        """
        additive, trees = self.additive.total(design), self.trees.log_odds(design)
        learned = mixed(additive, trees, share=self.trees_share)
        return LogOdds(additive, trees, learned, blend(learned, design["btyd_logit"]) + self.level)

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        return {
            "additive": self.additive.to_dict(),
            "trees": self.trees.to_dict(),
            "spend": self.spend and self.spend.to_dict(),
            "days": self.days and self.days.to_dict(),
            "trees_share": self.trees_share,
            "level": self.level,
            "season": {
                "days_ahead": list(self.season.days_ahead),
                "purchase": list(self.season.purchase),
                "spend": list(self.season.spend),
            },
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Head":
        """Restore from `to_dict`.

        Parameters
        ----------
        fields : dict
            What `to_dict` gave.

        Returns
        -------
        Head
            Predicts the same numbers.
        """
        return cls(
            additive=AdditiveHead.from_dict(fields["additive"]),
            trees=BoostedHead.from_dict(fields["trees"]),
            spend=SpendHead.from_dict(fields["spend"]) if fields["spend"] else None,
            days=PurchaseDaysHead.from_dict(fields["days"]) if fields.get("days") else None,
            trees_share=fields["trees_share"],
            level=fields["level"],
            season=Season(**{name: tuple(values) for name, values in fields["season"].items()}),
        )


@dataclass(frozen=True)
class Lessons:
    """Earlier customers to learn one horizon from.

    Parameters
    ----------
    rows : TrainingSet
        Everyone, sampled.
    buyers : Design
        Design of those who bought.
    spend, days, btyd_days, weight : arrays of shape (n_buyers,)
        Their money (NaN without money), their purchase days, those that BTYD expected of a buyer, and how much each
        counts.
    """

    rows: TrainingSet
    buyers: Design
    spend: Floats
    days: Floats
    btyd_days: Floats
    weight: Floats


def gather(cuts: Cuts, as_of: date, baseline: Baseline, *, horizon_days: int, random_state: int) -> Lessons | None:
    """Gather customers at earlier cut-offs and what they did.

    BTYD keeps the parameters of ``as_of`` at every cut-off: parameters refitted at each would tell the heads of
    another world than the one they are asked about.

    Parameters
    ----------
    cuts : Cuts
        Of a log that may reach beyond ``as_of``.
    as_of : date
        Last day that may be known.
    baseline : Baseline
        Fitted on what was known by ``as_of``.
    horizon_days : int
        Days ahead.
    random_state : int
        Seed of the samples.

    Returns
    -------
    Lessons or None
        None where there are too few cut-offs or outcomes to learn from.
    """
    days = cuts.train_days(as_of, horizon_days=horizon_days)
    if not days:
        return None
    most = max(LEAST_PER_CUTOFF, MOST_ROWS // len(days))
    known = [cuts.sample(day, most=most, random_state=random_state) for day in days]
    if not any(len(cut.history.customer) for cut in known):
        return None
    rows = training_set(
        [design_matrix(cut, baseline, horizon_days=horizon_days) for cut in known],
        [cuts.outcomes(cut, horizon_days=horizon_days).bought for cut in known],
        [(days[0] - day).days for day in days],
        horizon_days,
    )
    if not rows.teaches:
        return None
    return Lessons(rows, *_buyers(cuts, days[:SPEND_CUTOFFS], baseline, horizon_days))


def fit_head(lessons: Lessons, *, random_state: int) -> Head:
    """Learn one horizon, level and season left out.

    Parameters
    ----------
    lessons : Lessons
        Earlier customers.
    random_state : int
        Seed.

    Returns
    -------
    Head
        Fitted.
    """
    rows = lessons.rows
    return Head(
        fit_additive(rows.design, rows.bought, rows.weight),
        fit_boosted(rows, random_state=random_state),
        fit_spend(lessons.buyers, lessons.spend, lessons.weight),
        fit_purchase_days(lessons.buyers, lessons.days, lessons.btyd_days, lessons.weight),
        trees_share(len(rows.bought)),
    )


def place(
    head: Head,
    cuts: Cuts,
    as_of: date,
    baseline: Baseline,
    *,
    horizon_days: int,
    random_state: int,
    days_ahead: Sequence[int] = LOOK_AHEAD_DAYS,
) -> Head:
    """Learn the level and the season of a fitted head.

    Parameters
    ----------
    head : Head
        From `fit_head`.
    cuts : Cuts
        Of a log that may reach beyond ``as_of``.
    as_of : date
        Last day that may be known.
    baseline : Baseline
        As for `gather`.
    horizon_days : int
        Days ahead.
    random_state : int
        Seed of the samples.
    days_ahead : sequence of int, optional
        On which days after the fit scores will be asked for.

    Returns
    -------
    Head
        With both.
    """

    def miss(cut: Cut) -> tuple[float, float]:
        return _miss(head, design_matrix(cut, baseline, horizon_days=horizon_days), cuts, cut, horizon_days)

    now = cuts.sample(as_of, most=LEVEL_CUSTOMERS, random_state=random_state)
    design = design_matrix(now, baseline, horizon_days=horizon_days)
    log_odds = head.log_odds(design)
    misses = latest_misses(cuts, as_of, baseline.btyd, horizon_days=horizon_days, random_state=random_state)
    level = level_shift(
        log_odds.blended,
        learned=expit(log_odds.learned),
        btyd=expit(design["btyd_logit"]),
        carried=carried_on(misses),
    )
    season = learn_season(
        cuts, as_of, horizon_days=horizon_days, miss=miss, random_state=random_state, days_ahead=days_ahead
    )
    return replace(head, level=level, season=season)


def _miss(head: Head, design: Design, cuts: Cuts, cut: Cut, horizon_days: int) -> tuple[float, float]:
    """Shifts of log odds and of log money that would have been right at a cut."""
    outcome = cuts.outcomes(cut, horizon_days=horizon_days)
    purchase = shift_to_share(head.additive.total(design), outcome.bought)
    bought = np.flatnonzero(outcome.bought & (np.nan_to_num(outcome.spend) > 0))
    if head.spend is None or not len(bought):
        return purchase, 0.0
    spend = float(np.mean(np.log(outcome.spend[bought]) - head.spend.curves.total(design.rows(bought))))
    return purchase, float(np.clip(spend, -MOST_SPEND_SHIFT, MOST_SPEND_SHIFT))


def _buyers(
    cuts: Cuts, days: Sequence[date], baseline: Baseline, horizon_days: int
) -> tuple[Design, Floats, Floats, Floats, Floats]:
    designs = []
    figures: list[Sequence[Floats]] = []
    for day in days:
        everyone = cuts.at(day)
        outcome = cuts.outcomes(everyone, horizon_days=horizon_days)
        bought = np.flatnonzero(outcome.bought)
        kept = bought[np.linspace(0, len(bought) - 1, min(len(bought), MOST_BUYERS // len(days))).astype(np.int64)]
        cut = Cut(everyone.history.take(kept))
        designs.append(design_matrix(cut, baseline, horizon_days=horizon_days))
        figures.append(
            (
                outcome.spend[kept],
                outcome.purchase_days[kept].astype(np.float64),
                btyd_days_if_bought(cut.outlook(baseline.btyd), horizon_days=horizon_days),
                np.full(len(kept), 2.0 ** (-(days[0] - day).days / (2.0 * horizon_days))),
            )
        )
    spend, purchase_days, btyd_days, weight = map(np.concatenate, zip(*figures, strict=True))
    return stacked(designs), spend, purchase_days, btyd_days, weight

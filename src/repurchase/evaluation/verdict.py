"""Everything measured at one horizon: figures per cut-off, their means, comparisons with the rules, the grade."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from repurchase.evaluation.comparison import (
    Contest,
    Totals,
    buyers_found,
    gains_by_cutoff,
    log_loss_gain,
    money_found,
    totals_of_buyers,
    totals_of_spend,
)
from repurchase.evaluation.cutoffs import MODEL, PARTS, RULES, Cutoff, rules_everywhere
from repurchase.evaluation.grade import Grade, Standing, grade_of
from repurchase.evaluation.metrics import auc, average_precision, brier, chance_ece, ece, log_loss, top_lift
from repurchase.evaluation.spend import decile_error, poisson_deviance, spearman, spend_gini, total_bias
from repurchase.evaluation.ties import Floats, mean
from repurchase.evaluation.uncertainty import Estimate

__all__ = ["PREDICTORS", "Verdict", "measure", "verdict_on"]

PREDICTORS = (MODEL, *RULES, *PARTS)
SPEND_METRICS: dict[str, Callable[[Floats, Floats], float]] = {
    "spend_gini": spend_gini,
    "spend_spearman": spearman,
    "spend_decile_error": decile_error,
    "spend_bias": total_bias,
}
PURCHASE_DAYS_METRICS: dict[str, Callable[[Floats, Floats], float]] = {
    "purchase_days_bias": total_bias,
    "purchase_days_error": lambda came, expected: mean(np.abs(expected - came)),
    "purchase_days_deviance": poisson_deviance,
}


@dataclass(frozen=True)
class Verdict:
    """One horizon, judged.

    Parameters
    ----------
    cutoffs : tuple of Cutoff
        What was judged, by rising day.
    figures : dict of str to tuple of dict
        By predictor: the metrics (see `measure`) at each cut-off it spoke at.
    standing : Standing
        What the grade is made from.
    grade : Grade
        The grade.
    gain : Estimate
        Share of the best rule's log loss saved.
    buyers : Contest
        Buyers in the top of the list.
    money : Contest, optional
        Spend in the top of the list.
    buyer_totals : Totals
        How far the number of buyers was off.
    spend_totals : Totals, optional
        How far the spend was off.
    """

    cutoffs: tuple[Cutoff, ...]
    figures: dict[str, tuple[dict[str, float], ...]]
    standing: Standing
    grade: Grade
    gain: Estimate
    buyers: Contest
    money: Contest | None
    buyer_totals: Totals
    spend_totals: Totals | None

    @property
    def horizon_days(self) -> int:
        """Days ahead."""
        return self.cutoffs[0].horizon_days

    def means(self, predictor: str) -> dict[str, float]:
        """Average a predictor's figures over its cut-offs.

        Parameters
        ----------
        predictor : str
            One of ``figures``.

        Returns
        -------
        dict of str to float
            Means over the cut-offs where a figure is defined, nan where it never is; and ``n_cutoffs``.
        """
        return {**_means(self.figures[predictor]), "n_cutoffs": len(self.figures[predictor])}

    def explained(self, predictor: str) -> float:
        """Share of the base rate's log loss that a predictor removes.

        Parameters
        ----------
        predictor : str
            One of ``figures``.

        Returns
        -------
        float
            Over the cut-offs at which some bought and others did not; nan where there is none.
        """
        means = _means_where_open(self.figures[predictor])
        return 1 - means["log_loss"] / means["base_log_loss"]


def measure(cutoff: Cutoff, *, predictor: str) -> dict[str, float]:
    """Every metric of one predictor at one cut-off.

    Parameters
    ----------
    cutoff : Cutoff
        What came and what was said.
    predictor : str
        Who said it.

    Returns
    -------
    dict of str to float
        nan where undefined.
    """
    said, bought = cutoff.said[predictor], cutoff.bought
    figures = {
        "log_loss": log_loss(bought, said.p),
        "auc": auc(bought, said.p),
        "average_precision": average_precision(bought, said.p),
        "ece": ece(bought, said.p),
        "chance_ece": chance_ece(said.p),
        "brier": brier(bought, said.p),
        "base_rate": float(bought.mean()),
        "base_log_loss": log_loss(bought, np.full(len(bought), bought.mean())),
        "top_decile_lift": top_lift(bought, said.p),
        "buyers_bias": total_bias(bought, said.p),
    }
    return {
        **figures,
        **_figures(SPEND_METRICS, cutoff.spend, said.spend),
        **_figures(PURCHASE_DAYS_METRICS, cutoff.purchase_days, said.purchase_days),
    }


def verdict_on(cutoffs: Sequence[Cutoff]) -> Verdict:
    """Judge one horizon.

    Parameters
    ----------
    cutoffs : sequence of Cutoff
        All cut-offs of the horizon, at least one.

    Returns
    -------
    Verdict
        Figures, comparisons and grade.

    Raises
    ------
    InputError
        If no rule spoke at every cut-off.
    """
    rules = rules_everywhere(cutoffs)
    measured = {
        name: tuple(measure(cutoff, predictor=name) for cutoff in cutoffs if name in cutoff.said) for name in PREDICTORS
    }
    figures = {name: rows for name, rows in measured.items() if rows}
    losses = {rule: _means(figures[rule])["log_loss"] for rule in rules}
    best_rule = min(rules, key=losses.__getitem__)
    gain = log_loss_gain(cutoffs, rule=best_rule)
    ours, rule = (_means_where_open(figures[name]) for name in (MODEL, best_rule))
    standing = Standing(
        best_rule=best_rule,
        rule_loss=losses[best_rule],
        gain_low=gain.low,
        gains_by_cutoff=gains_by_cutoff(cutoffs, rules=rules),
        open_losses=(ours["base_log_loss"], rule["log_loss"], ours["log_loss"]),
        **_of_the_model(cutoffs, _means(figures[MODEL])),
    )
    return Verdict(
        cutoffs=tuple(cutoffs),
        figures=figures,
        standing=standing,
        grade=grade_of(standing),
        gain=gain,
        buyers=buyers_found(cutoffs, rules=rules),
        money=money_found(cutoffs, rules=rules),
        buyer_totals=totals_of_buyers(cutoffs),
        spend_totals=totals_of_spend(cutoffs),
    )


def _of_the_model(cutoffs: Sequence[Cutoff], means: Mapping[str, float]) -> dict[str, Any]:
    n_bought = sum(int(cutoff.bought.sum()) for cutoff in cutoffs)
    return {
        "base_loss": means["base_log_loss"],
        "model_loss": means["log_loss"],
        "ece": means["ece"],
        "chance_ece": means["chance_ece"],
        "n_bought": n_bought,
        "n_not": sum(len(cutoff.bought) for cutoff in cutoffs) - n_bought,
    }


def _figures(
    metrics: Mapping[str, Callable[[Floats, Floats], float]], came: Floats | None, expected: Floats | None
) -> dict[str, float]:
    if came is None or expected is None:
        return dict.fromkeys(metrics, math.nan)
    return {name: metric(came, expected) for name, metric in metrics.items()}


def _means_where_open(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average over the cut-offs at which some bought and others did not."""
    opened = [row for row in rows if 0 < row["base_rate"] < 1]
    return _means(opened) if opened else dict.fromkeys(rows[0], math.nan)


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    defined = {name: [row[name] for row in rows if not math.isnan(row[name])] for name in rows[0]}
    return {name: math.fsum(found) / len(found) if found else math.nan for name, found in defined.items()}

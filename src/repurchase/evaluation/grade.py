"""All metrics of one horizon, and the grade A to D made from them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from repurchase.evaluation.comparison import (
    MODEL,
    MODEL_PARTS,
    RULE_NAMES,
    Cutoff,
    ListComparison,
    TotalError,
    buyer_total_error,
    buyers_found,
    gains_by_cutoff,
    log_loss_gain,
    money_found,
    rules_at_every_cutoff,
    spend_total_error,
)
from repurchase.evaluation.metrics import (
    Estimate,
    auc,
    average_precision,
    brier,
    chance_ece,
    decile_error,
    ece,
    exact_mean,
    log_loss,
    poisson_deviance,
    spearman,
    spend_gini,
    top_lift,
    total_bias,
)
from repurchase.features.history import Floats
from repurchase.i18n.messages import Message, message


@dataclass(frozen=True)
class _GradeRequirement:
    """What a grade asks for."""

    letter: str
    better: float
    ece: float
    explained: float
    cutoffs: int
    always: bool


GRADE_REQUIREMENTS = (
    _GradeRequirement("A", better=0.10, ece=0.02, explained=0.05, cutoffs=3, always=True),
    _GradeRequirement("B", better=0.05, ece=0.04, explained=0.02, cutoffs=1, always=False),
)
MIN_OUTCOMES = 20
"""Fewer buyers, or fewer non-buyers, over all cut-offs: no grade."""
MIN_CUTOFFS_IF_ALWAYS_BETTER = 3
"""Better at every one of so many cut-offs counts as shown, even where the interval reaches zero."""


def grading_rule() -> Message:
    """How the grade is made."""
    first, second = GRADE_REQUIREMENTS
    return message(
        "grade_rule",
        a_lead=first.better,
        a_cutoffs=first.cutoffs,
        a_ece=first.ece,
        a_explained=first.explained,
        b_lead=second.better,
        b_ece=second.ece,
        b_explained=second.explained,
        always_cutoffs=MIN_CUTOFFS_IF_ALWAYS_BETTER,
    )


@dataclass(frozen=True)
class GradeInputs:
    """What a grade is made from: one horizon, over all its cut-offs."""

    best_rule: str
    base_loss: float
    rule_loss: float
    model_loss: float
    gain_low: float
    gains_by_cutoff: tuple[float, ...]
    ece: float
    chance_ece: float
    n_bought: int
    n_not: int
    open_losses: tuple[float, float, float] | None = None

    @property
    def gain(self) -> float:
        """Share of the best rule's log loss that the model saves: less is left unexplained."""
        return 1 - self.model_loss / self.rule_loss

    @property
    def explained(self) -> float:
        """Share of the base rate's log loss that the model removes."""
        base, _, model = self._open_losses
        return 1 - model / base

    @property
    def rule_explained(self) -> float:
        """Share of the base rate's log loss that the best rule removes; negative where it misleads."""
        base, rule, _ = self._open_losses
        return 1 - rule / base

    @property
    def _open_losses(self) -> tuple[float, float, float]:
        return self.open_losses or (self.base_loss, self.rule_loss, self.model_loss)

    @property
    def explained_more(self) -> float:
        """How much more is explained than by the best rule, as a share; inf where the rule explains nothing."""
        if self.rule_explained <= 0:
            return math.inf if self.explained > 0 else math.nan
        return self.explained / self.rule_explained - 1

    @property
    def always_better(self) -> bool:
        """Whether the model beat every rule at every cut-off."""
        return all(gain > 0 for gain in self.gains_by_cutoff)

    @property
    def is_significant(self) -> bool:
        """Whether the interval of the gain lies above zero."""
        return self.gain_low > 0

    @property
    def shown_better(self) -> bool:
        """Whether the model is shown to be better than the best rule."""
        always = self.always_better and len(self.gains_by_cutoff) >= MIN_CUTOFFS_IF_ALWAYS_BETTER
        return self.gain > 0 and (self.is_significant or always)


@dataclass(frozen=True)
class Grade:
    """A letter and what it rests on."""

    letter: str
    message: Message


def excess_ece(ece: float, chance_ece: float) -> float:
    """Calibration error beyond what chance alone does with so many customers.

    Errors of chance and of the model add up like independent spreads: sqrt(max(ece² - chance², 0)). Without this a
    shop with 500 customers could never show that its probabilities are right.
    """
    return math.sqrt(max(ece**2 - chance_ece**2, 0.0))


def grade_of(standing: GradeInputs) -> Grade:
    """Grade one horizon by ``RULE``."""
    few = min(standing.n_bought, standing.n_not)
    if few < MIN_OUTCOMES:
        kind = "too_few_bought" if standing.n_bought == few else "too_few_not"
        return Grade("-", message(f"verdict.{kind}", n=few, needed=MIN_OUTCOMES))
    if not standing.shown_better:
        kind = "maybe_chance" if standing.gain > 0 else "worse"
        return Grade("D", message(f"verdict.{kind}", rule=standing.best_rule))
    lead = _lead(standing)
    for level in GRADE_REQUIREMENTS:
        if not shortfalls(standing, level):
            off = excess_ece(standing.ece, standing.chance_ece)
            return Grade(level.letter, message("verdict.ahead", lead=lead, ece=standing.ece, excess_ece=off))
    return Grade("C", message("verdict.but", lead=lead, shortfalls=shortfalls(standing, GRADE_REQUIREMENTS[-1])))


def shortfalls(standing: GradeInputs, level: _GradeRequirement) -> list[Message]:
    """What keeps a model from a grade."""
    off, explained = excess_ece(standing.ece, standing.chance_ece), standing.explained
    demands = (
        (off <= level.ece, message("shortfall.off", excess_ece=off)),
        (explained >= level.explained, message("shortfall.explains_little", explained=max(explained, 0.0))),
        (
            max(standing.explained_more, standing.gain) >= level.better,
            message("shortfall.small", needed=level.better),
        ),
        (standing.is_significant, message("shortfall.chance")),
        (standing.always_better or not level.always, message("shortfall.once_worse")),
        (len(standing.gains_by_cutoff) >= level.cutoffs, message("shortfall.few_cutoffs", needed=level.cutoffs)),
    )
    return [shortfall for holds, shortfall in demands if not holds]


def _lead(standing: GradeInputs) -> Message:
    """How far ahead of the best rule the model is."""
    rule, more = standing.best_rule, standing.explained_more
    if math.isinf(more):
        return message("lead.alone", explained=standing.explained, rule=rule)
    if math.isnan(more) or more < standing.gain:
        return message("lead.less_left", gain=standing.gain, rule=rule)
    if more >= 1:
        return message("lead.times", times=1 + more, rule=rule)
    return message("lead.more", more=more, rule=rule)


_PREDICTORS = (MODEL, *RULE_NAMES, *MODEL_PARTS)
_SPEND_METRICS: dict[str, Callable[[Floats, Floats], float]] = {
    "spend_gini": spend_gini,
    "spend_spearman": spearman,
    "spend_decile_error": decile_error,
    "spend_bias": total_bias,
}
_PURCHASE_DAYS_METRICS: dict[str, Callable[[Floats, Floats], float]] = {
    "purchase_days_bias": total_bias,
    "purchase_days_error": lambda came, expected: exact_mean(np.abs(expected - came)),
    "purchase_days_deviance": poisson_deviance,
}


@dataclass(frozen=True)
class HorizonEvaluation:
    """One horizon, judged."""

    cutoffs: tuple[Cutoff, ...]
    figures: dict[str, tuple[dict[str, float], ...]]
    standing: GradeInputs
    grade: Grade
    gain: Estimate
    buyers: ListComparison
    money: ListComparison | None
    buyer_totals: TotalError
    spend_totals: TotalError | None

    @property
    def horizon_days(self) -> int:
        """Days ahead."""
        return self.cutoffs[0].horizon_days

    def means(self, predictor: str) -> dict[str, float]:
        """Average a predictor's figures over its cut-offs."""
        return {**_means(self.figures[predictor]), "n_cutoffs": len(self.figures[predictor])}

    def explained(self, predictor: str) -> float:
        """Share of the base rate's log loss that a predictor removes."""
        means = _means_where_both_outcomes(self.figures[predictor])
        return 1 - means["log_loss"] / means["base_log_loss"]


def predictor_metrics(cutoff: Cutoff, *, predictor: str) -> dict[str, float]:
    """Every metric of one predictor at one cut-off."""
    output, bought = cutoff.outputs[predictor], cutoff.bought
    figures = {
        "log_loss": log_loss(bought, output.p),
        "auc": auc(bought, output.p),
        "average_precision": average_precision(bought, output.p),
        "ece": ece(bought, output.p),
        "chance_ece": chance_ece(output.p),
        "brier": brier(bought, output.p),
        "base_rate": float(bought.mean()),
        "base_log_loss": log_loss(bought, np.full(len(bought), bought.mean())),
        "top_decile_lift": top_lift(bought, output.p),
        "buyers_bias": total_bias(bought, output.p),
    }
    return {
        **figures,
        **_metric_values(_SPEND_METRICS, cutoff.spend, output.spend),
        **_metric_values(_PURCHASE_DAYS_METRICS, cutoff.purchase_days, output.purchase_days),
    }


def evaluate_horizon(cutoffs: Sequence[Cutoff]) -> HorizonEvaluation:
    """Judge one horizon."""
    rules = rules_at_every_cutoff(cutoffs)
    measured = {
        name: tuple(predictor_metrics(cutoff, predictor=name) for cutoff in cutoffs if name in cutoff.outputs)
        for name in _PREDICTORS
    }
    figures = {name: rows for name, rows in measured.items() if rows}
    losses = {rule: _means(figures[rule])["log_loss"] for rule in rules}
    best_rule = min(rules, key=losses.__getitem__)
    gain = log_loss_gain(cutoffs, rule=best_rule)
    ours, rule = (_means_where_both_outcomes(figures[name]) for name in (MODEL, best_rule))
    standing = GradeInputs(
        best_rule=best_rule,
        rule_loss=losses[best_rule],
        gain_low=gain.low,
        gains_by_cutoff=gains_by_cutoff(cutoffs, rules=rules),
        open_losses=(ours["base_log_loss"], rule["log_loss"], ours["log_loss"]),
        **_model_inputs(cutoffs, _means(figures[MODEL])),
    )
    return HorizonEvaluation(
        cutoffs=tuple(cutoffs),
        figures=figures,
        standing=standing,
        grade=grade_of(standing),
        gain=gain,
        buyers=buyers_found(cutoffs, rules=rules),
        money=money_found(cutoffs, rules=rules),
        buyer_totals=buyer_total_error(cutoffs),
        spend_totals=spend_total_error(cutoffs),
    )


def _model_inputs(cutoffs: Sequence[Cutoff], means: Mapping[str, float]) -> dict[str, Any]:
    n_bought = sum(int(cutoff.bought.sum()) for cutoff in cutoffs)
    return {
        "base_loss": means["base_log_loss"],
        "model_loss": means["log_loss"],
        "ece": means["ece"],
        "chance_ece": means["chance_ece"],
        "n_bought": n_bought,
        "n_not": sum(len(cutoff.bought) for cutoff in cutoffs) - n_bought,
    }


def _metric_values(
    metrics: Mapping[str, Callable[[Floats, Floats], float]], came: Floats | None, expected: Floats | None
) -> dict[str, float]:
    if came is None or expected is None:
        return dict.fromkeys(metrics, math.nan)
    return {name: metric(came, expected) for name, metric in metrics.items()}


def _means_where_both_outcomes(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average over the cut-offs at which some bought and others did not."""
    opened = [row for row in rows if 0 < row["base_rate"] < 1]
    return _means(opened) if opened else dict.fromkeys(rows[0], math.nan)


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    defined = {name: [row[name] for row in rows if not math.isnan(row[name])] for name in rows[0]}
    return {name: math.fsum(found) / len(found) if found else math.nan for name, found in defined.items()}

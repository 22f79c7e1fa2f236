"""A grade from A to D, by a rule that is written beside it.

What is graded is what the model adds to the best rule a shop could follow without it. The rules are strong here:
their probabilities are calibrated on earlier outcomes. So a share of their log loss alone is a poor yardstick: where
the base rate leaves 0.43 open and a rule 0.33, no model reaches 0.30. The yardstick is what is *explained* of who
buys, the share of the base rate's log loss that a predictor removes (McFadden's pseudo-R², against the base rate in
hindsight): a tenth more than the best rule explains is a lot on every log tried. Where a rule explains nearly all,
little is left to explain: there, leaving a tenth less unexplained counts as well.
"""

import math
from dataclasses import dataclass

from repurchase.evaluation.cutoffs import RULES

__all__ = [
    "LEVELS",
    "MIN_OUTCOMES",
    "RULE",
    "Grade",
    "Level",
    "Standing",
    "excess_ece",
    "grade_of",
    "lead_words",
    "shortfalls",
]


@dataclass(frozen=True)
class Level:
    """What a grade asks for.

    Parameters
    ----------
    letter : str
        The grade.
    better : float
        Explained at least this share more than the best rule does, or left this share less unexplained.
    ece : float
        Calibration error at most this, beyond chance.
    explained : float
        At least this share of who buys explained: below, nobody is told apart, however poor the rules.
    cutoffs : int
        Judged at so many cut-offs at least: one cut-off is one draw.
    always : bool
        Whether the model must beat every rule at every cut-off.
    """

    letter: str
    better: float
    ece: float
    explained: float
    cutoffs: int
    always: bool


LEVELS = (
    Level("A", better=0.10, ece=0.02, explained=0.05, cutoffs=3, always=True),
    Level("B", better=0.05, ece=0.04, explained=0.02, cutoffs=1, always=False),
)
MIN_OUTCOMES = 20
"""Fewer buyers, or fewer non-buyers, over all cut-offs: no grade."""
SURE_CUTOFFS = 3
"""Better at every one of so many cut-offs counts as shown, even where the interval reaches zero."""


def percent(share: float, digits: int = 0, *, signed: bool = False) -> str:
    """Write a share as a reader expects it.

    Parameters
    ----------
    share : float
        The share.
    digits : int
        After the point.
    signed : bool
        Whether to write a plus.

    Returns
    -------
    str
        With a space before the sign; never minus zero.

    Examples
    --------
    >>> percent(0.1234, 1), percent(-0.001, signed=True)
    ('12.3 %', '+0 %')
    """
    rounded = round(100 * share, digits) + 0.0
    return f"{rounded:{'+' if signed else ''}.{digits}f} %"


def _rule() -> str:
    first, second = LEVELS
    return (
        f"{first.letter}: explains at least {percent(first.better)} more of who buys than the best rule does (or "
        f"leaves {percent(first.better)} less unexplained), beyond chance and at each of {first.cutoffs} or more "
        f"cut-offs, with probabilities right within {first.ece}. "
        f"{second.letter}: at least {percent(second.better)}, beyond chance, within {second.ece}. "
        f"C: better than the best rule, beyond chance or at each of {SURE_CUTOFFS} or more cut-offs. "
        "D: not shown to be better than a rule. "
        "Explained: the share of the log loss of 'all customers are alike' that is removed; "
        f"{first.letter} asks for {percent(first.explained)} of it, {second.letter} for {percent(second.explained)}. "
        "Right within: mean gap between promised and actual share of buyers in ten equal groups, beyond what chance "
        "does. Beyond chance: the 95 % interval over customers lies above zero."
    )


RULE = _rule()
"""How the grade is made, for readers."""


@dataclass(frozen=True)
class Standing:
    """What a grade is made from: one horizon, over all its cut-offs.

    Parameters
    ----------
    best_rule : str
        The rule with the lowest mean log loss.
    base_loss, rule_loss, model_loss : float
        Mean log loss of the base rate (in hindsight, at each cut-off), the best rule and the model.
    gain_low : float
        Lower end of the 95 % interval of 1 - model_loss / rule_loss.
    gains_by_cutoff : tuple of float
        Share of log loss saved at each cut-off against the rule that was best there.
    ece, chance_ece : float
        The model's calibration error, and what chance alone would make it.
    n_bought, n_not : int
        Outcomes over all cut-offs.
    open_losses : tuple of float, optional
        The three mean losses over the cut-offs at which some bought and others did not: where all did the same, there
        is nothing to explain. Without it those over all cut-offs.
    """

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
    def beyond_chance(self) -> bool:
        """Whether the interval of the gain lies above zero."""
        return self.gain_low > 0

    @property
    def shown_better(self) -> bool:
        """Whether the model is shown to be better than the best rule."""
        always = self.always_better and len(self.gains_by_cutoff) >= SURE_CUTOFFS
        return self.gain > 0 and (self.beyond_chance or always)


@dataclass(frozen=True)
class Grade:
    """A letter and one sentence.

    Parameters
    ----------
    letter : str
        A to D, or - where there is nothing to judge by.
    words : str
        The grade in one sentence.
    """

    letter: str
    words: str


def excess_ece(ece: float, chance_ece: float) -> float:
    """Calibration error beyond what chance alone does with so many customers.

    Errors of chance and of the model add up like independent spreads: sqrt(max(ece² - chance², 0)). Without this a
    shop with 500 customers could never show that its probabilities are right.

    Parameters
    ----------
    ece : float
        As measured.
    chance_ece : float
        As expected of true probabilities.

    Returns
    -------
    float
        0 where chance explains all of it.

    Examples
    --------
    >>> round(excess_ece(0.05, 0.04), 6), excess_ece(0.03, 0.04)
    (0.03, 0.0)
    """
    return math.sqrt(max(ece**2 - chance_ece**2, 0.0))


def grade_of(standing: Standing) -> Grade:
    """Grade one horizon by ``RULE``.

    Parameters
    ----------
    standing : Standing
        What was measured.

    Returns
    -------
    Grade
        Letter and sentence.

    Examples
    --------
    >>> worse = Standing("past_rate", 0.40, 0.30, 0.31, -0.05, (-0.03,), 0.01, 0.005, 500, 4500)
    >>> grade_of(worse).words
    "Worse than a simple rule: use the customer's own past rate instead."
    """
    few = min(standing.n_bought, standing.n_not)
    if few < MIN_OUTCOMES:
        kind = "bought" if standing.n_bought == few else "did not buy"
        return Grade("-", f"Not judged: only {few} customers {kind} in the time looked at; {MIN_OUTCOMES} are needed.")
    if not standing.shown_better:
        return Grade("D", _words_of_failure(standing))
    for level in LEVELS:
        if not shortfalls(standing, level):
            return Grade(level.letter, _words_of_success(standing))
    return Grade("C", _words_of_shortfall(standing))


def shortfalls(standing: Standing, level: Level) -> tuple[str, ...]:
    """What keeps a model from a grade.

    Parameters
    ----------
    standing : Standing
        What was measured.
    level : Level
        The grade's demands.

    Returns
    -------
    tuple of str
        Clauses; empty where nothing does.

    Examples
    --------
    >>> small_lead = Standing("past_rate", 0.40, 0.30, 0.298, -0.002, (0.007,), 0.01, 0.005, 500, 4500)
    >>> shortfalls(small_lead, LEVELS[1])
    ('its lead is below 5 %', 'its lead could be chance')
    """
    off = excess_ece(standing.ece, standing.chance_ece)
    demands = (
        (off <= level.ece, f"its probabilities are off by {off:.3f} beyond chance"),
        (
            standing.explained >= level.explained,
            f"it explains only {percent(max(standing.explained, 0.0), 1)} of who buys",
        ),
        (max(standing.explained_more, standing.gain) >= level.better, f"its lead is below {percent(level.better)}"),
        (standing.beyond_chance, "its lead could be chance"),
        (standing.always_better or not level.always, "a rule was better at a cut-off"),
        (len(standing.gains_by_cutoff) >= level.cutoffs, f"it was judged at fewer than {level.cutoffs} cut-offs"),
    )
    return tuple(words for holds, words in demands if not holds)


def _words_of_success(standing: Standing) -> str:
    beyond = excess_ece(standing.ece, standing.chance_ece)
    off = f"its probabilities are off by {standing.ece:.3f} on average, {beyond:.3f} beyond chance"
    return f"The model {lead_words(standing)}, and {off}."


def _words_of_failure(standing: Standing) -> str:
    rule = RULES[standing.best_rule]
    if standing.gain > 0:
        return f"Not shown to be better than a simple rule: the lead may be chance. Use {rule} instead."
    return f"Worse than a simple rule: use {rule} instead."


def _words_of_shortfall(standing: Standing) -> str:
    why = " and ".join(shortfalls(standing, LEVELS[-1]))
    return f"The model {lead_words(standing)}, but {why}."


def lead_words(standing: Standing) -> str:
    """Say how far ahead of the best rule the model is.

    Parameters
    ----------
    standing : Standing
        What was measured; the model is ahead.

    Returns
    -------
    str
        A clause, to follow "The model".

    Examples
    --------
    >>> lead_words(Standing("past_rate", 0.40, 0.30, 0.28, 0.05, (0.07,), 0.01, 0.005, 500, 4500))
    "explains 20 % more of who buys than the best rule (the customer's own past rate)"
    """
    rule = RULES[standing.best_rule]
    more = standing.explained_more
    if math.isinf(more):
        return f"explains {percent(standing.explained)} of who buys, where the best rule ({rule}) explains nothing"
    if math.isnan(more) or more < standing.gain:
        return f"leaves {percent(standing.gain, 1)} less of who buys unexplained than the best rule ({rule})"
    if more >= 1:
        return f"explains {1 + more:.1f} times as much of who buys as the best rule ({rule})"
    return f"explains {percent(more)} more of who buys than the best rule ({rule})"

"""The model against the rules, over all cut-offs of one horizon, with intervals."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from repurchase.evaluation.cutoffs import MODEL, Cutoff
from repurchase.evaluation.metrics import log_loss, log_losses
from repurchase.evaluation.spend import total_bias
from repurchase.evaluation.ties import Floats, mean
from repurchase.evaluation.uncertainty import Estimate, estimate, ratio_influence, top_influence, top_total

__all__ = [
    "TOP",
    "Contest",
    "Totals",
    "buyers_found",
    "gains_by_cutoff",
    "log_loss_gain",
    "money_found",
    "totals_of_buyers",
    "totals_of_spend",
]

TOP = 0.1
"""Share of customers a campaign is taken to reach."""


@dataclass(frozen=True)
class Contest:
    """What the model's contact list brings beside the best rule's list of the same length.

    Parameters
    ----------
    model, rule : float
        Brought by either list, mean over cut-offs.
    rule_name : str
        The rule whose list brought most.
    gain : Estimate
        Model less rule.
    available : float
        What all customers brought, mean over cut-offs.
    """

    model: float
    rule: float
    rule_name: str
    gain: Estimate
    available: float


@dataclass(frozen=True)
class Totals:
    """How far the model's total is off.

    Parameters
    ----------
    bias : Estimate
        Expected over actual total, less one; mean over the cut-offs where it is defined.
    by_cutoff : tuple of float
        The same at each cut-off; nan where nothing came, as nobody bought.
    """

    bias: Estimate
    by_cutoff: tuple[float, ...]

    @property
    def error(self) -> float:
        """Mean size of the error at one cut-off, whichever its sign: what to expect next time."""
        return mean(np.abs(np.asarray(self.defined)))

    @property
    def defined(self) -> tuple[float, ...]:
        """The errors of the cut-offs at which something came."""
        return tuple(bias for bias in self.by_cutoff if not math.isnan(bias))


def log_loss_gain(cutoffs: Sequence[Cutoff], *, rule: str) -> Estimate:
    """Share of a rule's log loss that the model saves.

    1 - M / R, with M and R the mean log losses of model and rule, each the mean over cut-offs of the mean over
    customers. Both are judged on the same customers, so what is hard for both cancels and the interval is narrow.

    Parameters
    ----------
    cutoffs : sequence of Cutoff
        Of one horizon.
    rule : str
        Which rule; it spoke at every cut-off.

    Returns
    -------
    Estimate
        Below 1; negative where the rule is better.
    """
    ours = [log_losses(cutoff.bought, cutoff.said[MODEL].p) for cutoff in cutoffs]
    theirs = [log_losses(cutoff.bought, cutoff.said[rule].p) for cutoff in cutoffs]
    below = math.fsum(map(mean, theirs))
    left = math.fsum(map(mean, ours)) / below
    influences = [(left * b - a) / (len(a) * below) for a, b in zip(ours, theirs, strict=True)]
    return estimate(1 - left, influences, [cutoff.customers for cutoff in cutoffs])


def gains_by_cutoff(cutoffs: Sequence[Cutoff], *, rules: Sequence[str]) -> tuple[float, ...]:
    """Share of log loss saved against whichever rule was best at that very cut-off.

    Parameters
    ----------
    cutoffs : sequence of Cutoff
        Of one horizon.
    rules : sequence of str
        Rules that spoke at every cut-off.

    Returns
    -------
    tuple of float
        One per cut-off.
    """
    losses = [{name: log_loss(cutoff.bought, cutoff.said[name].p) for name in (MODEL, *rules)} for cutoff in cutoffs]
    return tuple(1 - loss[MODEL] / min(loss[rule] for rule in rules) for loss in losses)


def buyers_found(cutoffs: Sequence[Cutoff], *, rules: Sequence[str]) -> Contest:
    """Buyers found by contacting the ``TOP`` share with the highest probabilities, model beside rules.

    Parameters
    ----------
    cutoffs : sequence of Cutoff
        Of one horizon.
    rules : sequence of str
        Rules that spoke at every cut-off.

    Returns
    -------
    Contest
        In customers per cut-off.
    """
    return _contest(cutoffs, rules, lambda cutoff, name: (cutoff.bought.astype(np.float64), cutoff.said[name].p))


def money_found(cutoffs: Sequence[Cutoff], *, rules: Sequence[str]) -> Contest | None:
    """Net spend found by contacting the ``TOP`` share, model beside rules.

    Each ranks by its own expected spend, or by its probability where it expects none. It counts what the customers
    contacted spent anyway: not what contacting them would add.

    Parameters
    ----------
    cutoffs : sequence of Cutoff
        Of one horizon.
    rules : sequence of str
        Rules that spoke at every cut-off.

    Returns
    -------
    Contest or None
        In money per cut-off; None where the log has none.
    """
    spends = {id(cutoff): cutoff.spend for cutoff in cutoffs if cutoff.spend is not None}
    if len(spends) < len(cutoffs):
        return None
    return _contest(cutoffs, rules, lambda cutoff, name: (spends[id(cutoff)], cutoff.said[name].spend_order))


def totals_of_buyers(cutoffs: Sequence[Cutoff]) -> Totals:
    """How far the model's probabilities, added up, are from the number that bought.

    Parameters
    ----------
    cutoffs : sequence of Cutoff
        Of one horizon.

    Returns
    -------
    Totals
        nan where nobody bought at any cut-off.
    """
    return _totals(cutoffs, [(cutoff.bought.astype(np.float64), cutoff.said[MODEL].p) for cutoff in cutoffs])


def totals_of_spend(cutoffs: Sequence[Cutoff]) -> Totals | None:
    """How far the model's expected spend, added up, is from what came.

    Parameters
    ----------
    cutoffs : sequence of Cutoff
        Of one horizon.

    Returns
    -------
    Totals or None
        None where a cut-off has no money or the model expects none.
    """
    pairs = [(cutoff.spend, cutoff.said[MODEL].spend) for cutoff in cutoffs]
    known = [(spend, expected) for spend, expected in pairs if spend is not None and expected is not None]
    return _totals(cutoffs, known) if len(known) == len(cutoffs) else None


def _totals(cutoffs: Sequence[Cutoff], pairs: Sequence[tuple[Floats, Floats]]) -> Totals:
    biases = tuple(total_bias(actual, expected) for actual, expected in pairs)
    judged = [place for place, bias in enumerate(biases) if not math.isnan(bias)]
    influences = [ratio_influence(pairs[place][1], pairs[place][0]) / len(judged) for place in judged]
    customers = [cutoffs[place].customers for place in judged]
    return Totals(estimate(mean(np.asarray([biases[place] for place in judged])), influences, customers), biases)


def _contest(
    cutoffs: Sequence[Cutoff], rules: Sequence[str], values_and_score: Callable[[Cutoff, str], tuple[Floats, Floats]]
) -> Contest:
    count = len(cutoffs)
    pairs = {name: [values_and_score(cutoff, name) for cutoff in cutoffs] for name in (MODEL, *rules)}
    found = {name: math.fsum(top_total(*pair, share=TOP) for pair in pairs[name]) / count for name in pairs}
    rule = max(rules, key=found.__getitem__)
    influences = [
        (top_influence(*ours, share=TOP) - top_influence(*theirs, share=TOP)) / count
        for ours, theirs in zip(pairs[MODEL], pairs[rule], strict=True)
    ]
    gain = estimate(found[MODEL] - found[rule], influences, [cutoff.customers for cutoff in cutoffs])
    available = math.fsum(math.fsum(values.tolist()) for values, _ in pairs[MODEL]) / count
    return Contest(model=found[MODEL], rule=found[rule], rule_name=rule, gain=gain, available=available)

"""The evaluation in sentences: what speaks for the grade, and what limits it."""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise

from repurchase.evaluation.comparison import TOP, Contest, Totals
from repurchase.evaluation.cutoffs import BTYD, MODEL, RULES, Cutoff
from repurchase.evaluation.grade import LEVELS, SURE_CUTOFFS, excess_ece, percent, shortfalls
from repurchase.evaluation.verdict import Verdict

__all__ = ["limits_of", "reasons_of"]

FEW_CUSTOMERS = 1000
"""Below this many customers a cut-off, groups of a tenth are too small to trust."""
FEW_BUYERS = 100
BASE_MOVED = 1.2
"""Highest over lowest base rate of a horizon's cut-offs, from which the world is said to have moved."""
ONE_YEAR_DAYS = 365


def reasons_of(verdict: Verdict, *, currency: str | None = None) -> list[str]:
    """Say in figures why the grade is what it is.

    Parameters
    ----------
    verdict : Verdict
        The horizon that is graded.
    currency : str, optional
        As shown beside money.

    Returns
    -------
    list of str
        Sentences for a reader who knows no statistics; money and totals only where there are any.
    """
    sentences = [_lead(verdict), _btyd_alone(verdict), _by_cutoff(verdict), _calibration(verdict), _buyers(verdict)]
    if verdict.money:
        sentences.append(_money(verdict.money, currency))
    sentences.append(_total(verdict.buyer_totals, "The number of buyers"))
    if verdict.spend_totals:
        sentences.append(_total(verdict.spend_totals, "Spend"))
    missing = shortfalls(verdict.standing, LEVELS[0])
    if verdict.grade.letter in "BC" and missing:
        sentences.append(f"What keeps it from an {LEVELS[0].letter}: {'; '.join(missing)}.")
    return [sentence for sentence in sentences if sentence]


def limits_of(
    verdicts: Mapping[int, Verdict], why_not: Mapping[int, str], *, primary: int | None, asked: int | None
) -> list[str]:
    """Say what the judgement cannot tell.

    Parameters
    ----------
    verdicts : mapping of int to Verdict
        Horizons judged.
    why_not : mapping of int to str
        Horizons not judged, and why.
    primary : int, optional
        Horizon whose grade is the model's.
    asked : int, optional
        Horizon that was to be it.

    Returns
    -------
    list of str
        Sentences; the weightiest first.
    """
    sentences = [f"{h} days ahead could not be judged: {_clause(why)}." for h, why in why_not.items()]
    if asked is not None and primary is not None and asked != primary:
        sentences.append(f"The grade is for {primary} days ahead, as {asked} days could not be judged.")
    for h, verdict in verdicts.items():
        if h != primary and verdict.grade.letter == "D":
            rule = RULES[verdict.standing.best_rule]
            sentences.append(
                f"{h} days ahead the model is not shown to be better than a simple rule: use {rule} there."
            )
    if primary is not None and primary in verdicts:
        sentences += _of_the_data(verdicts[primary].cutoffs)
    return sentences


def _lead(verdict: Verdict) -> str:
    standing, gain = verdict.standing, verdict.gain
    return (
        f"Of what is open about who buys within {verdict.horizon_days} days, the model explains "
        f"{_explained(standing.explained)} and the best rule ({RULES[standing.best_rule]}) "
        f"{_explained(standing.rule_explained)}: "
        f"log loss {standing.model_loss:.4f} against {standing.rule_loss:.4f}, {_size(gain.value)} "
        f"(95 % interval {_range((gain.low, gain.high), 1)} saved)."
    )


def _btyd_alone(verdict: Verdict) -> str:
    if BTYD not in verdict.figures:
        return ""
    return (
        f"The purchase-rate model alone (MBG/NBD) explains {_explained(verdict.explained(BTYD))}: "
        f"log loss {verdict.means(BTYD)['log_loss']:.4f}."
    )


def _explained(share: float) -> str:
    return percent(share, 1) if share > 0 else "nothing"


def _size(gain: float) -> str:
    return f"{percent(abs(gain), 1)} {'lower' if gain >= 0 else 'higher'}"


def _by_cutoff(verdict: Verdict) -> str:
    gains = verdict.standing.gains_by_cutoff
    won = sum(gain > 0 for gain in gains)
    saved = f", saving {_range(gains, 1)} of log loss" if len(gains) > 1 else ""
    return f"It beat every rule at {won} of {_count(len(gains), 'cut-off')}{saved}."


def _calibration(verdict: Verdict) -> str:
    ece, chance = verdict.standing.ece, verdict.standing.chance_ece
    beyond = excess_ece(ece, chance)
    return (
        f"Promised and actual share of buyers differ by {ece:.3f} on average over ten equal groups; with this many "
        f"customers chance alone makes {chance:.3f}, which leaves {beyond:.3f}."
    )


def _buyers(verdict: Verdict) -> str:
    found, lift = verdict.buyers, verdict.means(MODEL)["top_decile_lift"]
    if not found.available > 0:
        return ""
    return (
        f"The top {percent(TOP)} of its list hold {lift:.1f} times the buyers of a random list: {found.model:,.0f} of "
        f"{found.available:,.0f}, {_against(found, '')}."
    )


def _money(found: Contest, currency: str | None) -> str:
    if not found.available > 0:
        return ""
    unit = f" {currency}" if currency else ""
    return (
        f"Contacting the top {percent(TOP)} by expected spend would have reached customers who spent "
        f"{found.model:,.0f}{unit} ({percent(found.model / found.available)} of all), {_against(found, unit)}."
    )


def _against(found: Contest, unit: str) -> str:
    return (
        f"against {found.rule:,.0f}{unit} with the best rule ({RULES[found.rule_name]}): {found.gain.value:+,.0f}"
        f"{unit} (95 % interval {found.gain.low:+,.0f} to {found.gain.high:+,.0f})"
    )


def _total(totals: Totals, what: str) -> str:
    bias, judged = totals.bias, totals.defined
    if not judged:
        return ""
    seen = f"{_range(judged)} at {len(judged)} cut-offs; " if len(judged) > 1 else ""
    return (
        f"{what} in total: expect an error of {percent(totals.error)}; so far the model promised "
        f"{percent(abs(bias.value))} {'more' if bias.value >= 0 else 'less'} than came "
        f"({seen}95 % interval {_range((bias.low, bias.high))})."
    )


def _of_the_data(cutoffs: Sequence[Cutoff]) -> list[str]:
    sentences = (_few_customers(cutoffs), _few_cutoffs(cutoffs), _overlap(cutoffs), _season(cutoffs), _moved(cutoffs))
    return [sentence for sentence in sentences if sentence]


def _few_customers(cutoffs: Sequence[Cutoff]) -> str:
    customers = min(len(cutoff.customers) for cutoff in cutoffs)
    buyers = min(int(cutoff.bought.sum()) for cutoff in cutoffs)
    if customers >= FEW_CUSTOMERS and buyers >= FEW_BUYERS:
        return ""
    return f"Few to judge by: {customers:,} customers and {buyers:,} buyers at a cut-off, so the intervals are wide."


def _few_cutoffs(cutoffs: Sequence[Cutoff]) -> str:
    if len(cutoffs) >= SURE_CUTOFFS:
        return ""
    return f"Judged at {_count(len(cutoffs), 'cut-off')} only: how much the figures vary over time is not known."


def _overlap(cutoffs: Sequence[Cutoff]) -> str:
    steps = [(after.day - before.day).days for before, after in pairwise(cutoffs)]
    if not steps or min(steps) >= cutoffs[0].horizon_days:
        return ""
    return (
        f"The {len(cutoffs)} cut-offs lie {min(steps)} days apart and look {cutoffs[0].horizon_days} days ahead: "
        "they share outcomes and are less than as many independent draws."
    )


def _season(cutoffs: Sequence[Cutoff]) -> str:
    first, last = cutoffs[0].day, cutoffs[-1].day + timedelta(days=cutoffs[0].horizon_days)
    if (last - first).days >= ONE_YEAR_DAYS:
        return ""
    return (
        f"The outcomes judged lie between {first + timedelta(days=1)} and {last}, {(last - first).days} days: how the "
        "model does in the rest of the year was not seen."
    )


def _moved(cutoffs: Sequence[Cutoff]) -> str:
    """Tell of a base rate that moved by more than its size and chance allow."""
    rates = sorted((float(cutoff.bought.mean()), len(cutoff.bought)) for cutoff in cutoffs)
    (low, n_low), (high, n_high) = rates[0], rates[-1]
    chance = math.sqrt(low * (1 - low) / n_low + high * (1 - high) / n_high)
    if high <= BASE_MOVED * low or high - low <= 2 * chance:
        return ""
    return (
        f"The share that bought lay between {percent(low, 1)} and {percent(high, 1)} (season, growth or campaigns): "
        "probabilities may be off again when it moves next."
    )


def _range(shares: Sequence[float], digits: int = 0) -> str:
    low, high = (percent(end(shares), digits, signed=True) for end in (min, max))
    return low if low == high else f"{low} to {high}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _clause(words: str) -> str:
    return words.strip().rstrip(".")

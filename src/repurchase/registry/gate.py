"""The gate: a new model must beat the rules, and the champion on the same cut-offs and customers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from repurchase.errors import InputError

__all__ = ["Losses", "Verdict", "judge_candidate", "judge_evaluation", "losses_of"]

Losses = Mapping[str, Mapping[str, float]]
"""By cut-off (ISO): ``log_loss`` and ``n_customers``."""

MODEL = "model"
RULES = {"days_since_last": "days since last order", "past_rate": "own past rate"}


REFUSED_GRADES = ("D", "-")


@dataclass(frozen=True)
class Verdict:
    """What the gate says.

    Parameters
    ----------
    passed : bool
        Whether the candidate may become champion.
    words : str
        Why, and by how much.
    numbers : dict
        Mean log loss of ``candidate``, of ``best_rule``, of ``champion`` where there is one, and the gains as shares.
    """

    passed: bool
    words: str
    numbers: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Write the verdict down.

        Returns
        -------
        dict
            JSON-able.
        """
        return {"passed": self.passed, "words": self.words, "numbers": self.numbers}


def judge_evaluation(
    evaluation: Mapping[str, Any], champion: Mapping[str, Any] | None = None, *, tolerance: float = 0.0
) -> Verdict:
    """Judge a candidate by its evaluation, on its primary horizon.

    Parameters
    ----------
    evaluation : mapping
        The candidate's (see ``evaluation.judgement``).
    champion : mapping, optional
        The champion's, made anew on the candidate's cut-offs and customers; not the one from its own training.
    tolerance : float
        See `judge_candidate`.

    Returns
    -------
    Verdict
        Refused as well if nothing could be judged, or the lead over the rules may be chance (grade D).

    Examples
    --------
    >>> judge_evaluation({"primary_horizon_days": None, "backtest": []}).words
    'Not judged: the history is too short to hold back later orders, so nothing shows that it beats the rules.'
    """
    days = evaluation.get("primary_horizon_days")
    candidate = losses_of(evaluation, predictor=MODEL, horizon_days=days)
    if not candidate:
        why = "the history is too short to hold back later orders"
        return Verdict(False, f"Not judged: {why}, so nothing shows that it beats the rules.")
    rules = {name: losses_of(evaluation, predictor=name, horizon_days=days) for name in RULES}
    theirs = None if champion is None else losses_of(champion, predictor=MODEL, horizon_days=days)
    if evaluation.get("grade") in REFUSED_GRADES:
        return Verdict(False, f"Refused: grade {evaluation['grade']}. {evaluation.get('grade_words', '')}".strip())
    if theirs is not None and theirs.keys() != candidate.keys():
        return Verdict(False, f"Not compared: the champion was not judged at {days} days. --force if that is meant.")
    comparable = {name: losses for name, losses in rules.items() if losses.keys() == candidate.keys()}
    if not comparable:
        return Verdict(False, f"Not judged: no rule was judged at {days} days, so nothing shows that it beats one.")
    return judge_candidate(candidate, comparable, theirs, tolerance=tolerance)


def losses_of(evaluation: Mapping[str, Any], *, predictor: str, horizon_days: int | None) -> Losses:
    """Take one predictor's log losses out of an evaluation.

    Parameters
    ----------
    evaluation : mapping
        With its ``backtest``.
    predictor : str
        ``model``, or a rule.
    horizon_days : int, optional
        Days ahead.

    Returns
    -------
    mapping
        By cut-off; empty if it was not judged. A cut-off without a log loss is left out.
    """
    return {
        row["cutoff"]: {"log_loss": float(row["log_loss"]), "n_customers": int(row["n_customers"])}
        for row in evaluation.get("backtest", [])
        if row["predictor"] == predictor and row["horizon_days"] == horizon_days and row.get("log_loss") is not None
    }


def judge_candidate(
    candidate: Losses, rules: Mapping[str, Losses], champion: Losses | None, *, tolerance: float = 0.0
) -> Verdict:
    """Let a candidate pass if its mean log loss over the cut-offs is below the best rule's and the champion's.

    Parameters
    ----------
    candidate : mapping
        The candidate's losses by cut-off.
    rules : mapping
        By rule: its losses at the same cut-offs. At least one.
    champion : mapping, optional
        The champion's losses at the same cut-offs.
    tolerance : float
        Share by which the candidate may be worse than the champion and pass; 0 asks it to be better.

    Returns
    -------
    Verdict
        Passed or not, in words and numbers.

    Raises
    ------
    InputError
        If there is no rule, or cut-offs or customers differ.

    Examples
    --------
    >>> day = "1998-01-01"
    >>> verdict = judge_candidate(
    ...     {day: {"log_loss": 0.3121, "n_customers": 900}},
    ...     {"days_since_last": {day: {"log_loss": 0.3305, "n_customers": 900}}},
    ...     None,
    ... )
    >>> print(verdict.words)
    Passed: log loss 0.3121 against 0.3305 of the best rule (days since last order): 5.6 % better. No champion yet.
    """
    if not rules:
        raise InputError("The gate needs at least one rule to compare with; none was given.")
    for losses in (*rules.values(), *([champion] if champion is not None else [])):
        _require_same_customers(candidate, losses)
    means = {rule: _mean(losses) for rule, losses in rules.items()}
    best = min(means, key=means.__getitem__)
    own = _mean(candidate)
    numbers = {"candidate": own, "best_rule": means[best], "gain_over_rule": _gain(own, means[best])}
    beaten = [f"{means[best]:.4f} of the best rule ({RULES.get(best, best)}): {_share(own, means[best])}"]
    passed = own < means[best]
    if champion is not None:
        theirs = _mean(champion)
        numbers |= {"champion": theirs, "gain_over_champion": _gain(own, theirs)}
        beaten.append(f"{theirs:.4f} of the champion: {_share(own, theirs)}")
        passed = passed and (own < theirs if tolerance == 0 else own <= theirs * (1 + tolerance))
    words = f"{'Passed' if passed else 'Refused'}: log loss {own:.4f} against {', and '.join(beaten)}."
    return Verdict(passed, words if champion is not None else f"{words} No champion yet.", numbers)


def _require_same_customers(candidate: Losses, other: Losses) -> None:
    mine, theirs = ({day: row["n_customers"] for day, row in sorted(losses.items())} for losses in (candidate, other))
    if mine != theirs or not mine:
        raise InputError(
            f"The gate compares on the same cut-offs and customers only. Candidate: {_counts(mine)}; "
            f"the other: {_counts(theirs)}. Judge both in one backtest."
        )


def _counts(customers: Mapping[str, float]) -> str:
    return ", ".join(f"{day} ({count:,})" for day, count in customers.items()) or "none"


def _mean(losses: Losses) -> float:
    return math.fsum(row["log_loss"] for row in losses.values()) / len(losses)


def _gain(own: float, other: float) -> float:
    return 1 - own / other if other > 0 else 0.0  # nothing is left to gain over a loss of zero


def _share(own: float, other: float) -> str:
    gain = _gain(own, other)
    if own == other:
        return "the same"
    shown = f"{abs(gain):.1%}".replace("%", " %")
    if shown == "0.0 %":
        shown = "less than 0.1 %"
    return f"{shown} {'better' if gain > 0 else 'worse'}"

"""Whether to train again, and why, in words: from what came of the scores, drift, and the model's age."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from repurchase.evaluation.grade import percent

__all__ = ["CALIBRATION_OFF", "MAX_AGE_DAYS", "advise", "reference_of"]

CALIBRATION_OFF = 0.04
"""Calibration error beyond chance from which a model is to be trained again: what grade B allows."""
MAX_AGE_DAYS = 180
ORDER = "ABCD"
BEST_AT_ONE_CUTOFF = "B"
"""An A asks for three cut-offs; scores that were delivered once are one."""
COMPARED = ("log_loss", "auc", "ece", "chance_ece", "base_rate", "top_decile_lift")


def reference_of(evaluation: Mapping[str, Any], *, horizon_days: int) -> dict[str, Any] | None:
    """Take from a training's evaluation what a horizon of its scores is compared with.

    Parameters
    ----------
    evaluation : mapping
        See `judgement.judge`.
    horizon_days : int
        Which horizon.

    Returns
    -------
    dict, optional
        Grade, gain over the best rule and the model's mean figures over the training's cut-offs; None where the
        horizon was not judged.
    """
    for row in evaluation.get("horizons") or []:
        if row.get("horizon_days") == horizon_days and row.get("judged") and row.get("model"):
            figures = {name: row["model"].get(name) for name in COMPARED}
            return {"grade": row.get("grade"), "log_loss_gain": row.get("log_loss_gain"), **figures}
    return None


def advise(
    horizons: Sequence[Mapping[str, Any]],
    *,
    drift: Mapping[str, Any],
    age_days: int,
    primary_horizon_days: int | None = None,
    max_age_days: int = MAX_AGE_DAYS,
) -> dict[str, Any]:
    """Say whether to train again.

    Reasons are: probabilities that were off by more than 0.04 beyond chance at a horizon that has passed; a grade that
    fell by more than chance at the horizon the model is graded on; drifted orders; and age.

    Parameters
    ----------
    horizons : sequence of mapping
        See `realised.look_back`, each with its ``then`` (see `reference_of`).
    drift : mapping
        See `drift.drift_from`.
    age_days : int
        Days from the model's last day to the last day observed.
    primary_horizon_days : int, optional
        Horizon the model is graded on; where it has not passed, the longest one that has.
    max_age_days : int
        Age above which a model is to be trained again.

    Returns
    -------
    dict
        ``retrain``, ``reasons`` (each ``kind`` and ``words``) and ``words``.

    Examples
    --------
    >>> advise([], drift={"drifted": False, "words": "The orders are like before."}, age_days=200)["words"]
    'Train again: the model is 200 days old; 180 are allowed.'
    """
    passed = [row for row in horizons if row["passed"]]
    reasons = [
        *_calibration(passed),
        *_grade(passed, primary_horizon_days),
        *_drift(drift),
        *_age(age_days, max_age_days),
    ]
    said = [{"kind": kind, "words": words} for kind, words in reasons]
    if said:
        words = f"Train again: {'; '.join(row['words'] for row in said)}."
    else:
        words = f"Keep the model: {_fine(passed, horizons, drift, age_days)}."
    return {"retrain": bool(said), "reasons": said, "words": words}


def _calibration(passed: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for row in passed:
        off = row["model"]["excess_ece"]
        if off > CALIBRATION_OFF:
            words = (
                f"{row['horizon_days']} days ahead probabilities were off by {off:.3f} beyond chance (promised "
                f"{percent(row['p_mean'], 1)} buyers, {percent(row['bought_share'], 1)} came)"
            )
            yield "calibration", words


def _grade(passed: Sequence[Mapping[str, Any]], primary: int | None) -> Iterator[tuple[str, str]]:
    judged = [row for row in passed if row["grade"] in ORDER]
    own = [row for row in judged if row["horizon_days"] == primary] or judged[-1:]
    for row in own:
        then = row.get("then") or {}
        if then.get("grade") not in list(ORDER) or then.get("log_loss_gain") is None:
            continue
        expected = max(then["grade"], BEST_AT_ONE_CUTOFF)
        if row["grade"] > expected and row["log_loss_gain_high"] < then["log_loss_gain"]:
            words = (
                f"{row['horizon_days']} days ahead the grade fell from {then['grade']} to {row['grade']} "
                f"({percent(row['log_loss_gain'], 1, signed=True)} log loss saved beside the best rule, "
                f"{percent(then['log_loss_gain'], 1, signed=True)} in training)"
            )
            yield "grade", words


def _drift(drift: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if drift["drifted"]:
        words = str(drift["words"]).rstrip(".")
        yield "drift", words[:1].lower() + words[1:]


def _age(age_days: int, most: int) -> Iterator[tuple[str, str]]:
    if age_days > most:
        yield "age", f"the model is {age_days} days old; {most} are allowed"


def _fine(
    passed: Sequence[Mapping[str, Any]], horizons: Sequence[Mapping[str, Any]], drift: Mapping[str, Any], age_days: int
) -> str:
    says = []
    if passed:
        ahead = ", ".join(str(row["horizon_days"]) for row in passed)
        says.append(f"what it promised for {ahead} days came, right within {CALIBRATION_OFF} beyond chance")
    elif horizons:
        first = min(date.fromisoformat(row["ends"]) for row in horizons)
        says.append(f"no window of these scores has passed yet, the first does on {first}")
    if drift.get("known"):
        says.append("the orders have not drifted")
    says.append(f"it is {age_days} days old")
    return "; ".join(says)

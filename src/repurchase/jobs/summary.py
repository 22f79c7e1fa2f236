"""What a job came to, in the lines that the command line prints."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repurchase.jobs.scoring.score import Scored
    from repurchase.jobs.train import Trained
    from repurchase.registry.versions import VersionRow

__all__ = ["score_lines", "training_lines", "unscored_words", "version_line"]


def training_lines(trained: "Trained") -> list[str]:
    """Say how a model was judged, and where it is.

    Parameters
    ----------
    trained : Trained
        The training.

    Returns
    -------
    list of str
        Grade, reasons, limits, the table of the backtest, the verdict; what to do where it was refused.
    """
    evaluation = trained.evaluation
    standing = "is the champion" if trained.verdict.passed else "is kept as challenger"
    next_step = [] if trained.verdict.passed else [_next_step(trained)]
    return [
        "",
        f"Grade {evaluation['grade']}: {evaluation['grade_words']}",
        *(f"  - {words}" for words in (*evaluation["reasons"], *evaluation["limits"])),
        _backtest_table(evaluation),
        trained.verdict.words,
        f"Version {trained.version} {standing}. Model: {trained.folder}",
        *next_step,
    ]


def _next_step(trained: "Trained") -> str:
    version, numbers = trained.version, trained.verdict.numbers
    force = f"`repurchase models promote {version} --force`"
    if "champion" in numbers and numbers["gain_over_rule"] > 0:
        return f"Next: nothing; the champion goes on scoring. {force} takes this one all the same."
    return (
        "Next: train on a longer history, if there is one. Until then rank customers by a rule, such as "
        f"days_since_last in the scores (`repurchase score ORDERS --model {version}`); {force} takes it all the same."
    )


def score_lines(scored: "Scored") -> list[str]:
    """Say who was scored, where the scores are, and whether the orders have drifted.

    Parameters
    ----------
    scored : Scored
        The run.

    Returns
    -------
    list of str
        Two to four lines.
    """
    run, counts = scored.run, scored.run["counts"]
    words = (
        f"{counts['scored']:,} customer{'' if counts['scored'] == 1 else 's'} scored as of {run['as_of']} "
        f"by version {run['model_version']}; {unscored_words(counts)}. Scores: {scored.out}{_beside(scored)}"
    )
    twice = f"{counts['duplicates_in_list']:,} ids stood in the list more than once; each is scored once."
    changed = _changed(run["changes"])
    return [words, *([twice] if counts["duplicates_in_list"] else []), *changed, str(run["drift"]["words"])]


def unscored_words(counts: Mapping[str, int]) -> str:
    """Say how many customers have no predictions, and why.

    Parameters
    ----------
    counts : mapping
        ``no_purchases`` and ``no_history``.

    Returns
    -------
    str
        A clause; those with orders but no purchase day are named where there are any.
    """
    kept_nothing = counts["no_purchases"]
    named = f"{kept_nothing:,} with orders but no purchase (all cancelled, returned or free); " if kept_nothing else ""
    return f"{named}{counts['no_history']:,} without history"


def _changed(changes: dict[str, Any] | None) -> list[str]:
    found = (changes or {}).get("customers") or {}
    named = {
        "corrected": "with other earlier orders than then",
        "gone": "gone",
        "late": "with earlier orders that were not there then",
    }
    told = [f"{found[name]:,} {words}" for name, words in named.items() if found.get(name)]
    if changes is None or not told:
        return []
    return [f"Customers beside the last run (as of {changes['as_of']}): {'; '.join(told)}."]


def version_line(row: "VersionRow") -> str:
    """Show a kept version.

    Parameters
    ----------
    row : VersionRow
        Of the list of versions.

    Returns
    -------
    str
        One line.
    """
    if row.fault:
        return f"{row.version:>4}  unusable: {row.fault}"
    judged = ""
    if row.log_loss is not None and row.best_rule_log_loss is not None:
        against = f"log loss {row.log_loss:.4f}, best rule {row.best_rule_log_loss:.4f}"
        judged = f"  grade {row.grade} at {row.horizon_days} days ({against})"
    return f"{row.version:>4}  as of {row.as_of}{judged}  {', '.join(row.aliases)}".rstrip()


def _beside(scored: "Scored") -> str:
    if isinstance(scored.out, Path):
        return ""
    replaced = scored.run["outputs"]["scores"]["rows_replaced"]
    return f" ({replaced:,} rows of the same day and model replaced). Record: {scored.record}"


def _backtest_table(evaluation: dict[str, Any]) -> str:
    lines = [f"{'days':>5} {'cut-off':<11}{'customers':>10} {'predictor':<16}{'log loss':>9}{'AUC':>8}{'ECE':>8}"]
    lines.extend(
        f"{row['horizon_days']:>5} {row['cutoff']:<11}{row['n_customers']:>10,} {row['predictor']:<16}"
        f"{_metric(row.get('log_loss')):>9}{_metric(row.get('auc')):>8}{_metric(row.get('ece')):>8}"
        for row in evaluation["backtest"]
        if row["predictor"] in {"model", "days_since_last", "past_rate"}
    )
    return "\n".join(lines)


def _metric(value: float | None) -> str:
    """Four digits, or a dash where the metric is not defined: there is no AUC where nobody, or everybody, bought."""
    return "-" if value is None else f"{value:.4f}"

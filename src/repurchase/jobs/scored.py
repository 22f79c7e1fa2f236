"""Scores that further work stands on: of one day, one model and this version, with the record that belongs to them."""

from pathlib import Path

from repurchase.errors import InputError
from repurchase.report.reading import Facts, gather, one_run, read_run, read_scores

__all__ = ["scores_of"]


def scores_of(path: Path) -> Facts:
    """Read what one run of `repurchase score` wrote, with its record if there is one.

    Parameters
    ----------
    path : Path
        Scores.

    Returns
    -------
    Facts
        Scores and record.

    Raises
    ------
    InputError
        If these are no scores, of nobody, of several days or models, of another version, or of another model than
        their record says.
    """
    scores = read_scores(path)
    run, why_not = read_run(path)
    if why_not and path.with_suffix(".run.json").is_file():
        raise InputError(f"{path}: scores of another version: {why_not} Score again with this version.")
    facts = one_run(gather(scores, run, name=str(path)), name=str(path))
    if not facts.scores.height:
        raise InputError(f"{path}: no customers. Send what `repurchase score` wrote.")
    return facts

"""Where campaigns and their measurements are written, and what must not be written over."""

from datetime import date
from pathlib import Path

from repurchase.errors import DeliveryError, InputError
from repurchase.jobs.campaigns.files import CAMPAIGN, MEASURED, Campaign
from repurchase.storage.outputs import json_in

__all__ = ["campaign_path", "measured_path", "require_longer"]

_OTHER_FILES = (".csv", ".htm", ".html", ".json", ".jsonl", ".parquet", ".tsv", ".txt", ".xls", ".xlsx")
"""Endings, in small letters, of what is plainly meant as a file: no folder is made of that name."""


def campaign_path(out: Path) -> Path:
    """Find the campaign's main file.

    Parameters
    ----------
    out : Path
        A .json file, or a folder for one.

    Returns
    -------
    Path
        The .json file.

    Raises
    ------
    InputError
        If a file of another kind is named.
    DeliveryError
        If a campaign lies there already: one that went out must not be drawn again.

    Examples
    --------
    >>> str(campaign_path(Path("spring/may")))
    'spring/may/campaign.json'
    """
    path = out if out.suffix == ".json" else _folder(out, what="a campaign", file="*.json") / CAMPAIGN
    if path.exists():
        raise DeliveryError(
            f"{path} is there already. A campaign that has gone out must not be drawn again: choose another --out, or "
            "remove it if it never went out."
        )
    return path


def measured_path(planned: Campaign, out: Path | None) -> Path:
    """Find where a measurement goes.

    Parameters
    ----------
    planned : Campaign
        What was measured.
    out : Path, optional
        ``*.measured.json``, or a folder for it; default beside the campaign.

    Returns
    -------
    Path
        The .measured.json file.

    Raises
    ------
    InputError
        If a file is to be called otherwise: it would not be found again.
    """
    name = planned.path.stem + MEASURED
    if out is None:
        return planned.path.with_name(name)
    if out.name.endswith(MEASURED) and out.name != MEASURED:
        return out
    if out.suffix == ".json":
        raise InputError(f"--out {out}: a measurement is called *{MEASURED}. Say --out {out.with_suffix(MEASURED)}.")
    return _folder(out, what="a measurement", file=f"*{MEASURED}") / name


def _folder(out: Path, *, what: str, file: str) -> Path:
    if out.suffix.lower() in _OTHER_FILES:
        raise InputError(f"--out {out}: {what} is written as {file}, or into a folder. Choose another name.")
    return out


def require_longer(path: Path, planned: Campaign, *, days: int, until: date) -> None:
    """Refuse to put a measurement of fewer days in the place of one of more, or of another campaign.

    Parameters
    ----------
    path : Path
        Where it is to go. What cannot be read there is no measurement, and may go.
    planned : Campaign
        What was measured.
    days : int
        Days observed now.
    until : date
        Last day observed now.

    Raises
    ------
    DeliveryError
        If it would be lost.
    """
    try:
        there = json_in(path)
        seen, last, plan = int(there["observed_days"]), there["observed_until"], there["planned"]["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if plan != planned.record["digest"]:
        raise DeliveryError(
            f"{path} is the measurement of another campaign. Nothing was written: choose another --out."
        )
    if days < seen:
        raise DeliveryError(
            f"{path}: measured over {seen} days already (up to {last}), these orders give {days} (up to {until}). It "
            f"was kept, nothing was written. To keep both: --out {path.with_name(f'to-{until}{MEASURED}')}"
        )

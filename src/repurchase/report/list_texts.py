"""Lists in the language that is spoken: headings, and what stands in the cells.

Lists are made in English; here, at the door, they are put into the words of a reader. Columns of days, such as
``reach_on``, stay YYYY-MM-DD: the spreadsheets of every locale take that for a date, and `repurchase lists --contacted`
reads it back. ``when`` is words, with its day as the language writes it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import polars as pl

from repurchase.marketing.list_rules import ListRules
from repurchase.report.language import LOCALES, catalogue, locale, say
from repurchase.report.phrases import action_name, reason_words, segment_name
from repurchase.report.retold import retold

__all__ = ["id_headings", "repair_told", "rows_told", "with_headings"]


_BLANKS = {ord("\u00a0"): " ", ord("\u202f"): " "}
"""Cells are searched and sorted; there a blank is a blank."""


def with_headings(rules: ListRules) -> ListRules:
    """Give the plain lists headings that can be read.

    Parameters
    ----------
    rules : ListRules
        Names that are told there stay.

    Returns
    -------
    ListRules
        As it is in English, where headings are the identifiers that README explains, and for mail tools, which tell
        columns by these.
    """
    if rules.mail_tool != "plain" or locale() == "en":
        return rules
    return replace(rules, columns={**rules.columns, "plain": {**_headings(), **rules.columns.get("plain", {})}})


def id_headings() -> list[str]:
    """Name the column of ids in every language.

    Returns
    -------
    list of str
        Headings.

    Examples
    --------
    >>> id_headings()
    ['customer_id', 'Kunde-ID', 'Klant-ID', 'ID покупателя']
    """
    return [str(catalogue(name)["lists.column.customer_id"]) for name in LOCALES]


def _headings() -> dict[str, str]:
    start = "lists.column."
    return {key.removeprefix(start): str(text) for key, text in catalogue(locale()).items() if key.startswith(start)}


def rows_told(rows: pl.DataFrame) -> pl.DataFrame:
    """Say what stands in the cells of a list.

    Parameters
    ----------
    rows : DataFrame
        From `marketing.lists.list_rows`.

    Returns
    -------
    DataFrame
        The same in English; what is not known stays as it stands.
    """
    if locale() == "en":
        return rows
    return rows.with_columns(_told(rows[name], say_it) for name, say_it in _CELLS.items() if name in rows.columns)


def repair_told(repair: pl.DataFrame) -> pl.DataFrame:
    """Say what is wrong with contacts, under headings that can be read.

    Parameters
    ----------
    repair : DataFrame
        See `marketing.contacts.Contacts`.

    Returns
    -------
    DataFrame
        The same in English.
    """
    if locale() == "en":
        return repair
    told = repair.with_columns(_told(repair["what"], _within("repair")))
    headings = _headings()
    return told.rename({name: headings.get(name, name) for name in told.columns})


def _told(values: pl.Series, say_it: Callable[[str], str]) -> pl.Series:
    if values.dtype == pl.Boolean:
        flags = {flag: say(f"lists.flag.{str(flag).lower()}") for flag in (True, False)}
        return values.replace_strict(flags, return_dtype=pl.String)
    given = values.unique().drop_nulls()
    told = {text: say_it(text).translate(_BLANKS) for text in given}
    return values.replace_strict(told, default=None, return_dtype=pl.String)


def _within(part: str) -> Callable[[str], str]:
    return lambda text: retold(text, within=f"lists.{part}") or text


def _segment(text: str) -> str:
    return retold(text, within="lists.segment") or segment_name(text)


def _action(text: str) -> str:
    return retold(text, within="lists.action") or action_name(text)


_CELLS: Mapping[str, Callable[[str], str]] = {
    "segment": _segment,
    "changed": _within("changed"),
    "action": _action,
    "channel": _within("channel"),
    "when": _within("when"),
    "reason_1": reason_words,
    "reason_2": reason_words,
    "reason_3": reason_words,
    "goes_with_words": _within("companion"),
    "ask_why": str,
}

"""Lists as text that a spreadsheet or a mail tool of a locale reads, and that cannot run as a formula.

A cell of text that begins with ``=``, ``+``, ``-``, ``@`` (or their full-width forms) gets an apostrophe before it, and
line breaks, tabs and other control characters become blanks; numbers stay numbers. Mail tools get telephone numbers
without the apostrophe: those have been checked to be a ``+`` and digits, which run nothing.

References
----------
OWASP, CSV Injection: https://owasp.org/www-community/attacks/CSV_Injection
"""

from collections.abc import Collection
from typing import NamedTuple

import polars as pl

from repurchase.errors import InputError

__all__ = ["LOCALES", "Locale", "csv_bytes", "locale_of", "safe_text"]

_BEGINS = "=+-@＝＋－＠"
_NUMBER = r"^-?\d+([.,]\d+)?$"
_CONTROL = r"[\p{Cc}\u2028\u2029]+"


class Locale(NamedTuple):
    """How a locale's spreadsheets separate.

    Parameters
    ----------
    separator : str
        Between cells.
    decimal : str
        Decimal mark.
    with_bom : bool
        Whether the file begins with a byte order mark, without which Excel takes UTF-8 for something older.
    """

    separator: str
    decimal: str
    with_bom: bool = True


LOCALES = {"en": Locale(",", "."), "nb": Locale(";", ","), "nl": Locale(";", ","), "ru": Locale(";", ",")}
MAIL_TOOLS_OWN = Locale(",", ".", with_bom=False)
"""What mail tools import, wherever they are: commas, points, no mark."""


def locale_of(name: str, *, mail_tool: str = "plain") -> Locale:
    """Find how to separate.

    Parameters
    ----------
    name : str
        ``en``, ``nb``, ``nl`` or ``ru``.
    mail_tool : str
        Other tools than ``plain`` have separators of their own.

    Returns
    -------
    Locale
        Separators.

    Raises
    ------
    InputError
        If the locale is not known.

    Examples
    --------
    >>> locale_of("nb").separator
    ';'
    >>> locale_of("xx")
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: unknown locale 'xx'. Known: en, nb, nl, ru.
    """
    if name not in LOCALES:
        raise InputError(f"unknown locale '{name}'. Known: {', '.join(LOCALES)}.")
    return LOCALES[name] if mail_tool == "plain" else MAIL_TOOLS_OWN


def safe_text(text: pl.Expr) -> pl.Expr:
    """Make text that no spreadsheet runs.

    Parameters
    ----------
    text : Expr of str
        Any text; null stays null.

    Returns
    -------
    Expr of str
        Without control characters and outer blanks, with an apostrophe where it would begin a formula.

    Examples
    --------
    >>> cells = pl.Series(["=1+1", "+47 90", "-5", "-5,20", "-x", " @a", "Bø", None])
    >>> pl.select(safe_text(pl.lit(cells))).to_series().to_list()
    ["'=1+1", "'+47 90", '-5', '-5,20', "'-x", "'@a", 'Bø', None]
    """
    plain = text.str.replace_all(_CONTROL, " ").str.strip_chars()
    runs = plain.str.slice(0, 1).is_in(list(_BEGINS)) & ~plain.str.contains(_NUMBER)
    return pl.when(runs).then(pl.concat_str(pl.lit("'"), plain)).otherwise(plain)


def csv_bytes(rows: pl.DataFrame, locale: Locale, *, checked: Collection[str] = ()) -> bytes:
    """Write rows as CSV.

    Parameters
    ----------
    rows : DataFrame
        Text, numbers, dates and flags.
    locale : Locale
        Separators.
    checked : collection of str
        Columns of text that are known to run nothing, and are written as they are.

    Returns
    -------
    bytes
        UTF-8; lines end as in RFC 4180, dates are written YYYY-MM-DD, flags ``yes`` and ``no``, money with two
        decimals.
    """
    cells = rows.select(_cell(name, kind, locale, name in checked) for name, kind in rows.schema.items())
    names = pl.DataFrame({"name": rows.columns}).select(safe_text(pl.col("name"))).to_series()
    text = cells.rename(dict(zip(rows.columns, names, strict=True))).write_csv(
        separator=locale.separator, line_terminator="\r\n", quote_style="necessary"
    )
    return text.encode("utf-8-sig" if locale.with_bom else "utf-8")


def _cell(name: str, kind: pl.DataType, locale: Locale, is_checked: bool) -> pl.Expr:
    column = pl.col(name)
    if kind.is_float():
        cents = (column.fill_nan(None) * 100.0).round().cast(pl.Int64)
        sign = pl.when(cents < 0).then(pl.lit("-")).otherwise(pl.lit(""))
        whole, rest = cents.abs() // 100, (cents.abs() % 100).cast(pl.String).str.zfill(2)
        return pl.format(f"{{}}{{}}{locale.decimal}{{}}", sign, whole, rest).alias(name)
    if kind == pl.Boolean:
        return pl.when(column).then(pl.lit("yes")).when(~column).then(pl.lit("no")).alias(name)
    if kind == pl.String and not is_checked:
        return safe_text(column).alias(name)
    return column.cast(pl.String)

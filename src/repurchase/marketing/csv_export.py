"""CSV in the format of a locale, safe from spreadsheet formulas.

Text that begins with ``=``, ``+``, ``-``, ``@`` (or their full-width forms) gets an apostrophe before it, also after a
comma, ``;`` or ``|`` within the cell, where a spreadsheet that expects another separator would begin a new cell. Line
breaks, tabs and other control characters become blanks; numbers stay numbers. Mail tools get telephone numbers without
the apostrophe: those have been checked to be a ``+`` and digits, which run nothing.

References
----------
OWASP, CSV Injection: https://owasp.org/www-community/attacks/CSV_Injection
"""

import re
from collections.abc import Collection
from typing import NamedTuple

import polars as pl

from repurchase.i18n.catalogues import use_locale
from repurchase.i18n.formatting import csv_separator, decimal_mark

_FORMULA_PREFIXES = "=+-@＝＋－＠"
_NUMBER = r"^-?\d+([.,]\d+)?$"
_CONTROL = r"[\p{Cc}\u2028\u2029]+"
_INNER_FORMULA = rf'([,;|]"?)([{re.escape(_FORMULA_PREFIXES)}])'
_ESCAPED_FORMULA = rf"""(^|[,;|]"?)'([{re.escape(_FORMULA_PREFIXES)}])"""


class _CsvFormat(NamedTuple):
    """How a locale's spreadsheets separate."""

    separator: str
    decimal: str
    with_bom: bool = True


_MAIL_TOOL_FORMAT = _CsvFormat(",", ".", with_bom=False)
"""What mail tools import, wherever they are: commas, points, no mark."""


def csv_format(name: str, *, mail_tool: str = "plain") -> _CsvFormat:
    """Find how to separate."""
    if mail_tool != "plain":
        return _MAIL_TOOL_FORMAT
    with use_locale(name):
        return _CsvFormat(csv_separator(), decimal_mark())


def escape_formula(text: pl.Expr) -> pl.Expr:
    """Make text that no spreadsheet runs."""
    plain = text.str.replace_all(_CONTROL, " ").str.strip_chars().str.replace_all(_INNER_FORMULA, "$1'$2")
    runs = plain.str.slice(0, 1).is_in(list(_FORMULA_PREFIXES)) & ~plain.str.contains(_NUMBER)
    return pl.when(runs).then(pl.concat_str(pl.lit("'"), plain)).otherwise(plain)


def unescape_formulas(values: pl.Series) -> pl.Series:
    """Remove the apostrophes that `escape_formula` put into text."""
    return values.str.replace_all(_ESCAPED_FORMULA, "$1$2") if values.dtype == pl.String else values


def csv_bytes(rows: pl.DataFrame, locale: _CsvFormat, *, checked: Collection[str] = ()) -> bytes:
    """Write rows as CSV."""
    cells = rows.select(_format_cell(name, kind, locale, name in checked) for name, kind in rows.schema.items())
    names = pl.DataFrame({"name": rows.columns}).select(escape_formula(pl.col("name"))).to_series()
    text = cells.rename(dict(zip(rows.columns, names, strict=True))).write_csv(
        separator=locale.separator, line_terminator="\r\n", quote_style="necessary"
    )
    return text.encode("utf-8-sig" if locale.with_bom else "utf-8")


def _format_cell(name: str, kind: pl.DataType, locale: _CsvFormat, is_checked: bool) -> pl.Expr:
    column = pl.col(name)
    if kind.is_float():
        cents = (column.fill_nan(None) * 100.0).round().cast(pl.Int64)
        sign = pl.when(cents < 0).then(pl.lit("-")).otherwise(pl.lit(""))
        whole, rest = cents.abs() // 100, (cents.abs() % 100).cast(pl.String).str.zfill(2)
        return pl.format(f"{{}}{{}}{locale.decimal}{{}}", sign, whole, rest).alias(name)
    if kind == pl.Boolean:
        return pl.when(column).then(pl.lit("yes")).when(~column).then(pl.lit("no")).alias(name)
    if kind == pl.String and not is_checked:
        return escape_formula(column).alias(name)
    return column.cast(pl.String)

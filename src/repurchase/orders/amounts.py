"""Money and quantities as numbers, whichever way the export writes them.

The decimal mark is decided once for the whole column: one shop writes ``1.234,56`` everywhere or nowhere.
"""

import polars as pl

__all__ = ["ABSURD", "read_numbers"]

ABSURD = 1e12
"""No single line is worth this much in any currency; such a number is a fault of the export."""

_SIGNS_OF_MONEY = r"[€$£¥₹₽₺₴₩₫฿₪]|\b(?:[A-Z]{3}|(?i:kr|zł|fr|rs|r|kč|lei))\b\.?"
_BLANKS = r"[\s\u{00A0}\u{202F}\u{2009}'’]"
_PLAIN = r"^[+-]?(?:\d+|\d{1,3}(?:MARK\d{3})+)(?:POINT\d*)?$"
_DECIMAL_PROOF = r"POINT(?:\d{1,2}|\d{4,})$|MARK\d{3}POINT|^[+-]?0POINT|\d{4,}POINT"


def read_numbers(values: pl.Series) -> tuple[pl.Series, str | None]:
    """Read a column of amounts or quantities.

    Understood are ``1234.5``, ``1.234,56``, ``1 234,56``, ``1,234.56``, ``1'234.56``, ``€ 12.50``, ``12,50 kr``,
    ``(12.50)`` and ``12.50-`` (both negative). Whether the comma or the point is the decimal mark is decided by the
    values that can only be read one way; what contradicts the decision is not a number.

    Parameters
    ----------
    values : Series
        Text or numbers.

    Returns
    -------
    numbers : Series of float
        Null where there is no number, or one beyond 10¹² either way.
    note : str or None
        What was decided, if the column needed a decision.

    Examples
    --------
    >>> read_numbers(pl.Series(["1.234,56", "€ 12", "(5,00)", "free"]))[0].to_list()
    [1234.56, 12.0, -5.0, None]
    """
    if values.dtype != pl.String:
        return _in_reason(values.cast(pl.Float64, strict=False)), None
    direct = values.str.strip_chars().cast(pl.Float64, strict=False)
    unread = values.filter(direct.is_null() & values.is_not_null() & (values.str.strip_chars() != ""))
    if unread.is_empty():
        return _in_reason(direct), None
    distinct = values.unique()
    bare = _bare(distinct)
    comma = _comma_is_decimal(bare)
    read = pl.DataFrame({"text": distinct, "number": _numbers(bare, comma=comma)})
    joined = values.to_frame("text").join(read, on="text", how="left", nulls_equal=True, maintain_order="left")
    note = "the comma is the decimal mark" if comma else None
    return _in_reason(joined["number"].alias(values.name)), note


def _in_reason(numbers: pl.Series) -> pl.Series:
    absurd = ~numbers.is_finite() | (numbers.abs() > ABSURD)
    return numbers.set(absurd.fill_null(value=False), None) + 0.0


def _bare(values: pl.Series) -> pl.Series:
    """Strip money signs and blanks, and turn every way to write a negative into a leading minus.

    Parameters
    ----------
    values : Series of str
        Amounts as written.

    Returns
    -------
    Series of str
        Digits, marks and sign.
    """
    text = values.str.replace_all(_SIGNS_OF_MONEY, "").str.replace_all(_BLANKS, "").str.replace_all("[−–]", "-")
    text = text.str.replace(r"[.,]-+$", "")
    return text.str.replace(r"^\((.+)\)$", "-$1").str.replace(r"^([^-].*)-$", "-$1")


def _comma_is_decimal(bare: pl.Series) -> bool:
    return _proofs(bare, mark=r"\.", point=",") > _proofs(bare, mark=",", point=r"\.")


def _proofs(bare: pl.Series, *, mark: str, point: str) -> int:
    return int(bare.str.contains(_DECIMAL_PROOF.replace("MARK", mark).replace("POINT", point)).sum() or 0)


def _numbers(bare: pl.Series, *, comma: bool) -> pl.Series:
    mark, point = (r"\.", ",") if comma else (",", r"\.")
    regular = bare.str.contains(_PLAIN.replace("MARK", mark).replace("POINT", point)).fill_null(value=False)
    plain = bare.str.replace_all(mark, "").str.replace(point, ".") if comma else bare.str.replace_all(mark, "")
    numbers = plain.set(~regular, None).cast(pl.Float64, strict=False)
    return numbers if comma else numbers.zip_with(regular, bare.cast(pl.Float64, strict=False))

"""Money and quantities as numbers, whichever way the export writes them.

The decimal mark is decided once for the whole column: one shop writes ``1.234,56`` everywhere or nowhere.
"""

from dataclasses import dataclass
from typing import Literal

import polars as pl

__all__ = ["ABSURD", "COMMA_NOTE", "NumberEvidence", "NumberForm", "read_numbers"]

NumberForm = Literal["plain", "point", "comma"]
"""Every value is a plain number; or signs, blanks and marks of thousands stand in the column, and this is the decimal
mark."""
COMMA_NOTE = "the comma is the decimal mark"

ABSURD = 1e12
"""No single line is worth this much in any currency; such a number is a fault of the export."""

_SIGNS_OF_MONEY = r"[€$£¥₹₽₺₴₩₫฿₪]|\b(?:[A-Z]{3}|(?i:kr|zł|fr|rs|r|kč|lei))\b\.?"
_BLANKS = r"[\s\u{00A0}\u{202F}\u{2009}'’]"
_PLAIN = r"^[+-]?(?:\d+|\d{1,3}(?:MARK\d{3})+)(?:POINT\d*)?$"
_DECIMAL_PROOF = r"POINT(?:\d{1,2}|\d{4,})$|MARK\d{3}POINT|^[+-]?0POINT|\d{4,}POINT"


@dataclass(frozen=True)
class NumberEvidence:
    """What some rows of a column say about how it writes numbers; adds up over any split of the rows.

    Parameters
    ----------
    comma, point : int
        Rows that only make sense with that decimal mark.
    is_plain : bool
        Whether every value is a number as it stands.
    """

    comma: int = 0
    point: int = 0
    is_plain: bool = True

    @classmethod
    def of(cls, values: pl.Series) -> "NumberEvidence":
        """Look at some rows.

        Parameters
        ----------
        values : Series
            Numbers as the export has them.

        Returns
        -------
        NumberEvidence
            Nothing for a column of numbers.
        """
        if values.dtype != pl.String:
            return cls()
        counted = values.drop_nulls().alias("text").value_counts(name="rows")
        bare = _bare(counted["text"])
        return cls(
            _proofs(bare, counted["rows"], mark=r"\.", point=","),
            _proofs(bare, counted["rows"], mark=",", point=r"\."),
            _is_plain(counted["text"]),
        )

    def __add__(self, other: "NumberEvidence") -> "NumberEvidence":
        return NumberEvidence(self.comma + other.comma, self.point + other.point, self.is_plain and other.is_plain)

    def decide(self) -> NumberForm:
        """Decide how the column writes numbers.

        Returns
        -------
        NumberForm
            The point, where nothing speaks for the comma.
        """
        if self.is_plain:
            return "plain"
        return "comma" if self.comma > self.point else "point"


def read_numbers(values: pl.Series, *, form: NumberForm | None = None) -> tuple[pl.Series, str | None]:
    """Read a column of amounts or quantities.

    Understood are ``1234.5``, ``1.234,56``, ``1 234,56``, ``1,234.56``, ``1'234.56``, ``€ 12.50``, ``12,50 kr``,
    ``(12.50)`` and ``12.50-`` (both negative). Whether the comma or the point is the decimal mark is decided by the
    values that can only be read one way; what contradicts the decision is not a number.

    Parameters
    ----------
    values : Series
        Text or numbers.
    form : NumberForm, optional
        What was decided by all rows, where these are some of them.

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
    if form is None:
        form = "plain" if _is_plain(values) else NumberEvidence.of(values).decide()
    if form == "plain":
        return _in_reason(values.str.strip_chars().cast(pl.Float64, strict=False)), None
    distinct = values.unique()
    read = pl.DataFrame({"text": distinct, "number": _numbers(_bare(distinct), comma=form == "comma")})
    joined = values.to_frame("text").join(read, on="text", how="left", nulls_equal=True, maintain_order="left")
    return _in_reason(joined["number"].alias(values.name)), COMMA_NOTE if form == "comma" else None


def _is_plain(values: pl.Series) -> bool:
    stripped = values.str.strip_chars()
    direct = stripped.cast(pl.Float64, strict=False)
    return not (direct.is_null() & values.is_not_null() & (stripped != "")).any()


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


def _proofs(bare: pl.Series, rows: pl.Series, *, mark: str, point: str) -> int:
    proves = bare.str.contains(_DECIMAL_PROOF.replace("MARK", mark).replace("POINT", point)).fill_null(value=False)
    return int(rows.filter(proves).sum())


def _numbers(bare: pl.Series, *, comma: bool) -> pl.Series:
    mark, point = (r"\.", ",") if comma else (",", r"\.")
    regular = bare.str.contains(_PLAIN.replace("MARK", mark).replace("POINT", point)).fill_null(value=False)
    plain = bare.str.replace_all(mark, "").str.replace(point, ".") if comma else bare.str.replace_all(mark, "")
    numbers = plain.set(~regular, None).cast(pl.Float64, strict=False)
    return numbers if comma else numbers.zip_with(regular, bare.cast(pl.Float64, strict=False))

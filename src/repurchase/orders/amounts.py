"""Money and quantities as numbers, whichever way the export writes them.

The decimal mark is decided once for the whole column: one shop writes ``1.234,56`` everywhere or nowhere. Where every
value has three digits after its only mark and nothing tells decimals from thousands, the user is asked.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from repurchase.errors import OrdersError
from repurchase.orders.blanks import BLANK_WORDS
from repurchase.orders.currencies import currency_of, has_no_decimals
from repurchase.orders.number_shapes import NumberShape, number_shape_of
from repurchase.orders.text_shapes import distinct_shapes, shapes_of, tidy_texts

__all__ = ["ABSURD", "COMMA_NOTE", "DecimalMark", "NumberEvidence", "NumberForm", "exact_units", "read_numbers"]

DecimalMark = Literal["point", "comma"]
COMMA_NOTE = "the comma is the decimal mark"

ABSURD = 1e12
"""No single line is worth this much in any currency; such a number is a fault of the export."""

_STRAY_SHARE = 0.02
"""From this share on, values that contradict the others are no slips of the pen."""
_BULK_ROWS, _BULK_SHARE = 50, 0.005
"""So many rows are no slips either, even if they are few among very many."""
_CONSTANT_SHARE = 0.9
"""A word that stands by so many of the numbers belongs to how the column is written, whatever it means."""
_FEWEST_WITH_WORD = 5
_MOST_WORDS = 64
_DIGITS_TOGETHER = r"^[^9]*9[9 .,'’_eE+-]*[^9]*$"


@dataclass(frozen=True)
class NumberForm:
    """How a column writes its numbers.

    Parameters
    ----------
    mark : {"plain", "point", "comma"}
        Every value is a plain number; or signs, blanks and marks of thousands stand in the column, and this is the
        decimal mark.
    words : frozenset of str
        What stands by nearly all numbers and is no currency that is known.
    credit_sign : int
        Sign of amounts marked ``CR``: -1 where they are the exception.
    """

    mark: Literal["plain", "point", "comma"] = "plain"
    words: frozenset[str] = frozenset()
    credit_sign: int = -1


@dataclass(frozen=True)
class NumberEvidence:
    """What some rows of a column say about how it writes numbers; adds up over any split of the rows.

    Parameters
    ----------
    rows : int
        Rows that say something.
    kinds : mapping of str to int
        Rows by what they prove (see `NumberShape`): ``point``, ``comma``, ``three_point``, ``three_comma``, ``short``,
        ``long``.
    currencies : mapping of str to int
        Rows by the currency that stands by the number: ISO code, or a symbol that several currencies share.
    words : mapping of str to int, or None
        Rows by other words that stand there; None if there are more than 64 of them.
    credits, debits : int
        Rows marked ``CR`` and ``DR``.
    is_plain : bool
        Whether every value is a number as it stands.
    round : int
        Rows that end in a mark and three zeros, such as ``2.000``.
    examples : mapping of str to str
        The first text, in alphabetical order, of each kind.
    """

    rows: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)
    currencies: Mapping[str, int] = field(default_factory=dict)
    words: Mapping[str, int] | None = field(default_factory=dict)
    credits: int = 0
    debits: int = 0
    is_plain: bool = True
    round: int = 0
    examples: Mapping[str, str] = field(default_factory=dict)

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
        return _of_texts(counted, is_plain=_is_plain(counted["text"]))

    def __add__(self, other: "NumberEvidence") -> "NumberEvidence":
        both = {*self.examples, *other.examples}
        words = None
        if self.words is not None and other.words is not None:
            words = _few(Counter(self.words) + Counter(other.words))
        return NumberEvidence(
            self.rows + other.rows,
            dict(Counter(self.kinds) + Counter(other.kinds)),
            dict(Counter(self.currencies) + Counter(other.currencies)),
            words,
            self.credits + other.credits,
            self.debits + other.debits,
            self.is_plain and other.is_plain,
            self.round + other.round,
            {kind: min(side.examples[kind] for side in (self, other) if kind in side.examples) for kind in both},
        )

    def decide(
        self,
        *,
        column: str = "",
        source: str = "orders",
        folder: "NumberEvidence | None" = None,
        decimal_mark: DecimalMark | None = None,
        counts: bool = False,
    ) -> NumberForm:
        """Decide how the column writes numbers.

        Parameters
        ----------
        column, source : str
            What messages call the column and the log.
        folder : NumberEvidence, optional
            Of all files together; it decides where these rows do not.
        decimal_mark : {"point", "comma"}, optional
            Decides, before the other files, where these rows do not or contradict each other.
        counts : bool
            Whether they are counts: where all of them end in a mark and three zeros, ``2.000`` is two, not thousands.

        Returns
        -------
        NumberForm
            How to read it. Rows that contradict it are few, and are no numbers.

        Raises
        ------
        OrdersError
            If decimals and thousands cannot be told apart, or rows contradict each other.
        """
        mark = decimal_mark if decimal_mark and self._is_contradiction else self._mark(column, source)
        mark = mark or decimal_mark or (self._mark_of_counts() if counts else None)
        if mark is None and folder is not None:
            mark = folder._mark(column, source)  # noqa: SLF001 - of the same class
        if mark is None:
            raise OrdersError(self._question(column, source))
        numbers = sum(self.kinds.values())
        least = max(_CONSTANT_SHARE * numbers, _FEWEST_WITH_WORD)
        constant = (word for word, rows in (self.words or {}).items() if rows >= least)
        unmarked = numbers - self.credits - self.debits
        return NumberForm(
            "plain" if self.is_plain and mark == "point" else mark,
            frozenset(constant),
            1 if self.credits > self.debits + unmarked else -1,
        )

    def _mark(self, column: str, source: str) -> DecimalMark | None:
        point, comma = self._votes
        if not point and not comma:
            return self._mark_of_thousands()
        if self._is_contradiction:
            raise OrdersError(
                f"{source}: the numbers in '{column}' contradict each other: in {point:,} rows the point is the "
                f"decimal mark, such as '{self.examples['point']}', and in {comma:,} the comma, such as "
                f"'{self.examples['comma']}'. Say which is right: --decimal-mark point or --decimal-mark comma.",
                withheld=(f"'{self.examples['point']}'", f"'{self.examples['comma']}'"),
            )
        return "point" if point > comma else "comma"

    @property
    def _votes(self) -> tuple[int, int]:
        """Rows that prove either mark; a few decimals among many amounts that might be thousands are slips."""
        count = Counter(self.kinds)
        point = count["point"] if count["point"] >= _STRAY_SHARE * (count["point"] + count["three_point"]) else 0
        comma = count["comma"] if count["comma"] >= _STRAY_SHARE * (count["comma"] + count["three_comma"]) else 0
        return point, comma

    @property
    def _is_contradiction(self) -> bool:
        stray, votes = min(self._votes), sum(self._votes)
        return stray > 0 and (stray >= _STRAY_SHARE * votes or (stray >= _BULK_ROWS and stray >= _BULK_SHARE * votes))

    def _mark_of_thousands(self) -> DecimalMark | None:
        """Tell thousands from decimals where every mark has three digits after it; None if nothing does."""
        count = Counter(self.kinds)
        three = count["three_point"] + count["three_comma"]
        if not three:
            return "point"
        if count["three_point"] and count["three_comma"]:
            return None
        if self.currencies and all(has_no_decimals(currency) for currency in self.currencies):
            return "comma" if count["three_point"] else "point"
        if count["short"] < _STRAY_SHARE * (three + count["short"]) or count["long"] >= _STRAY_SHARE * three:
            return None
        return "comma" if count["three_point"] else "point"

    def _mark_of_counts(self) -> DecimalMark | None:
        point, comma = (self.kinds.get(kind, 0) for kind in ("three_point", "three_comma"))
        if self.round < point + comma or (point and comma):
            return None
        return "point" if point else "comma"

    def _question(self, column: str, source: str) -> str:
        pick = self.examples.get("three_point") or self.examples["three_comma"]
        mark, other = ("point", "comma") if "." in pick else ("comma", "point")
        bare = "".join(letter for letter in pick if letter.isdigit() or letter in ".,")
        decimal, thousand = bare.replace(",", "."), bare.replace(",", "").replace(".", "")
        return (
            f"{source}: the numbers in '{column}' can be read in two ways: '{pick}' is {decimal} if the {mark} is the "
            f"decimal mark, or {int(thousand):,} if it separates thousands, and none of {self.rows:,} rows decides. "
            f"Say which is the decimal mark: --decimal-mark {mark} or --decimal-mark {other}."
        )


def read_numbers(values: pl.Series, *, form: NumberForm | None = None) -> tuple[pl.Series, str | None]:
    """Read a column of amounts or quantities.

    Understood are ``1234.5``, ``1.234,56``, ``1 234,56``, ``1,234.56``, ``1,23,456.00``, ``1'234.56``, ``12,-``,
    ``€ 12.50``, ``68,86 руб.``, ``(12.50)`` and ``12.50-`` (both negative), in digits of any script. Whether the comma
    or the point is the decimal mark is decided by the values that can only be read one way; what contradicts the
    decision is not a number. Nor is a percentage, or a number beside a word that is no currency and does not stand by
    nearly all.

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

    Raises
    ------
    OrdersError
        If no form is given and the column does not decide.

    Examples
    --------
    >>> read_numbers(pl.Series(["1.234,56", "€ 12", "(5,00)", "free"]))[0].to_list()
    [1234.56, 12.0, -5.0, None]
    """
    if values.dtype != pl.String:
        return _in_reason(values.cast(pl.Float64, strict=False)), None
    if form is None:
        form = NumberEvidence.of(values).decide(column=values.name)
    if form.mark == "plain":
        return _in_reason(values.str.strip_chars().cast(pl.Float64, strict=False)), None
    distinct = values.unique()
    read = pl.DataFrame({"text": distinct, "number": _numbers(distinct, form)})
    joined = values.to_frame("text").join(read, on="text", how="left", nulls_equal=True, maintain_order="left")
    return _in_reason(joined["number"].alias(values.name)), COMMA_NOTE if form.mark == "comma" else None


def exact_units(money: pl.Series, *, units: int = 10_000) -> int:
    """Add up money as whole units, exactly and without the limit of 64 bits.

    Parameters
    ----------
    money : Series of float
        Amounts, each below 10³⁰; null and NaN count as nothing.
    units : int
        Units of one unit of currency.

    Returns
    -------
    int
        The sum in units, whatever the order of the rows.

    Examples
    --------
    >>> exact_units(pl.Series([9e14, 9e14, 0.01, None]))
    18000000000000000100
    """
    whole = (money.fill_nan(None).fill_null(0.0) * units).round(0).cast(pl.Int128)
    return int(whole.sum())


def _is_plain(values: pl.Series) -> bool:
    stripped = values.str.strip_chars()
    direct = stripped.cast(pl.Float64, strict=False)
    return not (direct.is_null() & values.is_not_null() & (stripped != "")).any()


def _in_reason(numbers: pl.Series) -> pl.Series:
    absurd = ~numbers.is_finite() | (numbers.abs() > ABSURD)
    return numbers.set(absurd.fill_null(value=False), None) + 0.0


def _few(words: Counter[str]) -> dict[str, int] | None:
    return dict(words) if len(words) <= _MOST_WORDS else None


def _of_texts(counted: pl.DataFrame, *, is_plain: bool) -> NumberEvidence:
    counted = counted.filter(~pl.col("text").str.strip_chars().str.to_lowercase().is_in(BLANK_WORDS))
    cleaned = _cleaned(counted["text"])
    shapes = _number_shapes(cleaned)
    if not distinct_shapes(shapes):
        return NumberEvidence(int(counted["rows"].sum()), is_plain=is_plain)
    counted = counted.with_columns(cleaned.alias("clean"), shapes.alias("shape"))
    bare = pl.col("clean").str.extract(r"(\d[\d.,]*)")
    zero = pl.when(bare.str.contains(r"^0\d*[.,]")).then(1).when(bare.str.contains(r"^0+$")).then(2).otherwise(0)
    groups = (
        counted.with_columns(zero.alias("zero"))
        .group_by("shape", "zero")
        .agg(pl.col("rows").sum(), pl.col("text").min())
    )
    count: dict[str, Counter[str]] = {name: Counter() for name in ("kinds", "currencies", "words", "ledgers")}
    examples: dict[str, str] = {}
    for text_shape, zeros, rows, text in groups.rows():
        found = number_shape_of(text_shape) if text_shape is not None else None
        if found is None:
            continue
        kind = {1: found.kind.removeprefix("three_"), 2: "zero"}.get(zeros, found.kind)
        count["kinds"][kind] += rows
        examples[kind] = min(examples.get(kind, text), text)
        count["ledgers"][found.ledger] += rows
        currency = currency_of(found.word) if found.word else None
        if found.word:
            count["words" if currency is None else "currencies"][currency or found.word] += rows
    return NumberEvidence(
        int(counted["rows"].sum()),
        dict(count["kinds"]),
        dict(count["currencies"]),
        _few(count["words"]),
        count["ledgers"]["cr"],
        count["ledgers"]["dr"],
        is_plain=is_plain,
        round=int(counted.filter(pl.col("clean").str.contains(r"\d[.,]000$"))["rows"].sum()),
        examples=examples,
    )


def _cleaned(texts: pl.Series) -> pl.Series:
    raised = texts.str.contains(r"\p{No}").fill_null(value=False)  # 12⁵⁰ must not become 1250
    plain = tidy_texts(texts.set(raised, None).str.strip_chars())
    return plain.str.replace_all("٬", "'", literal=True).str.replace_all("٫", ".", literal=True)


def _number_shapes(texts: pl.Series) -> pl.Series:
    """Shapes of what may be a number, with all digits in one place; null for the rest, such as codes and names."""
    shapes = shapes_of(texts)
    return shapes.set(~shapes.str.contains(_DIGITS_TOGETHER).fill_null(value=False), None)


def _numbers(texts: pl.Series, form: NumberForm) -> pl.Series:
    cleaned = _cleaned(texts)
    shapes = _number_shapes(cleaned)
    found = {shape: number_shape_of(shape) for shape in distinct_shapes(shapes)}
    rows = [
        {"shape": shape, "start": number.start, "length": number.length, "sign": _sign(number, form)}
        for shape, number in found.items()
        if number is not None and _is_accepted(number, form)
    ]
    schema = {"shape": pl.String, "start": pl.Int64, "length": pl.Int64, "sign": pl.Int8}
    placed = pl.DataFrame({"text": cleaned, "shape": shapes}).join(
        pl.DataFrame(rows, schema=schema), on="shape", how="left", maintain_order="left"
    )
    core = pl.when(pl.col("start").is_not_null()).then(pl.col("text").str.slice(pl.col("start"), pl.col("length")))
    other = "." if form.mark == "comma" else ","
    core = pl.when(~core.str.contains(rf"^0\d*[{other}]")).then(core)  # no group of thousands begins with a zero
    digits = core.str.replace_all(rf"[ '’_{other}]", "").str.replace(",", ".", literal=True)
    return placed.select(digits.cast(pl.Float64, strict=False) * pl.col("sign")).to_series()


def _is_accepted(number: NumberShape, form: NumberForm) -> bool:
    contradicts = number.kind in {"point", "comma"} and number.kind != ("comma" if form.mark == "comma" else "point")
    return not contradicts and (not number.word or number.word in form.words or currency_of(number.word) is not None)


def _sign(number: NumberShape, form: NumberForm) -> int:
    side = {"cr": form.credit_sign, "dr": -form.credit_sign}.get(number.ledger, 1)
    return number.sign * side

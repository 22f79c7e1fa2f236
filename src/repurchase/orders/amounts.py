"""Money and quantities as numbers, in any notation, and their currencies."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from operator import and_
from typing import Literal

import polars as pl

from repurchase.errors import OrdersError
from repurchase.orders.mergeable import Mergeable, merge, smallest_by_key
from repurchase.sources.vocabulary import BLANK_WORDS, distinct_shapes, shapes_of, tidy_texts

_LOCALES = (
    "en en_AU en_CA en_IN en_SG en_NZ en_ZA de de_CH fr fr_CH es es_MX nl nb sv da ru pl pt pt_PT it fi cs sk tr hu ro "
    "uk el bg hr sr ja zh zh_TW ko th vi id ms he ar fa hi kk ka et lv lt is sl"
)
_LOWER_CASE_CODES = "eur usd gbp chf nok sek dkk pln czk huf ron rub uah inr cad aud"
_CURRENCY_WORDS = {
    "EUR": "euro euros eur. euroa",
    "USD": "dollar dollars us usdollar",
    "RUB": "руб р рубль рубля рублей rub. rur",
    "UAH": "грн гривень",
    "INR": "rs re inr rupees ₨",
    "PLN": "zl zlotych złotych",
    "CHF": "fr sfr fr.",
    "CNY": "元 圆 人民币 rmb",
    "JPY": "円 yen",
    "KRW": "원",
    "VND": "đ vnđ",
    "AED": "dh dhs درهم",
    "SAR": "sr ريال",
    "BGN": "лв",
    "RON": "lei leu",
    "HUF": "ft",
    "CZK": "kc kč",
    "KZT": "тг тенге",
    "IDR": "rp",
    "BYN": "br",
    "MYR": "rm",
    "ZAR": "r",
    "TRY": "tl",
}
_SHARED_SYMBOLS = ("kr", "$", "¥", "£")
"""Symbols of several currencies: they are kept as they are."""
_SHARED_BY = {
    "kr": "NOK SEK DKK ISK",
    "$": "USD AUD CAD NZD SGD HKD TWD MXN ARS CLP COP UYU",
    "¥": "JPY CNY",
    "£": "GBP EGP LBP",
}


@cache
def currency_of(word: str) -> str | None:
    """Find the currency that a word or symbol next to an amount means."""
    folded = _folded(word)
    if folded in _SHARED_SYMBOLS:
        return folded
    plain = word.strip(" .")
    if plain in _codes() or plain.lower() in _LOWER_CASE_CODES.split():
        return plain.upper()
    if folded in _symbols():
        return _symbols()[folded]
    if all(part in _symbols() or part.upper() in _codes() for part in folded.split()) and len(folded.split()) == 2:
        return currency_of(folded.split()[0])
    signs = [letter for letter in word if unicodedata.category(letter) == "Sc"]
    return None if not signs else _symbols().get(signs[0], signs[0])


def _has_no_decimals(currency: str) -> bool:
    """Say whether money of a currency is counted in whole units."""
    from babel.numbers import get_currency_precision

    return currency == "¥" or (currency in _codes() and get_currency_precision(currency) == 0)


def different_currencies(rows: Mapping[str, int]) -> list[str]:
    """Name the currencies that amounts are marked with, if they are certainly not one."""
    found = [currency for currency, count in sorted(rows.items(), key=lambda item: (-item[1], item[0])) if count > 2]
    signs = [currency for currency in found if not any(currency in _SHARED_BY.get(sign, "").split() for sign in found)]
    return signs if len(signs) > 1 else []


@cache
def _codes() -> frozenset[str]:
    from babel.numbers import list_currencies

    return frozenset(list_currencies())


@cache
def _symbols() -> dict[str, str]:
    from babel import Locale

    codes: dict[str, set[str]] = defaultdict(set)
    for name in _LOCALES.split():
        for code, symbol in Locale.parse(name).currency_symbols.items():
            folded = _folded(symbol)
            if folded and symbol != code and (len(folded) > 1 or not folded.isascii() or not folded.isalpha()):
                codes[folded].add(code)
    found = {symbol: several.pop() if len(several) == 1 else symbol for symbol, several in codes.items()}
    named = {_folded(word): code for code, words in _CURRENCY_WORDS.items() for word in words.split()}
    return {**found, **named, **{symbol: symbol for symbol in _SHARED_SYMBOLS}}


def _folded(word: str) -> str:
    visible = "".join(letter for letter in word if unicodedata.category(letter) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", visible).casefold().replace(".", "").split())


_EXPONENT = r"(?:[eE][+-]?9{1,2})?"
_GROUPS_APART = r"9{1,3}(?:[ '’_]9{3})+"
_READABLE = rf"(?:9+|9{{1,3}}(?:MARK9{{3}})+|9{{1,2}}(?:MARK9{{2}})+MARK9{{3}}|{_GROUPS_APART})?(?:POINT9*)?{_EXPONENT}"
_POINT = re.compile(_READABLE.replace("MARK", ",").replace("POINT", r"\."))
_COMMA = re.compile(_READABLE.replace("MARK", r"\.").replace("POINT", ","))
_UNDECIDED = re.compile(r"9{1,3}[.,]9{3}")
_AFTER_WHOLE = re.compile(r"^([.,])(?:-{1,2}|=)(?=$|[^9]*$)")
_LONGEST_WORD = 20


@dataclass(frozen=True)
class _NumberShape:
    """How the amounts of one shape may be read."""

    start: int
    length: int
    sign: int
    kind: str
    word: str
    side: str


@lru_cache(maxsize=1 << 16)
def _number_shape_of(shape: str) -> _NumberShape | None:
    """Find the number in one shape."""
    if "9" not in shape:
        return None
    start, end = shape.index("9"), shape.rindex("9") + 1
    if start and shape[start - 1] in ".," and not shape[: start - 1].rstrip()[-1:].isalpha():
        start -= 1
    before, after = shape[:start], shape[end:]
    whole = _AFTER_WHOLE.match(after)
    if after[:1] in {".", ","}:
        end += 1
        after = after[whole.end() if whole else 1 :]
    kind = _kind(shape[start:end])
    around = _around(before, after)
    if kind is None or around is None:
        return None
    sign, word, side = around
    touches = before[-1:].isalnum() or after[:1].isalnum()
    if word and touches and currency_of(word) is None:  # C1234 is a code
        return None
    return _NumberShape(start, end - start, sign, kind, word, side)


def _kind(core: str) -> str | None:
    if _UNDECIDED.fullmatch(core):
        return "three_point" if "." in core else "three_comma"
    point, comma = _POINT.fullmatch(core) is not None, _COMMA.fullmatch(core) is not None
    if not (point or comma):
        return None
    if point and comma:
        return "short" if len(core) <= 3 else "long"
    return "point" if point else "comma"


def _around(before: str, after: str) -> tuple[int, str, str] | None:
    """Read the sign and the words around a number; None if there is anything else."""
    negative = "(" in before and ")" in after
    if ("(" in before) != (")" in after) or (before + after).count("(") > 1 or (before + after).count(")") > 1:
        return None
    signs = [letter for letter in before + after if letter in "+-"]
    if len(signs) > 1:
        return None
    words = [re.sub(r"[()+-]", " ", side).split() for side in (before, after)]
    sides = [word for part in words for word in part if word.strip(".").casefold() in {"cr", "dr"}]
    kept = [" ".join(word for word in part if word not in sides) for part in words]
    if len(sides) > 1 or not all(_is_word(text) for text in kept):
        return None
    minus = negative != (signs == ["-"])
    return -1 if minus else 1, _one_word(*kept), sides[0].strip(".").casefold() if sides else ""


def _is_word(text: str) -> bool:
    categories = (unicodedata.category(letter) for letter in text if letter not in " ./")
    is_usual = all(category[0] in "LM" or category == "Sc" for category in categories)
    return is_usual and len(text) <= _LONGEST_WORD and text not in {".", "/"}


def _one_word(before: str, after: str) -> str:
    return before if before == after or not after else after if not before else f"{before} {after}"


_DecimalMark = Literal["point", "comma"]
COMMA_NOTE = "the comma is the decimal mark"

_MAX_AMOUNT = 1e12
"""No single line is worth this much in any currency; such a number is a fault of the export."""

STRAY_SHARE = 0.02
"""From this share on, values that contradict the others are no typing errors."""
BULK_ROWS = 50
"""So many rows are no typing errors either, even if they are few among very many."""
_BULK_SHARE = 0.005
_CONSTANT_SHARE = 0.9
"""A word next to so many of the numbers belongs to how the column is written, whatever it means."""
_MIN_ROWS_WITH_WORD = 5
_MAX_WORDS = 64
_DIGITS_TOGETHER = r"^[^9]*9[9 .,'’_eE+-]*[^9]*$"


@dataclass(frozen=True)
class NumberFormat:
    """How a column writes its numbers."""

    mark: Literal["plain", "point", "comma"] = "plain"
    words: frozenset[str] = frozenset()
    credit_sign: int = -1


def contradict(votes: tuple[int, int]) -> bool:
    """Say whether so many rows speak for either of two readings that neither are typing errors."""
    stray, total = min(votes), sum(votes)
    return stray > 0 and (stray >= STRAY_SHARE * total or (stray >= BULK_ROWS and stray >= _BULK_SHARE * total))


def _limited(words: Mapping[str, int]) -> Mapping[str, int] | None:
    return dict(words) if len(words) <= _MAX_WORDS else None


def _merge_words(one: Mapping[str, int] | None, other: Mapping[str, int] | None) -> Mapping[str, int] | None:
    return None if one is None or other is None else _limited(merge(one, other))


@dataclass(frozen=True)
class NumberEvidence(Mergeable):
    """What some rows of a column show of how it writes numbers."""

    rows: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)
    currencies: Mapping[str, int] = field(default_factory=dict)
    words: Mapping[str, int] | None = field(default_factory=dict, metadata={"merge": _merge_words})
    credits: int = 0
    debits: int = 0
    is_plain: bool = field(default=True, metadata={"merge": and_})
    round: int = 0
    examples: Mapping[str, str] = field(default_factory=dict, metadata={"merge": smallest_by_key})

    @classmethod
    def of(cls, values: pl.Series) -> "NumberEvidence":
        """Collect the evidence of some rows."""
        if values.dtype != pl.String:
            return cls()
        texts = values.drop_nulls().alias("text").value_counts(name="rows")
        return _of_texts(texts, is_plain=_is_plain(texts["text"]))

    def decide(
        self,
        *,
        column: str = "",
        source: str = "orders",
        all_files: "NumberEvidence | None" = None,
        decimal_mark: _DecimalMark | None = None,
        counts: bool = False,
    ) -> NumberFormat:
        """Decide how the column writes numbers; evidence of all files helps where this one has none."""
        if decimal_mark and contradict(self._votes):
            mark: _DecimalMark | None = decimal_mark
        else:
            mark = self.shown_mark(column, source) or decimal_mark or (self._mark_of_counts() if counts else None)
        if mark is None and all_files is not None:
            mark = all_files.shown_mark(column, source)
        if mark is None:
            raise OrdersError(self._question(column, source))
        numbers = sum(self.kinds.values())
        least = max(_CONSTANT_SHARE * numbers, _MIN_ROWS_WITH_WORD)
        constant = (word for word, rows in (self.words or {}).items() if rows >= least)
        unmarked = numbers - self.credits - self.debits
        return NumberFormat(
            "plain" if self.is_plain and mark == "point" else mark,
            frozenset(constant),
            1 if self.credits > self.debits + unmarked else -1,
        )

    def shown_mark(self, column: str, source: str) -> _DecimalMark | None:
        """The decimal mark that the values show, if they do."""
        point, comma = self._votes
        if not point and not comma:
            return self._mark_of_thousands()
        if contradict((point, comma)):
            raise OrdersError(
                f"{source}: the numbers in '{column}' contradict each other: in {point:,} rows the point is the "
                f"decimal mark, such as '{self.examples['point']}', and in {comma:,} the comma, such as "
                f"'{self.examples['comma']}'. Say which is right: --decimal-mark point or --decimal-mark comma.",
                withheld=(f"'{self.examples['point']}'", f"'{self.examples['comma']}'"),
            )
        return "point" if point > comma else "comma"

    @property
    def _votes(self) -> tuple[int, int]:
        """Rows that prove either mark; a few decimals among many amounts that might be thousands are typing errors."""
        point, comma = (self._proofs(mark) for mark in ("point", "comma"))
        return point, comma

    def _proofs(self, mark: _DecimalMark) -> int:
        rows, undecided = self.kinds.get(mark, 0), self.kinds.get(f"three_{mark}", 0)
        return rows if rows >= STRAY_SHARE * (rows + undecided) else 0

    def _mark_of_thousands(self) -> _DecimalMark | None:
        """Tell thousands from decimals where every mark has three digits after it; None if nothing does."""
        count = Counter(self.kinds)
        three = count["three_point"] + count["three_comma"]
        if not three:
            return "point"
        if count["three_point"] and count["three_comma"]:
            return None
        if self.currencies and all(_has_no_decimals(currency) for currency in self.currencies):
            return "comma" if count["three_point"] else "point"
        if count["short"] < STRAY_SHARE * (three + count["short"]) or count["long"] >= STRAY_SHARE * three:
            return None
        return "comma" if count["three_point"] else "point"

    def _mark_of_counts(self) -> _DecimalMark | None:
        point, comma = (self.kinds.get(kind, 0) for kind in ("three_point", "three_comma"))
        if self.round < point + comma or (point and comma):
            return None
        return "point" if point else "comma"

    def _question(self, column: str, source: str) -> str:
        example = self.examples.get("three_point") or self.examples["three_comma"]
        mark, other = ("point", "comma") if "." in example else ("comma", "point")
        bare = "".join(letter for letter in example if letter.isdigit() or letter in ".,")
        decimal, thousand = bare.replace(",", "."), bare.replace(",", "").replace(".", "")
        return (
            f"{source}: the numbers in '{column}' can be read in two ways: '{example}' is {decimal} if the {mark} is "
            f"the decimal mark, or {int(thousand):,} if it separates thousands, and none of {self.rows:,} rows "
            "decides. "
            f"Say which is the decimal mark: --decimal-mark {mark} or --decimal-mark {other}."
        )


def read_numbers(values: pl.Series, *, number_format: NumberFormat | None = None) -> tuple[pl.Series, str | None]:
    """Read a column of amounts or quantities.

    Understood are ``1234.5``, ``1.234,56``, ``1 234,56``, ``1,234.56``, ``1,23,456.00``, ``1'234.56``, ``12,-``,
    ``€ 12.50``, ``68,86 руб.``, ``(12.50)`` and ``12.50-`` (both negative), in digits of any script. Whether the comma
    or the point is the decimal mark is decided by the values that can only be read one way; what contradicts the
    decision is not a number. Nor is a percentage, or a number next to a word that is no currency and is not next to
    nearly all of them.
    """
    if values.dtype != pl.String:
        return _in_reason(values.cast(pl.Float64, strict=False)), None
    if number_format is None:
        number_format = NumberEvidence.of(values).decide(column=values.name)
    if number_format.mark == "plain":
        return _in_reason(values.str.strip_chars().cast(pl.Float64, strict=False)), None
    distinct = values.unique()
    read = pl.DataFrame({"text": distinct, "number": _numbers(distinct, number_format)})
    joined = values.to_frame("text").join(read, on="text", how="left", nulls_equal=True, maintain_order="left")
    return _in_reason(joined["number"].alias(values.name)), COMMA_NOTE if number_format.mark == "comma" else None


MONEY_UNITS = 10_000
"""Units in which money is added up exactly."""


def exact_units(money: pl.Series, *, units: int = MONEY_UNITS) -> int:
    """Add up money as whole units, exactly and without the limit of 64 bits."""
    whole = (money.fill_nan(None).fill_null(0.0) * units).round(0).cast(pl.Int128)
    return int(whole.sum())


def _is_plain(values: pl.Series) -> bool:
    stripped = values.str.strip_chars()
    direct = stripped.cast(pl.Float64, strict=False)
    return not (direct.is_null() & values.is_not_null() & (stripped != "")).any()


def _in_reason(numbers: pl.Series) -> pl.Series:
    absurd = ~numbers.is_finite() | (numbers.abs() > _MAX_AMOUNT)
    return numbers.set(absurd.fill_null(value=False), None) + 0.0


def _of_texts(texts: pl.DataFrame, *, is_plain: bool) -> NumberEvidence:
    texts = texts.filter(~pl.col("text").str.strip_chars().str.to_lowercase().is_in(BLANK_WORDS))
    cleaned = _cleaned(texts["text"])
    shapes = _number_shapes(cleaned)
    if not distinct_shapes(shapes):
        return NumberEvidence(int(texts["rows"].sum()), is_plain=is_plain)
    texts = texts.with_columns(cleaned.alias("clean"), shapes.alias("shape"))
    bare = pl.col("clean").str.extract(r"(\d[\d.,]*)")
    zero = pl.when(bare.str.contains(r"^0\d*[.,]")).then(1).when(bare.str.contains(r"^0+$")).then(2).otherwise(0)
    groups = (
        texts.with_columns(zero.alias("zero")).group_by("shape", "zero").agg(pl.col("rows").sum(), pl.col("text").min())
    )
    count: dict[str, Counter[str]] = {name: Counter() for name in ("kinds", "currencies", "words", "sides")}
    examples: dict[str, str] = {}
    for text_shape, zeros, rows, text in groups.rows():
        found = _number_shape_of(text_shape) if text_shape is not None else None
        if found is None:
            continue
        kind = {1: found.kind.removeprefix("three_"), 2: "zero"}.get(zeros, found.kind)
        count["kinds"][kind] += rows
        examples[kind] = min(examples.get(kind, text), text)
        count["sides"][found.side] += rows
        currency = currency_of(found.word) if found.word else None
        if found.word:
            count["words" if currency is None else "currencies"][currency or found.word] += rows
    return NumberEvidence(
        int(texts["rows"].sum()),
        dict(count["kinds"]),
        dict(count["currencies"]),
        _limited(count["words"]),
        count["sides"]["cr"],
        count["sides"]["dr"],
        is_plain=is_plain,
        round=int(texts.filter(pl.col("clean").str.contains(r"\d[.,]000$"))["rows"].sum()),
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


def _numbers(texts: pl.Series, number_format: NumberFormat) -> pl.Series:
    cleaned = _cleaned(texts)
    shapes = _number_shapes(cleaned)
    found = {shape: _number_shape_of(shape) for shape in distinct_shapes(shapes)}
    rows = [
        {"shape": shape, "start": number.start, "length": number.length, "sign": _sign(number, number_format)}
        for shape, number in found.items()
        if number is not None and _is_accepted(number, number_format)
    ]
    schema = {"shape": pl.String, "start": pl.Int64, "length": pl.Int64, "sign": pl.Int8}
    placed = pl.DataFrame({"text": cleaned, "shape": shapes}).join(
        pl.DataFrame(rows, schema=schema), on="shape", how="left", maintain_order="left"
    )
    core = pl.when(pl.col("start").is_not_null()).then(pl.col("text").str.slice(pl.col("start"), pl.col("length")))
    other = "." if number_format.mark == "comma" else ","
    core = pl.when(~core.str.contains(rf"^0\d*[{other}]")).then(core)  # no group of thousands begins with a zero
    digits = core.str.replace_all(rf"[ '’_{other}]", "").str.replace(",", ".", literal=True)
    return placed.select(digits.cast(pl.Float64, strict=False) * pl.col("sign")).to_series()


def _is_accepted(number: _NumberShape, number_format: NumberFormat) -> bool:
    contradicts = number.kind in {"point", "comma"} and number.kind != (
        "comma" if number_format.mark == "comma" else "point"
    )
    return not contradicts and (
        not number.word or number.word in number_format.words or currency_of(number.word) is not None
    )


def _sign(number: _NumberShape, number_format: NumberFormat) -> int:
    side = {"cr": number_format.credit_sign, "dr": -number_format.credit_sign}.get(number.side, 1)
    return number.sign * side

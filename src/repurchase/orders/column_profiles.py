"""Profiles of columns by their names and values, and candidates ranked for each role."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from repurchase.errors import InputError
from repurchase.orders.amounts import NumberEvidence, read_numbers
from repurchase.orders.dates import read_dates
from repurchase.orders.ids import clean_ids
from repurchase.orders.layout import FILE_COLUMN, Fact
from repurchase.sources.statuses import FALSE_WORDS, TRUE_WORDS, classify_status, classify_types
from repurchase.sources.vocabulary import NOT_FOR, ColumnName, fold, parse_name

_FEW_VALUES = 40
_FEW_TEXTS = 12
_MOST_VALUES = 0.8
_DATES_TRIED = 300
_EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
_PERSON = r"^\p{L}[\p{L}'’.\-]*(\s+[\p{L}'’.\-]+)+$"
_CLOCK = r"^\s*\d{1,2}[:.]\d{2}([:.]\d{2}([.,]\d+)?)?\s*(?i:[ap]\.?\s?m\.?)?\s*$"


@dataclass(frozen=True)
class ColumnProfile:
    """What the name and the values of a column show in a sample of rows."""

    name: ColumnName
    values: pl.Series
    files: pl.Series | None = None

    @property
    def text(self) -> str:
        """The column's name as written."""
        return self.name.text

    @cached_property
    def ids(self) -> pl.Series:
        """Values with one spelling each; null for blanks and placeholders."""
        return clean_ids(self.values)

    @cached_property
    def filled(self) -> pl.Series:
        """Whether a row has a value."""
        return self.ids.is_not_null()

    @cached_property
    def n_filled(self) -> int:
        """Rows with a value."""
        return int(self.filled.sum())

    @cached_property
    def n_distinct(self) -> int:
        """Different values."""
        return self.ids.drop_nulls().n_unique()

    @cached_property
    def few_values(self) -> Mapping[str, int]:
        """Rows of each value, most frequent first; empty where there are many."""
        if not 0 < self.n_distinct <= _FEW_VALUES:
            return {}
        return dict(self.ids.drop_nulls().value_counts(sort=True).rows())

    @cached_property
    def has_few_texts(self) -> bool:
        """Whether all values are among a few texts, as statuses are."""
        texts = [*self.few_values]
        is_text = self.values.dtype == pl.String and all(any(map(str.isalpha, text)) for text in texts)
        return is_text and 2 <= len(texts) <= _FEW_TEXTS and self.n_filled >= 2 * len(texts)

    @cached_property
    def numbers(self) -> pl.Series:
        """Values as numbers; all null where the column is no column of numbers."""
        nothing = pl.Series(self.values.name, [None], dtype=pl.Float64).new_from_index(0, len(self.values))
        if self.values.dtype.is_temporal() or self.values.dtype == pl.Boolean:
            return nothing
        if self.values.dtype != pl.String:
            return read_numbers(self.values)[0]
        if self.files is None:
            return _numbers(self.values)
        for number in self.files.unique():
            inside = self.files == number
            nothing = _numbers(self.values.set(~inside, None)).zip_with(inside, nothing)
        return nothing

    @cached_property
    def has_currency_signs(self) -> bool:
        """Whether most values are numbers with the sign or the code of a currency."""
        if self.values.dtype != pl.String or self.number_share < _MOST_VALUES:
            return False
        return sum(NumberEvidence.of(self.values).currencies.values()) >= _MOST_VALUES * self.n_filled > 0

    @cached_property
    def number_share(self) -> float:
        """Share of values that are numbers."""
        return self._share(self.numbers.is_not_null())

    @cached_property
    def zero_share(self) -> float:
        """Share of rows whose number is zero or missing."""
        return share(self.numbers.fill_null(0.0) == 0)

    @cached_property
    def date_share(self) -> float:
        """Share of (some) values that can be read as dates."""
        if self.values.dtype.is_temporal():
            return 0.0 if self.values.dtype in {pl.Time, pl.Duration} else 1.0
        some = self.values.filter(self.filled).unique(maintain_order=True)
        some = some.gather_every(max(1, len(some) // _DATES_TRIED))
        if some.is_empty():
            return 0.0
        try:
            read = [read_dates(some, date_order=order).values for order in ("day_first", "month_first")]
        except InputError:
            return 0.0
        return max(share(dates.is_not_null()) for dates in read)

    @cached_property
    def digit_share(self) -> float:
        """Share of values with a digit in them."""
        return 1.0 if self.values.dtype.is_temporal() else self._share(self.ids.str.contains(r"\d"))

    @cached_property
    def clock_share(self) -> float:
        """Share of values that are times of day without a date."""
        if self.values.dtype == pl.Time:
            return 1.0
        return self._share(self.values.cast(pl.String, strict=False).str.contains(_CLOCK))

    @cached_property
    def email_share(self) -> float:
        """Share of values that are e-mail addresses."""
        return self._share(self.ids.str.contains(_EMAIL))

    @cached_property
    def person_share(self) -> float:
        """Share of values that look like names of persons."""
        return self._share(self.ids.str.contains(_PERSON))

    @cached_property
    def currency_share(self) -> float:
        """Share of values that are three letters."""
        return self._share(self.ids.str.contains(r"^(?i:[a-z]{3})$"))

    @cached_property
    def is_flag(self) -> bool:
        """Whether every value says yes or no."""
        if self.values.dtype == pl.Boolean:
            return True
        words = {fold(value) for value in self.few_values}
        return 0 < len(words) <= 3 and words <= TRUE_WORDS | FALSE_WORDS

    @cached_property
    def status_share(self) -> float:
        """Share of rows whose value is a known status, where the values are few; 0 otherwise."""
        return self._understood({value for value in self.few_values if classify_status(value) != "unknown"})

    @cached_property
    def excludes_orders(self) -> bool:
        """Whether a value says that an order is no sale or was paid back."""
        return any(classify_status(value) in {"not_sale", "refunded"} for value in self.few_values)

    @cached_property
    def type_share(self) -> float:
        """Share of rows whose value is a known type of record."""
        return self._understood({value for value, kind in classify_types(self.few_values).items() if kind != "unknown"})

    @cached_property
    def has_refund_type(self) -> bool:
        """Whether a value says that a record is a refund or no order at all."""
        return any(kind in {"refund", "other"} for kind in classify_types(self.few_values).values())

    def _understood(self, values: set[str]) -> float:
        rows = sum(count for value, count in self.few_values.items() if value in values)
        return rows / self.n_filled if self.n_filled else 0.0

    def _share(self, mask: pl.Series) -> float:
        return float((mask & self.filled).fill_null(value=False).sum()) / self.n_filled if self.n_filled else 0.0


def _numbers(values: pl.Series) -> pl.Series:
    evidence = NumberEvidence.of(values)
    try:
        number_format = evidence.decide()
    except InputError:  # its decimal mark is undecided, which is an error when the column is read
        number_format = evidence.decide(decimal_mark="point")
    return read_numbers(values, number_format=number_format)[0]


def share(mask: pl.Series) -> float:
    """Say which share of a column is true."""
    return int(mask.sum()) / max(len(mask) - mask.null_count(), 1)


def profile_columns(rows: pl.DataFrame) -> list[ColumnProfile]:
    """Prepare the profiles of all columns."""
    files = rows[FILE_COLUMN] if FILE_COLUMN in rows.columns else None
    return [ColumnProfile(parse_name(name), rows[name], files) for name in rows.columns if name != FILE_COLUMN]


MONEY_ROLES = ("amount", "order_total")
_UNKNOWN_LETTERS = 20.0
_LINES_OF_ONE_ORDER = 20


@dataclass(frozen=True)
class Candidate:
    """A column that could have a role; the higher its rank, the better."""

    profile: ColumnProfile
    rank: float
    against: Fact | None = None


_Ranked = tuple[float, Fact | None] | None
_Condition = Callable[[ColumnProfile], bool]


def rank_columns(profiles: Sequence[ColumnProfile], role: str) -> list[Candidate]:
    """Rank the columns that could have a role."""
    rank = _RANKED_ROLES[role]
    found = [Candidate(profile, *ranked) for profile in profiles if (ranked := rank(profile)) is not None]
    return sorted(found, key=lambda candidate: (candidate.against is not None, -candidate.rank))


def _unknown(column: ColumnProfile) -> float:
    return min(4.0, column.name.unknown / 4.0)


def _rank_of_word(column: ColumnProfile, ranks: Mapping[str, float]) -> float | None:
    """The rank of the first of these concepts that a name has."""
    return next((rank for concept, rank in ranks.items() if column.name.has(concept)), None)


def _customer(column: ColumnProfile) -> _Ranked:
    name = column.name
    if (column.is_flag and not name.has("id")) or column.values.dtype.is_temporal():
        return None
    if column.n_filled == 0:  # the last to be chosen, so that a message can name it
        return (0.0, Fact("mostly_empty", {"share": 0.0})) if name.has("customer") else None
    rank = _contact_rank(column) or _customer_rank(column)
    return None if rank is None else (rank - _unknown(column), None)


def _contact_rank(column: ColumnProfile) -> float | None:
    name = column.name
    if name.has("employee") and not name.has("customer"):
        return None
    if name.has("email") and not name.has("date", "time", "status", "type", "first", "shipped", "amount"):
        return 80.0 + (column.email_share >= 0.5) - 0.5 * name.has("invoice")
    return 30.0 if name.has("phone") and not name.has("date", "type") else None


def _customer_rank(column: ColumnProfile) -> float | None:
    name = column.name
    if _is_loyalty_card(name):
        return 87.0
    if name.has(*NOT_FOR["id"], "order", "transaction", "product", "line", "invoice", "receipt"):
        return None
    named, is_person = name.has("customer"), name.has("person")
    if named and name.has("id") and not is_person:
        return 100.0
    if (named or is_person) and column.person_share >= 0.5:
        return 20.0 + 2.0 * named
    if not named:
        return None
    return 15.0 if is_person else 88.0 - _unknown(column)


def _is_loyalty_card(name: ColumnName) -> bool:
    """Whether a name is of a member's card or number of a loyalty programme, not of its points or days."""
    is_card = (name.has("loyalty") and name.has("id")) or name.concepts[:2] == ("customer", "method")
    return is_card and not name.has("balance", "date", "amount", "total", "status", "type")


_ORDER_WORDS = {
    "order": 100.0,
    "receipt": 95.0,
    "sale": 94.0,
    "invoice": 93.0,
    "transaction": 92.0,
    "basket": 88.0,
}


def _order(column: ColumnProfile) -> _Ranked:
    name = column.name
    if (column.is_flag and not name.has("id")) or column.values.dtype.is_temporal():
        return None
    if column.n_distinct < 2 and (column.n_distinct == 0 or column.n_filled > _LINES_OF_ONE_ORDER):
        return None
    if name.has(*NOT_FOR["id"], "customer", "product", "email", "phone", "employee"):
        return None
    rank = _order_rank(column)
    if rank is None:
        return None
    missing = 40.0 * (1.0 - column.n_filled / max(len(column.values), 1))
    rank -= 8.0 * (name.has("line", "record")) + _unknown(column) + missing
    return rank + (2.0 if name.has("id") else -12.0), None


def _order_rank(column: ColumnProfile) -> float | None:
    name, rank = column.name, _rank_of_word(column, _ORDER_WORDS)
    if rank is not None:
        many = column.n_distinct >= (0.01 if rank >= 93.0 and not name.has("sale") else 0.2) * column.n_filled
        return rank if name.has("id") or (many and column.person_share < 0.5) else None
    if name.only("id") and column.n_distinct >= 0.3 * column.n_filled:
        return 55.0
    looks_numbered = share(column.ids.drop_nulls().str.contains(r"^[#A-Za-z\-]{0,8}\d+[A-Za-z\-]{0,4}$"))
    return 60.0 if name.only("person") and looks_numbered >= 0.9 else None


_DATE_WORDS = {"order": 100.0, "sale": 98.0, "transaction": 95.0, "receipt": 94.0, "invoice": 90.0}


def _date(column: ColumnProfile) -> _Ranked:
    name = column.name
    of_event = name.concepts[:2] in {("type", "date"), ("type", "time")}  # event_date, Vorgangsdatum
    unwanted = [concept for concept in NOT_FOR["date"] if not (of_event and concept == "type")]
    if name.has(*unwanted) or column.is_flag or column.n_filled == 0:
        return None
    rank = _date_rank(column)
    if rank is None:
        return None
    return rank - _unknown(column) / 2.0, None if column.date_share >= 0.5 else Fact("not_dates")


def _date_rank(column: ColumnProfile) -> float | None:
    name, word = column.name, _rank_of_word(column, _DATE_WORDS)
    is_day = name.has("date", "time")
    if name.has("created"):
        return 99.0 if is_day else 97.0
    if name.has("paid", "valid"):
        return 60.0 + is_day if is_day or column.date_share >= 0.9 else None
    if name.has("processed"):
        return 70.0
    if word is not None and not is_day:
        return 50.0 if column.date_share >= 0.9 and column.number_share < 0.5 else None
    if word is not None or name.has("date"):
        return word or 93.0
    return 55.0 if name.has("time") and column.clock_share < 0.5 else None


_MONEY_WORDS = {
    "subtotal": 4.0,
    "total": 9.0,
    "revenue": 8.0,
    "amount": 8.0,
    "price": 7.5,
    "grand": 7.0,
    "net": 7.0,
    "sale": 6.0,
    "paid": 5.0,
}
_MONEY_POINTS: tuple[Mapping[tuple[str, ...], float], ...] = (
    {("adjusted",): 0.50, ("including",): 0.30, ("excluding",): -1.0, ("converted",): -1.5},
    {("grand",): 0.20, ("order", "paid"): 0.10, ("base",): 0.05},
)


def money_rank(column: ColumnProfile) -> float | None:
    """Rank a column as the money a customer paid."""
    name = column.name
    is_taxed = name.has("tax") and name.has("including", "excluding")
    if name.has(*NOT_FOR["money"], "tax") and not is_taxed:
        return None
    if name.has("unit", "price") and not name.has("total", "order"):
        return None
    is_amount = name.only("amount") and name.text.strip().casefold() in {"amount", "net_amount"}
    rank = 10.0 if is_amount else _rank_of_word(column, _MONEY_WORDS)
    if rank is None:
        return None
    for group in _MONEY_POINTS:
        rank += sum(points for concepts, points in group.items() if name.has(*concepts))
    after_discount = name.has("net") and name.has("sale", "revenue")  # net of discounts, where gross is before them
    rank += 1.5 * after_discount - 0.60 * (name.has("net") and not after_discount) - 0.40 * name.has("purchased")
    rank -= 2.0 * (name.concepts == ("total", "line"))  # total items may be how many; of lines it is the line total
    return rank - name.unknown / _UNKNOWN_LETTERS


def _money(column: ColumnProfile) -> _Ranked:
    rank = money_rank(column)
    if rank is None:
        return None
    if column.number_share < 0.5 or column.is_flag:
        return None if column.n_filled and rank < 8.0 else (rank, Fact("not_numbers"))
    rank -= 10.0 * (1.0 - column.number_share)
    most = 0.5 if column.name.has("adjusted") else 0.9
    if column.zero_share >= most and column.n_filled >= 0.5 * len(column.values):
        return rank, Fact("mostly_zero", {"share": column.zero_share})
    return rank, None


def _refund(column: ColumnProfile) -> _Ranked:
    ranked = _REFUND(column)
    is_partial = column.n_filled < len(column.values) or column.zero_share >= 0.3
    return ranked if ranked is None or is_partial else (ranked[0], Fact("mostly_zero", {"share": 0.0}))


def _status(column: ColumnProfile) -> _Ranked:
    name, known = column.name, column.status_share
    unwanted = ("shipped", "customer", "address", "product", "line", "email", "tax", "reason", "refund")
    if name.has(*unwanted) or column.is_flag or not column.few_values:
        return None
    if name.has("status"):
        if known == 0.0 and not (name.has("order", "paid", "financial") or name.only("status")):
            return None
        return 10.0 + 2.0 * name.has("order") + name.has("paid", "financial") + known - _unknown(column) / 4.0, None
    answers = known == 1.0 and len(column.few_values) > 1  # of a payment provider: gateway_response
    named_otherwise = name.has("type", "note") or (name.has("method") and not answers)
    return (5.0 + known, None) if known >= 0.9 and column.excludes_orders and not named_otherwise else None


def _record_type(column: ColumnProfile) -> _Ranked:
    name = column.name
    unwanted = ("customer", "product", "address", "method", "shipped", "email", "discount")
    if name.has(*unwanted) or not column.has_refund_type or column.is_flag:
        return None
    if name.has("type"):
        return 10.0 + column.type_share, None
    return (4.0, None) if column.type_share >= 0.98 and not name.has("status", "id", "note") else None


def _is_filled(column: ColumnProfile) -> bool:
    return column.n_filled > 0


def _is_numeric(column: ColumnProfile) -> bool:
    return column.number_share >= 0.5


def _is_flag(column: ColumnProfile) -> bool:
    return column.is_flag


def _is_price(column: ColumnProfile) -> bool:
    name = column.name
    if not name.has("price") and not name.has("amount", "total", "net"):
        return False
    per_piece = name.concepts[:1] == ("price",) and name.has("quantity", "id")
    is_other = name.has(*NOT_FOR["price"]) and not per_piece
    return not is_other and (name.has("unit") or not name.has("total")) and _is_numeric(column)


def _is_product(column: ColumnProfile) -> bool:
    repeats = column.n_distinct < column.n_filled
    return _is_filled(column) and (column.name.has("product") or (column.name.has("id", "person") and repeats))


@dataclass(frozen=True)
class _Rule:
    """Ranks columns with a wanted and no unwanted concept in their name whose values meet a condition."""

    wanted: tuple[str, ...]
    unwanted: tuple[str, ...] = ()
    condition: _Condition = _is_filled
    points: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    counts_unknown: bool = True

    def __call__(self, column: ColumnProfile) -> _Ranked:
        name = column.name
        if not name.has(*self.wanted) or name.has(*self.unwanted) or not self.condition(column):
            return None
        points = sum(points for concepts, points in self.points.items() if name.has(*concepts))
        return 10.0 + points - self.counts_unknown * _unknown(column), None


_LINE_OR_UNIT: Mapping[tuple[str, ...], float] = {("line", "unit"): 2.0}
_REFUND = _Rule(
    ("refund",),
    ("id", "date", "status", "type", "quantity", "tax", "shipped", "fee", "note"),
    lambda column: _is_numeric(column) and _is_filled(column),
    {("total", "amount"): 1.0, ("converted",): -2.0},
)
_RANKED_ROLES: Mapping[str, Callable[[ColumnProfile], _Ranked]] = {
    "customer_id": _customer,
    "order_id": _order,
    "order_date": _date,
    "amount": _money,
    "refunded": _refund,
    "status": _status,
    "record_type": _record_type,
    "quantity": _Rule(
        ("quantity",),
        ("id", "customer", "refund", "tax", "price", "amount", "discount", "cancelled", "shipped", "order"),
        _is_numeric,
        _LINE_OR_UNIT,
    ),
    "price": _Rule(("price", "unit"), (), _is_price, {**_LINE_OR_UNIT, ("customer",): -3.0}),
    "line_discount": _Rule(("discount",), ("order", "total", "id", "type"), _is_numeric, _LINE_OR_UNIT),
    "discount": _Rule(("discount",), ("line", "id", "type", "tax"), _is_numeric, _LINE_OR_UNIT),
    "product_id": _Rule(("product", "line"), NOT_FOR["product"], _is_product, {("id", "line"): 2.0, ("person",): -3.0}),
    "category": _Rule(("category",), ("customer", "id", "price", "tax"), points={("person",): -3.0}),
    "channel": _Rule(("channel",), ("id", "date", "amount", "address", "customer"), points={("person",): -3.0}),
    "currency": _Rule(
        ("currency",),
        ("converted", "amount", "total"),
        lambda column: column.currency_share >= 0.9,
        {("order",): 1.0},
    ),
    "cancelled_at": _Rule(
        ("cancelled",),
        ("note", "id", "amount", "total", "status", "type", "reason", "quantity"),
        lambda column: not column.is_flag and (column.n_filled == 0 or column.digit_share >= 0.9),
        {("date", "time"): 1.0},
        counts_unknown=False,
    ),
    "paid_at": _Rule(
        ("paid",),
        ("shipped", "status", "method", "id", "amount", "due", "type"),
        lambda column: not column.is_flag and _is_filled(column) and column.date_share >= 0.9,
    ),
    "cancelled": _Rule(("cancelled", "test"), (), _is_flag, counts_unknown=False),
    "paid": _Rule(("paid", "valid"), (), _is_flag, counts_unknown=False),
    "employee": _Rule(("employee",), (), _is_flag, counts_unknown=False),
}
"""How the columns for each role are ranked."""

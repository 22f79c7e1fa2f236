"""The values of an export under our names, and the statistics of all rows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from repurchase.errors import OrdersError
from repurchase.i18n.messages import Message, message
from repurchase.orders.amounts import read_numbers
from repurchase.orders.dates import DatesRead, offsets_note, read_dates
from repurchase.orders.format_inference import NUMBERS, ColumnFormats, written_dates
from repurchase.orders.ids import clean_ids, damaged_ids, known_ids
from repurchase.orders.layout import FILE_COLUMN, STATUS_ROLES, Layout
from repurchase.orders.mergeable import Mergeable
from repurchase.settings import Settings
from repurchase.sources.statuses import FALSE_WORDS, TRUE_WORDS, classify_status, classify_types, is_void
from repurchase.sources.vocabulary import BLANK_WORDS, fold, parse_name

_MAX_EXAMPLES = 5
_MONEY_ROLES_BY_RULE = {"amount": ("amount",), "order_total": ("order_total",), "quantity_price": ("quantity", "price")}


def _merge_examples(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *other)))[: _MAX_EXAMPLES + 1]


@dataclass(frozen=True)
class UnreadableValues(Mergeable):
    """Values of a column that could not be read."""

    rows: int = 0
    unread: int = 0
    examples: tuple[str, ...] = field(default=(), metadata={"merge": _merge_examples})

    @classmethod
    def of(cls, written: pl.Series, read: pl.Series) -> "UnreadableValues":
        """Compare a column as written with what was read."""
        if read.null_count() == 0:
            return cls(rows=len(read))
        is_filled = _is_filled(written)
        lost = written.filter(is_filled & read.is_null())
        first = lost.unique(maintain_order=True).head(_MAX_EXAMPLES + 1)
        return cls(int(is_filled.sum()), len(lost), tuple(f"'{str(value)[:40]}'" for value in first))

    @property
    def shown(self) -> str:
        """The examples, for a message."""
        return ", ".join(self.examples[:_MAX_EXAMPLES]) + (", ..." if len(self.examples) > _MAX_EXAMPLES else "")


def _is_filled(values: pl.Series) -> pl.Series:
    """Tell values from blanks and placeholders for missing ones."""
    if values.dtype != pl.String:
        return values.is_not_null()
    return (~values.str.strip_chars().str.to_lowercase().is_in(BLANK_WORDS)).fill_null(value=False)


@dataclass(frozen=True)
class LogStatistics(Mergeable):
    """What must be known of all rows before any of them is cleaned."""

    n_rows: int = 0
    n_named: int = 0
    n_dated: int = 0
    n_priced: int = 0
    dates: UnreadableValues = field(default_factory=UnreadableValues)
    numbers: Mapping[str, UnreadableValues] = field(default_factory=dict)
    has_times: bool = False
    currencies: Counter[str] = field(default_factory=Counter)
    offsets: frozenset[int] = frozenset()
    refund_rows: int = 0
    damaged_ids: int = 0

    @property
    def has_amounts(self) -> bool:
        """Whether there is money at all."""
        return self.n_priced > 0

    def repeats_are_faults(self, layout: Layout) -> bool:
        """Say whether a row that equals an earlier one is that row written twice."""
        if layout.first_line_only:
            return False
        return "order_id" in layout.columns or self.has_times

    def notes(self, layout: Layout) -> tuple[Message, ...]:
        """Say what these statistics decide."""
        empty = not self.has_amounts and layout.amount_rule != "none"
        no_money = (message("cleaning_note.no_amounts"),) if empty else ()
        return (*offsets_note(self.offsets), *no_money)

    def require_usable(self, layout: Layout, *, source: str) -> None:
        """Refuse a log most of which cannot be read."""
        for role in _MONEY_ROLES_BY_RULE.get(layout.amount_rule, ()):
            found = self.numbers.get(role, UnreadableValues())
            if found.unread * 2 > found.rows:
                raise OrdersError(
                    f"{source}: {found.unread:,} of {found.rows:,} values in the {role} column "
                    f"'{layout.columns[role]}' are not numbers: {found.shown}. Name the right column: "
                    f"--columns {role}=...",
                    withheld=found.shown,
                )
        customers, undated = layout.columns["customer_id"], self.n_rows - self.n_dated
        if not self.n_named:
            raise OrdersError(
                f"{source}: all {self.n_rows:,} rows lack a customer in column '{customers}'. "
                "Name the column that tells customers apart: --columns customer_id=..."
            )
        if self.damaged_ids:
            raise OrdersError(
                f"{source}: {self.damaged_ids:,} customer ids in column '{customers}' were damaged "
                "by a spreadsheet (such as 7.12E+12): different customers became one. Export the orders again without "
                "opening them in a spreadsheet, or name another column: --columns customer_id=..."
            )
        if undated * 2 > self.n_rows:
            raise OrdersError(
                f"{source}: {undated:,} of {self.n_rows:,} dates in column '{layout.columns['order_date']}' cannot be "
                f"read: {self.dates.shown or 'all of them are empty'}. Expected dates such as 2024-01-31, 31.12.2024 "
                "or 12/31/2024. Name the right column: --columns order_date=...",
                withheld=self.dates.shown,
            )


_ID_ROLES = ("order_id", "product_id", "category", "channel")
_TEXT_OF_THE_ORDER = ("customer_id", "order_date", "status", "validity", "record_type", "currency")
_FLAGS_OF_THE_ORDER = ("cancelled", "employee")
_SEVERITY = {"sale": 0, "unclear": 1, "unknown": 2, "refunded": 3, "not_sale": 4}
_MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True)
class OrderValues:
    """An export's values, one row per row of the export, in its order."""

    rows: pl.DataFrame
    statistics: LogStatistics


def read_values(rows: pl.DataFrame, layout: Layout, formats: ColumnFormats, *, settings: Settings) -> OrderValues:
    """Read every column that has a role."""
    columns = _Columns(rows, layout)
    dates = _read_dates(rows, layout, formats, settings)
    numbers = {role: _read_numbers(columns, role, formats) for role in NUMBERS}
    values = pl.DataFrame(
        {
            "row": pl.int_range(rows.height, dtype=pl.UInt32, eager=True),
            "customer_id": read_customers(rows, layout),
            **{role: columns.ids(role) for role in _ID_ROLES},
            "order_date": dates.values,
            **numbers,
            **_statuses(columns, settings),
            "record_type": _record_types(columns),
            "currency": columns.ids("currency").str.to_uppercase(),
            "cancelled": _cancelled(columns),
            "employee": columns.says("employee", TRUE_WORDS),
        }
    )
    if layout.continued:
        values = values.with_columns(pl.col("order_id").forward_fill())
    if layout.header_column is not None:
        values = _as_on_first_line(_with_copies(values, rows[layout.header_column]))
    if "adjusted_total" in layout.columns:
        values = _adjusted(values)
    values = _negated(values)
    values = values.with_columns(_is_refund(values).alias("is_refund"))
    if settings.sale_statuses:  # these are sales and no others: an order that was paid back is none, a refund is one
        unlisted = (pl.col("validity") == "refunded") & ~pl.col("is_refund")
        values = values.with_columns(pl.when(unlisted).then(pl.lit("not_sale")).otherwise("validity").alias("validity"))
    if layout.header_column is None:  # a refund under the number of its sale is apart from it
        copy = _number_by_day(values) if layout.numbers_recur else pl.lit(1, pl.Int64)
        values = values.with_columns(pl.when("is_refund").then(0).otherwise(copy).cast(pl.Int64).alias("copy"))
    priced = _with_money(values, layout)
    unread = {
        role: UnreadableValues.of(column, numbers[role])
        for role in NUMBERS
        if (column := columns.get(role)) is not None
    }
    return OrderValues(priced, _log_statistics(priced, columns, dates, unread))


def _log_statistics(
    values: pl.DataFrame, columns: "_Columns", dates: DatesRead, unread: dict[str, UnreadableValues]
) -> LogStatistics:
    when, layout = values["order_date"], columns.layout
    money = values["amount" if layout.amount_rule in {"amount", "quantity_price"} else "net_total"]
    return LogStatistics(
        n_rows=values.height,
        n_named=values.height - values["customer_id"].null_count(),
        n_dated=values.height - when.null_count(),
        n_priced=values.height - money.null_count(),
        dates=UnreadableValues.of(written_dates(columns.rows, layout), dates.values),
        numbers=unread,
        has_times=bool((when.to_physical() % _MICROSECONDS_A_DAY != 0).any()),
        currencies=Counter(dict(values["currency"].drop_nulls().value_counts().rows())),
        offsets=dates.offsets,
        refund_rows=int(values["is_refund"].sum()),
        damaged_ids=int(damaged_ids(columns.ids("customer_id")).sum()),
    )


@dataclass(frozen=True)
class _Columns:
    """The columns of some rows by their roles."""

    rows: pl.DataFrame
    layout: Layout

    def get(self, role: str) -> pl.Series | None:
        name = self.layout.columns.get(role)
        return self.rows[name] if name is not None else None

    def empty(self, dtype: pl.DataType) -> pl.Series:
        return pl.Series([None], dtype=dtype).new_from_index(0, self.rows.height)

    def none(self) -> pl.Series:
        return pl.Series([False]).new_from_index(0, self.rows.height)

    def ids(self, role: str) -> pl.Series:
        column = self.get(role)
        return clean_ids(column) if column is not None else self.empty(pl.String())

    def says(self, role: str, words: frozenset[str]) -> pl.Series:
        """Whether a row has one of some words."""
        column = self.get(role)
        if column is None:
            return self.none()
        text = column.cast(pl.String)
        matching = [word for word in text.unique().drop_nulls() if fold(word.strip()) in words]
        return text.is_in(matching).fill_null(value=False)


def read_customers(rows: pl.DataFrame, layout: Layout) -> pl.Series:
    """Read the customer of each row."""
    first, *others = layout.customer_columns
    customers = known_ids(rows[first])
    if not others or not customers.null_count():
        return customers
    fallback = known_ids(rows[others[0]])
    known = fallback.replace(list(layout.aliases), list(layout.aliases.values())) if layout.aliases else fallback
    return customers.zip_with(customers.is_not_null(), known)


def _read_dates(rows: pl.DataFrame, layout: Layout, formats: ColumnFormats, settings: Settings) -> DatesRead:
    written = written_dates(rows, layout)
    if not formats.dates_by_file or FILE_COLUMN not in rows.columns:
        return read_dates(written, timezone=settings.timezone, date_format=formats.dates)
    values, offsets = pl.Series([None], dtype=pl.Datetime("us")).new_from_index(0, rows.height), frozenset[int]()
    for number in rows[FILE_COLUMN].unique():
        inside = rows[FILE_COLUMN] == number
        date_format = formats.dates_by_file.get(int(number), formats.dates)
        read = read_dates(written.set(~inside, None), timezone=settings.timezone, date_format=date_format)
        values, offsets = read.values.zip_with(inside, values), offsets | read.offsets
    return DatesRead(values, (), offsets)


def _read_numbers(columns: _Columns, role: str, formats: ColumnFormats) -> pl.Series:
    column, rows = columns.get(role), columns.rows
    if column is None:
        return columns.empty(pl.Float64())
    values = read_numbers(column, number_format=formats.numbers[role])[0]
    if FILE_COLUMN not in rows.columns:
        return values
    for (known, number), number_format in formats.numbers_by_file.items():
        inside = rows[FILE_COLUMN] == number
        if known == role and inside.any():
            read = read_numbers(column.set(~inside, None), number_format=number_format)[0]
            values = read.zip_with(inside, values)
    return values


def _statuses(columns: _Columns, settings: Settings) -> dict[str, pl.Series]:
    """The status of each row and its class; of two columns, the one that speaks against a sale decides."""
    status, validity = columns.empty(pl.String()), columns.empty(pl.String())
    for role in STATUS_ROLES:
        column = columns.get(role)
        if column is None:
            continue
        text, is_payment = clean_ids(column), parse_name(column.name).has("paid", "financial")
        classes = {
            word: classify_status(
                word,
                sale=settings.sale_statuses,
                not_sale=settings.not_sale_statuses,
                shop=columns.layout.shop_statuses,
                payment=is_payment,
            )
            for word in text.unique().drop_nulls()
        }
        known = text.replace_strict(classes, default=None, return_dtype=pl.String)
        worse = (_severity(known) > _severity(validity)).fill_null(value=False)
        status, validity = text.zip_with(worse, status), known.zip_with(worse, validity)
    return {"status": status, "validity": _by_payment_day(validity, columns)}


def _by_payment_day(validity: pl.Series, columns: _Columns) -> pl.Series:
    """Decide by the day of payment what no status decides."""
    column = columns.get("paid_at")
    if column is None:
        return validity
    has_status = any(role in columns.layout.columns for role in STATUS_ROLES)
    undecided = pl.col("validity").is_in(["unclear", "unknown"]) if has_status else pl.lit(value=True)
    paid = pl.when("paid").then(pl.lit("sale")).otherwise(pl.lit("not_sale"))
    both = pl.DataFrame({"validity": validity, "paid": _has_day(column)})
    return both.select(pl.when(undecided).then(paid).otherwise("validity")).to_series()


def _severity(validity: pl.Series) -> pl.Series:
    return validity.replace_strict(_SEVERITY, default=-1, return_dtype=pl.Int8)


def _record_types(columns: _Columns) -> pl.Series:
    text = columns.ids("record_type")
    types = text.unique().drop_nulls().sort()
    kinds = {kind: "void" if is_void(kind) else meaning for kind, meaning in classify_types(types).items()}
    return text.replace_strict(kinds, default=None, return_dtype=pl.String)


def _cancelled(columns: _Columns) -> pl.Series:
    column, paid = columns.get("cancelled_at"), columns.get("paid_at")
    dated = columns.none()
    if column is not None:
        dated = _has_day(column)
        if paid is not None:  # a day of cancellation that only repeats the moment of an order that was paid
            placed = columns.rows[columns.layout.columns["order_date"]]
            dated &= ~((column == placed) & _has_day(paid)).fill_null(value=False)
    return dated | columns.says("cancelled", TRUE_WORDS) | columns.says("paid", FALSE_WORDS)


def _has_day(column: pl.Series) -> pl.Series:
    """Whether a value can be a day; blanks, dashes and 0000-00-00 cannot."""
    if column.dtype != pl.String:
        return column.is_not_null()
    return column.str.contains(r"[1-9]|^\s*(?i:true|yes|ja|oui|si)\s*$").fill_null(value=False)


def _adjusted(values: pl.DataFrame) -> pl.DataFrame:
    """Put totals that were adjusted later, by partial refunds, in place of the first ones."""
    is_adjusted = (pl.col("adjusted_total").abs() > 0).fill_null(value=False)
    return values.with_columns(
        pl.when(is_adjusted & pl.col(name).is_not_null()).then("adjusted_total").otherwise(name).alias(name)
        for name in ("amount", "order_total")
    )


def _negated(values: pl.DataFrame) -> pl.DataFrame:
    """Turn the money of refund records negative, however they are written."""
    is_refund = (pl.col("record_type") == "refund").fill_null(value=False)
    return values.with_columns(
        pl.when(is_refund).then(-pl.col(name).abs()).otherwise(name).alias(name)
        for name in ("amount", "order_total", "quantity")
    )


def _with_copies(values: pl.DataFrame, header: pl.Series) -> pl.DataFrame:
    """Number the orders of one order id: a second first line begins a second order."""
    begins = values.with_columns(_is_filled(header).cast(pl.Int64).alias("begins"))
    copy = pl.col("begins").cum_sum().over("order_id").clip(lower_bound=1)
    return begins.with_columns(copy.alias("copy")).drop("begins")


def _number_by_day(values: pl.DataFrame) -> pl.Series:
    """Number the orders of one number and customer: a sale on another day begins another; what comes back does not."""
    order = ["customer_id", "order_id"]
    backwards = pl.any_horizontal((pl.col(name) < 0) for name in ("amount", "order_total", "quantity"))
    day = pl.when(~backwards.fill_null(value=False)).then(pl.col("order_date").dt.date())
    sales = values.select("row", "order_date", *order, day.alias("day")).sort("order_date", "row")
    before = pl.col("day").forward_fill().shift(1).over(order)
    begins = (pl.col("day") != before).fill_null(value=False).cast(pl.Int64)
    numbered = sales.with_columns(begins.alias("begins")).with_columns(pl.col("begins").cum_sum().over(order) + 1)
    return numbered.sort("row")["begins"]


def _is_refund(values: pl.DataFrame) -> pl.Series:
    """Whether a row is a refund: by its type, by the sign of its order's total, or by its status and all its lines."""
    by_type = (pl.col("record_type") == "refund").fill_null(value=False)
    if values["order_total"].null_count() < values.height:
        return values.select(by_type | (pl.col("order_total") < 0).fill_null(value=False)).to_series()
    money = pl.coalesce("amount", pl.col("price") * pl.col("quantity"))
    negative = (money < 0).fill_null(value=False)
    if not values.select(negative.any()).item():
        return values.select(by_type).to_series()
    refunded = (pl.col("validity") == "refunded").fill_null(value=False)
    has_sale_lines = (refunded & ~negative).any().over("order_id", "customer_id")  # then it is a line of that order
    return values.select(by_type | (refunded & negative & ~has_sale_lines)).to_series()


def _as_on_first_line(values: pl.DataFrame) -> pl.DataFrame:
    """Give every line of an order the customer, date, status and currency of the order's first line that has them."""
    firsts = values.group_by("order_id", "copy", maintain_order=True).agg(
        *(pl.col(name).drop_nulls().first() for name in _TEXT_OF_THE_ORDER),
        *(pl.col(name).any() for name in _FLAGS_OF_THE_ORDER),
    )
    alone = values.filter(pl.col("order_id").is_null())
    own = values.with_columns(pl.col("record_type").alias("own_type")).drop(_TEXT_OF_THE_ORDER, _FLAGS_OF_THE_ORDER)
    joined = own.join(firsts, on=["order_id", "copy"])
    joined = joined.with_columns(pl.coalesce("own_type", "record_type").alias("record_type"))
    return pl.concat([joined.select(values.columns), alone]).sort("row")


def _with_money(values: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    line_value = pl.col("price") * pl.col("quantity").fill_null(1.0) - pl.col("line_discount").fill_null(0.0)
    values = values.with_columns(line_value.alias("line_value"))
    if layout.amount_rule == "quantity_price":
        values = values.with_columns((pl.col("price") * pl.col("quantity")).alias("amount"))
    if layout.amount_rule == "order_total":
        return _with_totals(values, layout)
    empty = pl.lit(None, pl.Float64)
    if layout.refund_per == "line":
        gross = pl.col("amount")
        net = pl.when(gross >= 0).then(gross - pl.col("refunded").abs().fill_null(0.0)).otherwise(gross)
        return values.with_columns(gross.alias("gross_total"), net.round(6).alias("net_total"))
    return values.with_columns(empty.alias("gross_total"), empty.alias("net_total"))


def _with_totals(values: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Give every line its order's total before and after refunds."""
    # By customer too: of an id that two customers share, each has an order of their own.
    order = ["order_id", "copy"] if layout.first_line_only else ["customer_id", "order_id", "copy"]
    known = values.filter(pl.col("order_id").is_not_null())
    paid_back = pl.col("refunded").abs()
    refund = paid_back.sum() if layout.refund_per == "line" else paid_back.drop_nulls().first()
    totals = known.group_by(order, maintain_order=True).agg(
        pl.col("order_total").drop_nulls().first().alias("gross_total"), refund.fill_null(0.0).alias("refund")
    )
    joined = values.join(totals, on=order, how="left", maintain_order="left", nulls_equal=True).with_columns(
        pl.coalesce("gross_total", "order_total"), pl.coalesce("refund", paid_back, 0.0)
    )
    net = pl.when(pl.col("gross_total") >= 0).then(pl.col("gross_total") - pl.col("refund")).otherwise("gross_total")
    return joined.with_columns(net.round(6).alias("net_total")).drop("refund")

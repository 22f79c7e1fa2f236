"""What all rows decide is the same however they are split; each file is read as it is written."""

from collections.abc import Callable
from functools import reduce
from operator import add
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from repurchase.errors import OrdersError
from repurchase.orders.format_inference import FormatEvidence, untyped_columns
from repurchase.orders.layout import FILE_COLUMN, Layout
from repurchase.orders.log import read_orders
from repurchase.orders.pipeline import clean_orders
from repurchase.orders.values import LogStatistics, UnreadableValues, read_values
from repurchase.settings import Settings
from tests.orders.known_shop import ORDERS, TOTAL

DATES = ["03/04/2024", "31/12/2024", "12/31/2024", "2024-01-05", "5.6.2024", "45292", "soon", "", None]
AMOUNTS = ["7", "7,50", "1.234,56", "1,234.56", "12.5", "free", "", None]
LAYOUT = Layout("known", {name: name for name in ("customer_id", "order_date", "amount")}, "orders", "amount")

rows_of = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.sampled_from(DATES),
        st.sampled_from(AMOUNTS),
        st.sampled_from([0, 1]),
    ),
    min_size=2,
)


def frame(rows: list[tuple[str | int | None, ...]], *, files: bool = False) -> pl.DataFrame:
    schema = {**dict.fromkeys(("customer_id", "order_date", "amount"), pl.String), FILE_COLUMN: pl.UInt32}
    whole = pl.DataFrame([(*row[:3], row[3] if len(row) > 3 else 0) for row in rows], schema=schema, orient="row")
    return whole if files else whole.drop(FILE_COLUMN)


def decided(evidence: FormatEvidence, layout: Layout = LAYOUT) -> object:
    try:
        return evidence.decide(layout, settings=Settings(), source="orders")
    except OrdersError as fault:
        return str(fault)


@hypothesis_settings(deadline=None)
@given(rows_of, st.integers(1, 7), st.booleans())
def test_evidence_of_pieces_is_that_of_the_whole(
    rows: list[tuple[str | int | None, ...]], size: int, files: bool
) -> None:
    whole = frame(rows, files=files)
    pieces = reduce(add, (FormatEvidence.of(piece, LAYOUT) for piece in whole.iter_slices(size)))

    assert decided(pieces) == decided(FormatEvidence.of(whole, LAYOUT))


@hypothesis_settings(deadline=None)
@given(rows_of, st.integers(1, 7))
def test_statistics_of_pieces_are_those_of_the_whole(rows: list[tuple[str | int | None, ...]], size: int) -> None:
    whole = frame(rows)
    settings = Settings(date_order="day_first", decimal_mark="comma")
    formats = FormatEvidence.of(whole, LAYOUT).decide(LAYOUT, settings=settings, source="orders")

    def statistics(piece: pl.DataFrame) -> LogStatistics:
        return read_values(piece, LAYOUT, formats, settings=settings).statistics

    together, at_once = reduce(add, map(statistics, whole.iter_slices(size))), statistics(whole)
    for name in ("n_rows", "n_named", "n_dated", "n_priced", "has_times", "currencies", "offsets"):
        assert getattr(together, name) == getattr(at_once, name), name
    assert together.dates.unread == at_once.dates.unread
    assert together.numbers["amount"].unread == at_once.numbers["amount"].unread


@pytest.mark.parametrize(("deciding", "decides"), [(1, False), (10, False), (11, True)])
def test_a_few_values_decide_for_all_but_not_a_slip(deciding: int, decides: bool) -> None:
    many = frame([("a", "03/04/2024", "1.234")] * 500)
    few = frame([("b", "31/12/2024", "7,50")] * deciding)

    formats = decided(FormatEvidence.of(many, LAYOUT) + FormatEvidence.of(few, LAYOUT))

    assert isinstance(formats, str) != decides
    if not isinstance(formats, str):
        assert formats.dates.order == "day_first"  # type: ignore[attr-defined]
        assert formats.numbers["amount"].mark == "comma"  # type: ignore[attr-defined]
    assert isinstance(decided(FormatEvidence.of(many, LAYOUT)), str)


def test_typed_columns_leave_nothing_to_decide() -> None:
    schema = {"customer_id": pl.Int64(), "order_date": pl.Datetime("us"), "amount": pl.Float64()}

    assert untyped_columns(schema, LAYOUT) == []
    assert untyped_columns(schema | {"amount": pl.String()}, LAYOUT) == ["amount"]
    assert untyped_columns(schema | {"order_date": pl.Int64()}, LAYOUT) == ["order_date"]


def test_columns_without_evidence_have_a_format() -> None:
    formats = FormatEvidence().decide(LAYOUT, settings=Settings(), source="orders")

    assert list(formats.numbers) == ["amount"]


@pytest.mark.parametrize(("unread", "refused"), [(2, True), (1, False)])
def test_most_of_the_values_must_be_readable(unread: int, refused: bool) -> None:
    statistics = LogStatistics(
        n_rows=3, n_named=3, n_dated=3, numbers={"amount": UnreadableValues(3, unread, ("'free'",))}
    )

    if refused:
        with pytest.raises(OrdersError, match="2 of 3 values in the amount column 'amount' are not numbers: 'free'"):
            statistics.require_usable(LAYOUT, source="orders")
    else:
        statistics.require_usable(LAYOUT, source="orders")


DAY = pl.col("day").str.to_date()
ISO, NAMED = DAY.dt.strftime("%Y-%m-%d"), DAY.dt.strftime("%d %b %Y")
BRITISH, AMERICAN, DOTTED = DAY.dt.strftime("%d/%m/%Y"), DAY.dt.strftime("%m/%d/%Y"), DAY.dt.strftime("%d.%m.%Y")
POINT = pl.col("total").cast(pl.String)
COMMA = POINT.str.replace(".", ",", literal=True)
GERMAN = pl.format("{} €", COMMA)


class TestFiles:
    """Files of one folder that write their dates and numbers differently."""

    def write(self, folder: Path, parts: list[tuple[pl.Expr, pl.Expr]], *, first: int = 40) -> Path:
        """The known orders: most in the first file, the rest shared by the others."""
        bounds = [0, first, *(first + (ORDERS.height - first) * n // (len(parts) - 1) for n in range(1, len(parts)))]
        for number, (day, money) in enumerate(parts):
            part = ORDERS[bounds[number] : bounds[number + 1]]
            part.select("order", "customer", date=day, total=money).write_csv(folder / f"{number}.csv")
        return folder

    def require_right(self, folder: Path) -> None:
        result = clean_orders(read_orders(folder))
        ours = result.orders.select(
            pl.col("order_id").alias("order"),
            pl.col("order_date").dt.date().cast(pl.String).alias("day"),
            "customer_id",
            pl.col("amount").round(2),
        )
        assert result.report.reasons == ()
        assert set(ours.rows()) == set(ORDERS.select("order", "day", "customer", "total").rows())
        assert result.orders["amount"].sum() == pytest.approx(TOTAL)

    @pytest.mark.parametrize(
        "parts",
        [
            [(BRITISH, POINT), (AMERICAN, POINT)],
            [(ISO, POINT), (DOTTED, POINT), (AMERICAN, POINT)],
            [(NAMED, POINT), (BRITISH, POINT)],
            [(ISO, POINT), (ISO, COMMA)],
            [(ISO, COMMA), (ISO, GERMAN), (ISO, POINT)],
            [(AMERICAN, POINT), (DOTTED, GERMAN)],
        ],
    )
    def test_are_each_read_as_they_show(self, tmp_path: Path, parts: list[tuple[pl.Expr, pl.Expr]]) -> None:
        self.require_right(self.write(tmp_path, parts))

    @pytest.mark.parametrize("written", [BRITISH, AMERICAN])
    def test_that_cannot_tell_alone_are_read_as_the_others(self, tmp_path: Path, written: pl.Expr) -> None:
        early = DAY.dt.day() <= 12
        ORDERS.filter(~early).select("order", "customer", date=written, total="total").write_csv(tmp_path / "a.csv")
        ORDERS.filter(early).select("order", "customer", date=written, total="total").write_csv(tmp_path / "b.csv")
        self.require_right(tmp_path)

    @pytest.mark.parametrize("names", ["ab", "ba"])
    def test_that_the_order_of_the_others_would_scatter_over_months_are_asked_about(
        self, tmp_path: Path, names: str
    ) -> None:
        ORDERS.select("order", "customer", date=BRITISH, total="total").write_csv(tmp_path / f"{names[0]}.csv")
        days = [f"02/{day:02}/2024" for day in range(1, 13)]
        rows = {"order": range(9001, 9013), "customer": ["c1"] * 12, "date": days, "total": [10.0] * 12}
        pl.DataFrame(rows).write_csv(tmp_path / f"{names[1]}.csv")

        with pytest.raises(OrdersError, match="can be read in two ways"):
            clean_orders(read_orders(tmp_path))

        orders = clean_orders(read_orders(tmp_path), settings=Settings(date_order="month_first")).orders
        added = orders.filter(pl.col("order_id").cast(pl.Int64, strict=False) > 9000)
        assert added["order_date"].dt.strftime("%m-%d").sort().to_list() == [f"02-{day:02}" for day in range(1, 13)]

    @pytest.mark.parametrize("partitions", [1, 3])
    def test_are_counted_in_a_note(
        self, tmp_path: Path, partitions: int, taken_in: Callable[..., tuple[object, ...]]
    ) -> None:
        folder = tmp_path / "log"
        folder.mkdir()
        self.write(folder, [(AMERICAN, POINT), (BRITISH, COMMA)])
        notes, total = taken_in(folder, partitions=partitions)
        assert "1 of 2 files write their dates differently; each is read as it shows." in notes  # type: ignore[operator]
        assert "1 of 2 files write their numbers differently; each is read as it shows." in notes  # type: ignore[operator]
        assert total == pytest.approx(TOTAL)

    def test_that_leave_it_open_together_are_asked_about(self, tmp_path: Path) -> None:
        early = ORDERS.filter(DAY.dt.day() <= 12)
        for number, part in enumerate((early[:10], early[10:])):
            part.select("order", "customer", date=BRITISH, total="total").write_csv(tmp_path / f"{number}.csv")
        with pytest.raises(OrdersError, match="--date-order day_first or --date-order month_first"):
            clean_orders(read_orders(tmp_path))

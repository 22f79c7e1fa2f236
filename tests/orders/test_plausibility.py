"""A reading whose result cannot be true is refused, and the pattern is named."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from repurchase.errors import OrdersError
from repurchase.jobs.order_intake import OrderCheck

Check = Callable[..., OrderCheck]
Take = Callable[..., tuple[tuple[str, ...], float]]
N = 400


def log(**columns: pl.Expr) -> pl.DataFrame:
    """400 orders of 50 customers, from January to August."""
    row = pl.int_range(N, eager=True).alias("row").to_frame()
    plain = row.select(
        pl.col("row"),
        order_id=pl.format("A{}", pl.col("row")),
        customer_id=pl.format("k{}", pl.col("row") % 50),
        order_date=(pl.date(2024, 1, 1) + pl.duration(days=pl.col("row") * 6 // 10)).cast(pl.String),
        amount=pl.format("{}.{}0", 10 + pl.col("row") % 90, pl.col("row") % 7 + 1),
    )
    return plain.with_columns(**columns).drop("row")


def written(folder: Path, rows: pl.DataFrame, name: str = "orders.csv") -> Path:
    folder.mkdir(exist_ok=True)
    rows.write_csv(folder / name)
    return folder / name


ROW = pl.col("row")
ODD = pl.lit("b").repeat_by(ROW % 9 + 1).list.join(" ")
"""Text of many forms."""
LATE, EVERY_20TH = pl.col("order_date").str.starts_with("2024-06"), ROW % 20 == 3


class TestUnevenLosses:
    """Few rows are lost, but all of one kind: the log is misunderstood there."""

    @pytest.mark.parametrize(
        ("columns", "pattern"),
        [
            (
                {"order_date": pl.when(ROW >= 390).then(pl.lit("week 7")).otherwise("order_date")},
                "100% of the values written like 'a 9'",
            ),
            ({"amount": pl.when(LATE).then(pl.format("{} {}", ODD, "amount")).otherwise("amount")}, "of June 2024"),
            (
                {
                    "amount": pl.when(ROW % 25 == 4).then(pl.format("7 of {}", ODD)).otherwise("amount"),
                    "status": pl.when(ROW % 25 == 4).then(pl.lit("shipped")).otherwise(pl.lit("paid")),
                },
                "100% of the rows with status 'shipped'",
            ),
        ],
    )
    def test_are_refused(self, tmp_path: Path, taken_in: Take, columns: dict[str, pl.Expr], pattern: str) -> None:
        with pytest.raises(OrdersError, match="cannot be read") as refused:
            taken_in(written(tmp_path / "log", log(**columns)))
        assert pattern in str(refused.value)
        assert "These are not single mistakes" in str(refused.value)
        assert "\n" not in str(refused.value)

    def test_of_a_whole_file_name_the_file(self, tmp_path: Path, taken_in: Take) -> None:
        rows = log()
        written(tmp_path / "log", rows[:380], "many.csv")
        odd = pl.Series([f"w{number}" for number in range(20)])
        written(tmp_path / "log", rows[380:].with_columns(order_date=odd), "few.csv")
        with pytest.raises(OrdersError, match=r"20 dates cannot be read: 100% of the rows of file few\.csv"):
            taken_in(tmp_path / "log")

    @pytest.mark.parametrize("slip", ["soon", "", "2024-02-31"])
    def test_that_are_scattered_are_counted_only(self, tmp_path: Path, taken_in: Take, slip: str) -> None:
        dates = pl.when(EVERY_20TH & (ROW < 180)).then(pl.lit(slip)).otherwise("order_date")
        notes, _ = taken_in(written(tmp_path / "log", log(order_date=dates)))
        assert notes == ()


class TestStatuses:
    """Statuses that nobody understands stop a job where they hold more than 2 % of the orders."""

    @pytest.mark.parametrize(("unknown", "refused"), [(8, False), (9, True)])
    def test_are_counted_on_both_sides_of_the_limit(
        self, tmp_path: Path, taken_in: Take, checked: Check, unknown: int, refused: bool
    ) -> None:
        status = pl.when(unknown > ROW).then(pl.lit("Z9")).otherwise(pl.lit("paid"))
        path = written(tmp_path / "log", log(status=status))
        if refused:
            with pytest.raises(OrdersError, match=r"9 of 400 orders are sales: 'Z9' \(9 orders, 129\.10 in all\)\."):
                taken_in(path)
        else:
            assert taken_in(path)[1] > 0
        assert [("Z9" in str(doubt)) or ("z9" in str(doubt)) for doubt in checked(path).intake.cleaning.problems] == [
            True
        ] * refused

    @pytest.mark.parametrize("settings", [{"sale_statuses": ("paid", "Z9")}, {"not_sale_statuses": ("z9",)}])
    def test_may_be_settled(self, tmp_path: Path, taken_in: Take, settings: dict[str, tuple[str, ...]]) -> None:
        status = pl.when(ROW < 100).then(pl.lit("Z9")).otherwise(pl.lit("paid"))
        path = written(tmp_path / "log", log(status=status))
        with pytest.raises(OrdersError, match="--sale-statuses"):
            taken_in(path)
        assert taken_in(path, **settings)[1] > 0


class TestOneLargeCustomer:
    @staticmethod
    def shared(orders: int) -> pl.Expr:
        return pl.when(orders > ROW).then(pl.lit("till7")).otherwise("customer_id").alias("customer_id")

    @pytest.mark.parametrize(("orders", "refused"), [(79, False), (80, True), (150, True)])
    def test_with_a_fifth_of_all_orders_is_refused(
        self, tmp_path: Path, taken_in: Take, orders: int, refused: bool
    ) -> None:
        path = written(tmp_path / "log", log(customer_id=self.shared(orders)))
        if not refused:
            assert taken_in(path)[1] > 0
            return
        with pytest.raises(OrdersError, match=f"customer 'till7' has {orders} of 400 orders") as fault:
            taken_in(path)
        assert "till7" not in fault.value.log_message

    def test_may_be_named_as_real(self, tmp_path: Path, taken_in: Take) -> None:
        path = written(tmp_path / "log", log(customer_id=self.shared(150)))
        assert taken_in(path, real_customers=("till7",))[1] > 0

    @pytest.mark.parametrize("partitions", [1, 4])
    def test_is_found_in_any_partition(self, tmp_path: Path, checked: Check, partitions: int) -> None:
        path = written(tmp_path / "log", log(customer_id=self.shared(150)))
        (doubt,) = checked(path, partitions=partitions).intake.cleaning.problems
        assert "customer 'till7' has 150 of 400 orders" in str(doubt)


def test_check_goes_on_and_shows_all_doubts(tmp_path: Path, checked: Check) -> None:
    status = pl.when(ROW < 100).then(pl.lit("Z9")).otherwise(pl.lit("paid"))
    path = written(tmp_path / "log", log(status=status, customer_id=TestOneLargeCustomer.shared(150)))
    found = checked(path)
    assert len(found.intake.cleaning.problems) == 2
    assert found.intake.report.n_orders == N


def test_a_plain_log_has_no_doubts_and_three_examples(tmp_path: Path, checked: Check) -> None:
    intake = checked(written(tmp_path / "log", log())).intake
    assert intake.cleaning.problems == ()
    assert len(intake.cleaning.counts.examples) == 3
    assert {example.orders for example in intake.cleaning.counts.examples} == {8}

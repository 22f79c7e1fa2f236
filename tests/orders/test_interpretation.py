"""The orders of a known shop, written in many ways, come back as they were: values decide what columns mean."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from repurchase.errors import InputError, LayoutError
from repurchase.orders.column_detection import detect_layout
from repurchase.orders.log import read_orders
from repurchase.orders.pipeline import CleanOrders, clean_orders
from repurchase.settings import Settings
from tests.orders.known_shop import GOODS, LINES, ORDERS, TOTAL

Edit = Callable[[pl.DataFrame], pl.DataFrame]
KEY = {"Order ID": "order", "Date": "day", "Customer ID": "customer"}
LATER = pl.int_range(pl.len())


def written(rows: pl.DataFrame, **columns: str | pl.Expr) -> pl.DataFrame:
    """An export of text: order, date and customer, and these columns."""
    of = {**KEY, **columns}
    return rows.select(
        (pl.col(ours) if isinstance(ours, str) else ours).cast(pl.String).alias(name) for name, ours in of.items()
    )


def clean(rows: pl.DataFrame, **settings: object) -> CleanOrders:
    return clean_orders(rows, settings=Settings(**settings))  # type: ignore[arg-type]


def money(rows: pl.DataFrame, **settings: object) -> float:
    return round(float(clean(rows, **settings).orders["amount"].sum()), 2)


def asked(rows: pl.DataFrame) -> str:
    with pytest.raises(LayoutError) as caught:
        detect_layout(rows, source="orders.csv")
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestMoney:
    """The same orders are worth the same, whatever columns say so."""

    @pytest.mark.parametrize(
        ("columns", "expected"),
        [
            ({"Total": "total", "SKU": "product"}, TOTAL),
            ({"Amount": "total", "SKU": "product"}, TOTAL),  # repeated on each line, whatever it is called
            ({"Line total": "total", "SKU": "product"}, TOTAL),
            ({"Amount": "line", "SKU": "product"}, GOODS),
            ({"Total": "line", "SKU": "product"}, GOODS),
            ({"Order total": "line", "SKU": "product"}, GOODS),  # its values differ between lines
            ({"Price": "each", "Quantity": "units", "SKU": "product"}, GOODS),
            ({"Unit price": "each", "Qty": "units"}, GOODS),
            ({"Price": "line", "Quantity": "units", "SKU": "product"}, GOODS),  # it grows with the quantity
            ({"Item price": "each", "Quantity": "units", "Order total": "total"}, TOTAL),
            ({"Preis": "line", "Menge": "units", "Artikelnummer": "product"}, GOODS),
            ({"Amount": "each", "Quantity": "units", "SKU": "product"}, GOODS),
        ],
    )
    def test_of_lines_of_orders_and_per_unit(self, columns: dict[str, str], expected: float) -> None:
        assert money(written(LINES, **columns)) == pytest.approx(expected)

    def test_on_the_first_line_of_an_order_only(self) -> None:
        rows = written(LINES, Total=pl.when("first").then("total"), SKU=pl.col("product"))
        assert detect_layout(rows).header_column == "Total"
        assert money(rows) == pytest.approx(TOTAL)

    def test_that_repeats_the_total_says_why(self) -> None:
        decision = detect_layout(written(LINES, Amount="total", SKU="product")).decision.role("money")
        assert decision is not None
        (constant,) = (fact for fact in decision.evidence if fact.key == "constant")
        assert constant.params == {"share": 1.0, "orders": 40}
        assert decision.meaning.key == "money_order"

    def test_of_orders_wins_over_that_of_lines(self) -> None:
        rows = written(LINES, **{"Line total": "line", "Grand total": "total"})
        assert money(rows) == pytest.approx(TOTAL)

    def test_that_is_balanced_is_asked_about_with_both_totals(self) -> None:
        often = pl.when(pl.col("order").str.slice(1).cast(pl.Int32) % 7 == 0).then("line").otherwise("total")
        rows = written(LINES, Amount=often, SKU="product")
        said = asked(rows)
        assert "--columns amount=Amount" in said
        assert "--columns order_total=Amount" in said
        each = {role: money(rows, columns={role: "Amount"}) for role in ("amount", "order_total")}
        assert each["amount"] > each["order_total"]
        for total in each.values():
            assert f"{total:,.2f}" in said

    def test_per_unit_or_of_the_line_is_asked_about_where_nothing_tells(self) -> None:
        rows = written(ORDERS.head(8), Price=pl.lit("10"), Quantity=pl.lit("2"))
        said = asked(rows)
        assert "--columns amount=Price" in said
        assert "--columns price=Price,quantity=Quantity" in said
        assert money(rows, columns={"amount": "Price"}) == 80.0
        assert money(rows, columns={"price": "Price", "quantity": "Quantity"}) == 160.0

    def test_a_row_written_twice_says_nothing_about_its_order(self) -> None:
        rows = written(ORDERS, Amount="total")
        assert money(pl.concat([rows, rows.head(20)])) == pytest.approx(TOTAL)
        assert detect_layout(pl.concat([rows, rows.head(20)])).amount_rule == "amount"

    def test_that_cannot_be_read_is_refused(self) -> None:
        assert "column 'Total' should hold money, but its values cannot be read as numbers: 'high'" in asked(
            written(ORDERS, Total=pl.lit("high"))
        )


class TestFirstLines:
    """Order fields that stand on the first line of an order only are those of its other lines."""

    @pytest.mark.parametrize(
        "empty", [("Customer ID",), ("Customer ID", "Date"), ("Customer ID", "Date", "Order ID")], ids=len
    )
    def test_are_filled_down(self, empty: tuple[str, ...]) -> None:
        rows = written(LINES, Amount="line", SKU="product").with_columns(
            pl.when(LINES["first"]).then(pl.col(name)).alias(name) for name in empty
        )
        result = clean(rows)
        assert result.report.reasons == ()
        expected = LINES.group_by("customer").agg(pl.col("line").sum().round(2))
        ours = result.orders.group_by("customer_id").agg(pl.col("amount").sum().round(2))
        assert dict(ours.rows()) == dict(expected.rows())
        assert result.report.n_orders == ORDERS.height

    @pytest.mark.parametrize("empty", [("Date",), ("Date", "Order ID")], ids=len)
    def test_of_a_guest_are_not_those_of_another_customer_with_the_number(self, empty: tuple[str, ...]) -> None:
        guests = LINES.with_columns(pl.lit(None, pl.String).alias("customer"), day=pl.lit("2024-12-30"))
        both = pl.concat([LINES, guests])
        rows = written(both, Amount="line", SKU="product").with_columns(
            pl.when(both["first"]).then(pl.col(name)).alias(name) for name in ("Customer ID", *empty)
        )
        result = clean(rows)
        assert {why.reason: why.rows for why in result.report.reasons} == {"missing_customer": LINES.height}
        assert result.orders["amount"].sum() == pytest.approx(GOODS)

    def test_of_a_single_order_tell_too(self) -> None:
        rows = written(LINES.head(3), Amount="line", SKU="product").with_columns(
            pl.when(LINES.head(3)["first"]).then(pl.col(name)).alias(name) for name in ("Customer ID", "Date")
        )
        assert clean(rows).report.n_kept == 3


class TestRefunds:
    BACK = pl.when(LATER % 10 == 4).then(pl.col("total")).when(LATER % 10 == 7).then(pl.lit(1.0)).otherwise(0.0)

    @pytest.fixture
    def paid_back(self) -> float:
        return float(ORDERS.select(self.BACK.sum()).item())

    @pytest.mark.parametrize(
        "heading", ["Refunded Amount", "Refund total", "Erstattet", "Rückerstattung", "Reembolso", "Возврат", "Zwrot"]
    )
    def test_are_taken_off_whatever_they_are_called(self, heading: str, paid_back: float) -> None:
        rows = written(ORDERS, Total="total", **{heading: self.BACK})
        result = clean(rows)
        assert result.orders["amount"].sum() == pytest.approx(TOTAL - paid_back)
        assert result.report.n_orders == ORDERS.height  # an order that was paid back was an order
        assert {why.reason: why.rows for why in result.report.reasons} == {"refunded_in_full": 6}

    def test_written_as_negative_numbers_are_taken_off_too(self, paid_back: float) -> None:
        rows = written(ORDERS, Total="total", Refunds=-self.BACK)
        assert money(rows) == pytest.approx(TOTAL - paid_back)

    def test_that_the_total_has_already_are_not_taken_off_twice(self, paid_back: float) -> None:
        rows = written(
            ORDERS, **{"Gross sales": "total", "Refunds": self.BACK, "Net sales": pl.col("total") - self.BACK}
        )
        assert money(rows) == pytest.approx(TOTAL - paid_back)

    def test_of_lines_are_taken_off_lines(self) -> None:
        rows = written(LINES, **{"Line total": "line", "Refunded": pl.when(LATER % 9 == 2).then("line").otherwise(0.0)})
        assert detect_layout(rows).refund_per == "line"
        assert money(rows) == pytest.approx(float(LINES["line"].sum() - LINES.gather_every(9, 2)["line"].sum()))


class TestTypes:
    """Rows of refunds are negative, and what is no order is none."""

    @pytest.mark.parametrize(
        ("sale", "refund", "other"),
        [("Sale", "Refund", "Payout"), ("order", "chargeback", "fee"), ("Verkauf", "Rückerstattung", "Auszahlung"),
         ("продажа", "возврат", "transfer")],
    )  # fmt: skip
    def test_of_rows(self, sale: str, refund: str, other: str) -> None:
        refunds = ORDERS.gather_every(6).with_columns(pl.format("R{}", "order").alias("order"))
        kinds = [(ORDERS, sale), (refunds, refund), (ORDERS.head(4), other)]
        rows = pl.concat([written(part, Amount="total", Type=pl.lit(kind)) for part, kind in kinds])
        result = clean(rows)
        assert result.orders["amount"].sum() == pytest.approx(TOTAL - refunds["total"].sum())
        assert {why.reason: why.rows for why in result.report.reasons} == {"not_an_order": 4, "return": refunds.height}

    def test_with_signs_are_not_turned_twice(self) -> None:
        refunds = written(ORDERS.gather_every(6), Amount=-pl.col("total"), Type=pl.lit("refund"))
        rows = pl.concat([written(ORDERS, Amount="total", Type=pl.lit("sale")), refunds])
        assert money(rows) == pytest.approx(TOTAL - ORDERS.gather_every(6)["total"].sum())


class TestStatuses:
    @pytest.mark.parametrize(
        ("heading", "sale", "dead"),
        [
            ("Status", "completed", "cancelled"),
            ("Financial Status", "paid", "voided"),
            ("Bestellstatus", "Abgeschlossen", "Storniert"),
            ("Ordrestatus", "Fullført", "Kansellert"),
            ("Статус заказа", "Выполнен", "Отменён"),
            ("État", "Payée", "Annulée"),
            ("Colour of the week", "paid", "failed"),  # by what it holds
        ],
    )
    def test_say_which_orders_count(self, heading: str, sale: str, dead: str) -> None:
        status = pl.when(LATER % 5 == 1).then(pl.lit(dead)).otherwise(pl.lit(sale))
        result = clean(written(ORDERS, Total="total", **{heading: status}))
        assert {why.reason: why.rows for why in result.report.reasons} == {"cancelled_order": 12}
        assert result.orders["amount"].sum() == pytest.approx(TOTAL - ORDERS.gather_every(5, 1)["total"].sum())

    def test_that_are_named_decide_alone(self) -> None:
        status = pl.when(LATER % 5 == 1).then(pl.lit("K7")).otherwise(pl.lit("paid"))
        rows = written(ORDERS, Total="total", Status=status)
        assert clean(rows, sale_statuses=("paid",)).report.n_kept == 48
        assert clean(rows, sale_statuses=("paid", "k7")).report.n_kept == 60
        assert clean(rows, not_sale_statuses=("K7",)).report.n_kept == 48

    @pytest.mark.parametrize(
        ("heading", "yes", "no", "kept"),
        [("Cancelled at", "2024-05-01", "", 48), ("Cancelled", "yes", "no", 48), ("Paid", "false", "true", 48),
         ("Test order", "1", "0", 48), ("valid", "0", "1", 48)],
    )  # fmt: skip
    def test_may_be_a_day_or_a_yes(self, heading: str, yes: str, no: str, kept: int) -> None:
        flag = pl.when(LATER % 5 == 1).then(pl.lit(yes)).otherwise(pl.lit(no))
        assert clean(written(ORDERS, Total="total", **{heading: flag})).report.n_kept == kept


class TestCustomers:
    @pytest.mark.parametrize("guest", ["Guest", "0", "-", "(not set)", "00000000-0000-0000-0000-000000000000", "Gast"])
    def test_that_stand_for_nobody_are_known_by_mail(self, guest: str) -> None:
        who = pl.when(LATER % 3 == 0).then(pl.lit(guest)).otherwise("customer")
        rows = written(ORDERS, Total="total").with_columns(ORDERS.select(who.alias("Customer ID"), Email="email"))
        result = clean(rows)
        assert guest not in result.orders["customer_id"]
        assert result.report.n_kept == ORDERS.height
        assert result.orders["customer_id"].str.contains("@").any()

    @pytest.mark.parametrize("guest", ["Guest", "0", "anonymous"])
    def test_that_stand_for_nobody_are_set_aside_where_there_is_no_mail(self, guest: str) -> None:
        who = pl.when(LATER % 3 == 0).then(pl.lit(guest)).otherwise("customer").alias("Customer ID")
        result = clean(written(ORDERS, Total="total").with_columns(ORDERS.select(who)))
        assert {why.reason: why.rows for why in result.report.reasons} == {"missing_customer": 20}

    @pytest.mark.parametrize("damaged", ["7.12E+12", "4,79E+11", "#####"])
    def test_whose_ids_a_spreadsheet_destroyed_are_refused(self, damaged: str) -> None:
        who = pl.when(LATER % 4 == 0).then(pl.lit(damaged)).otherwise("customer").alias("Customer ID")
        with pytest.raises(InputError, match="15 customer ids in column 'Customer ID' were damaged by a spreadsheet"):
            clean(written(ORDERS, Total="total").with_columns(ORDERS.select(who)))

    @pytest.mark.parametrize("hidden", ["\u200b", "\u00a0", "\ufeff"])
    def test_are_one_with_and_without_what_cannot_be_seen(self, hidden: str) -> None:
        who = pl.when(LATER % 2 == 0).then(pl.format("{}{}", "customer", pl.lit(hidden))).otherwise("customer")
        result = clean(written(ORDERS, Total="total").with_columns(ORDERS.select(who.alias("Customer ID"))))
        assert result.report.n_customers == ORDERS["customer"].n_unique()


class TestSharedOrderNumbers:
    """Two shops number alike: the number is one of two orders."""

    def test_of_different_customers_are_different_orders(self) -> None:
        other = ORDERS.with_columns(pl.format("other-{}", "customer").alias("customer"), pl.col("total") + 1)
        result = clean(pl.concat([written(ORDERS, Total="total"), written(other, Total="total")]))
        assert result.report.n_orders == 2 * ORDERS.height
        assert result.orders["amount"].sum() == pytest.approx(2 * TOTAL + ORDERS.height)

    def test_of_lines_with_totals_are_different_orders(self) -> None:
        other = LINES.with_columns(pl.format("other-{}", "customer").alias("customer"))
        result = clean(pl.concat([written(part, Total="total", SKU="product") for part in (LINES, other)]))
        assert result.report.n_orders == 2 * ORDERS.height
        assert result.orders["amount"].sum() == pytest.approx(2 * TOTAL)

    def test_of_true_copies_are_one_order(self, tmp_path: Path) -> None:
        for number, part in enumerate((ORDERS, ORDERS.head(25))):
            written(part, Total="total").write_csv(tmp_path / f"{number}.csv")
        result = clean_orders(read_orders(tmp_path))
        assert result.orders["amount"].sum() == pytest.approx(TOTAL)
        assert {why.reason: why.rows for why in result.report.reasons} == {"duplicate_line": 25}

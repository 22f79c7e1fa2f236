"""Kinds of exports that were once read wrongly: currencies, recurring numbers, loyalty cards, prices of items."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from repurchase.errors import InputError, LayoutError
from repurchase.i18n.messages import render
from repurchase.orders.amounts import NumberEvidence, different_currencies
from repurchase.orders.column_detection import detect_layout
from repurchase.orders.pipeline import clean_orders
from repurchase.settings import Settings
from repurchase.sources.statuses import classify_status
from repurchase.sources.vocabulary import parse_name
from tests.orders.known_shop import GOODS, LINES, N_ORDERS, ORDERS, TOTAL


def texts(messages):
    return [render(one, locale="en") for one in messages]


Taken = Callable[..., tuple[tuple[str, ...], float]]


def written(rows: pl.DataFrame, **columns: str | pl.Expr) -> pl.DataFrame:
    """An export of text with these columns."""
    return rows.select(
        (pl.col(ours) if isinstance(ours, str) else ours).cast(pl.String).alias(name) for name, ours in columns.items()
    )


KEY = {"Customer ID": "customer", "Order ID": "order", "Date": "day"}


class TestCurrencies:
    """Money of two currencies is never added, wherever the currency is written."""

    @pytest.mark.parametrize(
        ("one", "other"), [("€{}", "£{}"), ("{} EUR", "{} kr"), ("A$ {}", "€ {}"), ("{} zł", "{} €")]
    )
    def test_amounts_with_two_signs_are_refused(self, tmp_path: Path, taken_in: Taken, one: str, other: str) -> None:
        is_other = pl.col("customer") < "k05"
        money = pl.when(is_other).then(pl.format(other, "total")).otherwise(pl.format(one, "total"))
        written(ORDERS, **KEY, Total=money).write_csv(tmp_path / "orders.csv")
        with pytest.raises(InputError, match="'Total' are in 2 currencies: "):
            taken_in(tmp_path / "orders.csv")

    def test_a_shared_sign_beside_one_of_its_currencies_is_one_currency(self) -> None:
        assert different_currencies({"kr": 60, "NOK": 40}) == []
        assert different_currencies({"$": 60, "CAD": 40}) == []
        assert different_currencies({"kr": 60, "€": 2}) == []  # a slip
        assert different_currencies({"kr": 60, "EUR": 40}) == ["kr", "EUR"]

    @pytest.mark.parametrize(
        ("texts", "mark"),
        [(["¥1,118", "¥2,340"], "point"), (["1.118 ₫", "2.340 ₫"], "comma"), (["₩12,300", "₩4,900"], "point")],
    )
    def test_a_currency_without_decimals_has_thousands(self, texts: list[str], mark: str) -> None:
        assert NumberEvidence.of(pl.Series(texts)).decide().mark == mark


class TestQuantities:
    def test_counts_in_thousandths(self) -> None:
        assert NumberEvidence.of(pl.Series(["1.000", "3.000"])).decide(counts=True).mark == "plain"
        assert NumberEvidence.of(pl.Series(["1,000", "3,000"])).decide(counts=True).mark == "comma"
        with pytest.raises(InputError, match="two ways"):
            NumberEvidence.of(pl.Series(["1,000", "3,250"])).decide(counts=True)

    @pytest.mark.parametrize("price", ["item-price", "Item price", "Lineitem price"])
    def test_a_price_of_items_that_grows_with_the_quantity_is_of_the_line(self, price: str) -> None:
        export = written(LINES, **KEY, quantity="units", **{price: "line"})
        cleaned = clean_orders(export, settings=Settings())
        assert cleaned.orders["amount"].sum() == pytest.approx(GOODS)


class TestRecurringNumbers:
    """Numbers that begin anew are not one order, though one customer has the same number twice."""

    @staticmethod
    def _restarted(rows: pl.DataFrame) -> pl.DataFrame:
        """Numbers 0 to 5 again and again: each of five customers has each of them twice."""
        number = pl.col("order").str.slice(1).cast(pl.Int64) - 1000
        return rows.with_columns((number % 6).alias("order"), pl.format("c{}", number % 5).alias("customer"))

    @staticmethod
    def _cleaned(rows: pl.DataFrame, **money: str) -> tuple[int, float]:
        orders = clean_orders(written(rows, **KEY, **money), settings=Settings()).orders
        return orders.select("customer_id", "order_id").n_unique(), round(float(orders["amount"].sum()), 2)

    def test_sales_of_one_number_on_two_days_are_two_orders(self) -> None:
        assert self._cleaned(self._restarted(ORDERS), Total="total") == (N_ORDERS, TOTAL)

    def test_totals_on_each_line_are_counted_once(self) -> None:
        assert self._cleaned(self._restarted(LINES), SKU="product", Total="total") == (N_ORDERS, TOTAL)

    def test_what_comes_back_on_a_later_day_is_no_order(self) -> None:
        sold = self._restarted(ORDERS)
        back = sold[-5:].with_columns(pl.lit("2024-12-01").alias("day"), -pl.col("total"))
        expected = round(TOTAL - ORDERS["total"][-5:].sum(), 2)
        assert self._cleaned(pl.concat([sold, back]), Amount="total") == (N_ORDERS, expected)

    def test_numbers_of_one_customer_each_are_orders_whatever_their_days(self) -> None:
        later = LINES.with_columns(pl.when("first").then("day").otherwise(pl.lit("2024-12-01")).alias("day"))
        assert self._cleaned(later, SKU="product", Amount="line") == (N_ORDERS, GOODS)


class TestColumns:
    @pytest.mark.parametrize(
        "card", ["Loyalty Card Number", "Loyalty ID", "Medlemsnummer", "Mitgliedsnummer", "Numéro carte fidélité"]
    )
    def test_a_loyalty_card_is_a_better_customer_than_a_name(self, card: str) -> None:
        name = pl.lit("Anna ") + pl.col("customer").str.replace("k0", "Berg").str.replace("k1", "Dahl")
        export = written(ORDERS, **{"Customer Name": name, card: "customer", "Receipt No": "order"}, Date="day")
        assert detect_layout(export).columns["customer_id"] == card

    @pytest.mark.parametrize("points", ["Loyalty", "Loyalty points", "Fidelity total"])
    def test_points_are_neither_customers_nor_money(self, points: str) -> None:
        export = written(ORDERS, **KEY, **{points: pl.col("total") * 3}, Total="total")
        assert points not in detect_layout(export).columns.values()

    @pytest.mark.parametrize("credited", ["Credited", "Kreditert beløp", "Gutgeschrieben", "Krediteret"])
    def test_credited_money_is_a_refund(self, credited: str) -> None:
        back = pl.when(pl.int_range(pl.len()) % 7 == 0).then(1.5).otherwise(0.0)
        layout = detect_layout(written(ORDERS, **KEY, Total="total", **{credited: back}))
        assert layout.columns["refunded"] == credited

    def test_answers_of_a_payment_gateway_are_statuses(self) -> None:
        answer = pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit("Declined")).otherwise(pl.lit("Approved"))
        assert detect_layout(written(ORDERS, **KEY, Total="total", gateway_response=answer)).columns["status"]

    def test_a_payment_method_is_no_status(self) -> None:
        method = pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit("Store return")).otherwise(pl.lit("Visa"))
        layout = detect_layout(written(ORDERS, **KEY, Total="total", **{"Payment method": method}))
        assert "status" not in layout.columns

    def test_the_day_of_an_event_is_a_date(self) -> None:
        export = written(
            ORDERS, customer_id="customer", transaction_id="order", value="total", event_name=pl.lit("buy")
        )
        days = ORDERS["day"].str.replace_all("-", "").cast(pl.Int64)
        assert detect_layout(export.with_columns(days.alias("event_date"))).columns["order_date"] == "event_date"

    def test_sap_names_its_customers(self) -> None:
        export = written(ORDERS, VBELN="order", KUNNR="customer", AUDAT="day", NETWR="total")
        assert detect_layout(export).columns["customer_id"] == "KUNNR"

    def test_money_without_a_name_is_asked_about(self) -> None:
        with pytest.raises(LayoutError, match="what may be money: debit"):
            detect_layout(written(ORDERS, **KEY, debit="total"))
        assert detect_layout(written(ORDERS, **KEY, pieces=pl.int_range(pl.len()))).amount_rule == "none"


def test_a_readme_beside_the_table_in_an_archive(tmp_path: Path, taken_in: Taken) -> None:
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("export/orders.csv", written(ORDERS, **KEY, Total="total").write_csv())
        archive.writestr("export/README.txt", "All orders, by day.")
    assert taken_in(tmp_path / "export.zip")[1] == pytest.approx(TOTAL)


class TestCustomers:
    @pytest.mark.parametrize("other", ["sales_rep_email", "Seller E-Mail", "Salesperson email"])
    def test_the_address_of_an_employee_is_no_customer(self, other: str) -> None:
        export = written(ORDERS, **{"Order ID": "order", other: pl.lit("rep@shop.example"), "Customer email": "email"})
        assert (
            detect_layout(export.with_columns(ORDERS["day"].alias("Date"))).columns["customer_id"] == "Customer email"
        )

    @pytest.mark.parametrize("other", ["customer_unique_id", "E-mail", "Loyalty ID"])
    def test_an_id_that_is_new_with_every_order_is_no_customer(self, other: str) -> None:
        export = written(ORDERS, order_id="order", customer_id=pl.format("c-{}", "order"), date="day", total="total")
        layout = detect_layout(export.with_columns(ORDERS["email" if other == "E-mail" else "customer"].alias(other)))
        assert layout.columns["customer_id"] == other
        assert any("--columns customer_id=customer_id" in note for note in texts(layout.notes))

    def test_a_customer_segment_does_not_take_the_place_of_new_customers(self) -> None:
        segment = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("new")).otherwise(pl.lit("old"))
        export = written(ORDERS, order_id="order", customer_id=pl.format("c-{}", "order"), date="day", total="total")
        layout = detect_layout(export.with_columns(export.select(segment.alias("customer_segment")).to_series()))
        assert layout.columns["customer_id"] == "customer_id"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("Zahlung eingegangen", "sale"),
        ("Zahlung nicht eingegangen", "unknown"),
        ("Pagamento accettato", "sale"),
        ("Paid, not shipped", "sale"),
        ("Betalingsfout", "not_sale"),
        ("Не удался", "not_sale"),
        ("Afgerond", "sale"),
    ],
)
def test_statuses_of_shop_software(status: str, expected: str) -> None:
    assert classify_status(status) == expected


def test_how_many_items_is_not_the_money() -> None:
    layout = detect_layout(
        written(ORDERS, **KEY, **{"Total items": pl.int_range(pl.len()) % 4 + 1, "Total price": "total"})
    )
    assert layout.columns["order_total" if layout.amount_rule == "order_total" else "amount"] == "Total price"


def test_a_readme_in_a_folder_is_left_out(tmp_path: Path, taken_in: Taken) -> None:
    folder = tmp_path / "orders"
    folder.mkdir()
    written(ORDERS, **KEY, Total="total").write_csv(folder / "orders.csv")
    (folder / "README.txt").write_text("All orders, by day.\n")
    notes, money = taken_in(folder)
    assert money == pytest.approx(TOTAL)
    assert any("README.txt" in note for note in notes)


@pytest.mark.parametrize(
    ("name", "concepts"),
    [
        ("датаОтмены", ("date", "cancelled")),
        ("IDКлиента", ("id", "customer")),
        ("общаяСумма", ("total", "amount")),
        ("Größe", ("grand",)),
    ],
)
def test_names_of_several_words_in_one(name: str, concepts: tuple[str, ...]) -> None:
    assert parse_name(name).concepts == concepts


def test_refunds_of_prices_with_a_status_are_taken_off() -> None:
    sold = written(LINES, **KEY, Status=pl.lit("paid"), Price="each", Quantity="units")
    back = written(
        LINES.head(6).with_columns(pl.format("R{}", pl.int_range(6)).alias("order")),
        **KEY,
        Status=pl.lit("refunded"),
        Price="each",
        Quantity=-pl.col("units"),
    )
    taken_off = float(LINES.head(6).select(pl.col("line").sum()).item())
    orders = clean_orders(pl.concat([sold, back])).orders
    assert orders["amount"].sum() == pytest.approx(GOODS - taken_off)

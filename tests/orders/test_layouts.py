"""Columns told apart by name, where their values agree: known exports, synonyms, what is named, and what is asked."""

import polars as pl
import pytest

from repurchase.errors import LayoutError
from repurchase.i18n.messages import render
from repurchase.orders.column_detection import detect_layout
from repurchase.orders.layout import known_export
from tests.orders.known_shop import LINES, ORDERS


def texts(messages):
    return [render(one, locale="en") for one in messages]


UCI = ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country"]


def export(rows: pl.DataFrame, **columns: str) -> pl.DataFrame:
    """Columns of the known shop under other names, each heading with the column or the text that it holds."""
    return rows.select(
        (pl.col(ours) if ours in rows.columns else pl.lit(ours)).cast(pl.String).alias(heading)
        for heading, ours in columns.items()
    )


def refusal(rows: pl.DataFrame, **named: str) -> str:
    with pytest.raises(LayoutError) as caught:
        detect_layout(rows, named=named, source="orders.csv")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("rows", "columns", "name", "rule", "roles"),
    [
        (
            LINES,
            {"Invoice": "order", "StockCode": "product", "Quantity": "units", "InvoiceDate": "day", "Price": "each",
             "Customer ID": "customer"},
            "UCI Online Retail",
            "quantity_price",
            {"customer_id": "Customer ID", "order_id": "Invoice", "product_id": "StockCode", "price": "Price"},
        ),
        (
            LINES,
            {"InvoiceNo": "order", "StockCode": "product", "Quantity": "units", "InvoiceDate": "day",
             "UnitPrice": "each", "CustomerID": "customer"},
            "UCI Online Retail",
            "quantity_price",
            {"customer_id": "CustomerID", "price": "UnitPrice", "quantity": "Quantity"},
        ),
        (
            LINES,
            {"Order Number": "order", "Order Status": "Completed", "Order Date": "day", "Email (Billing)": "email",
             "Order Total Amount": "total", "SKU": "product", "Quantity": "units", "Item Cost": "each"},
            "WooCommerce orders",
            "order_total",
            {"order_total": "Order Total Amount", "price": "Item Cost", "product_id": "SKU", "status": "Order Status"},
        ),
        (
            ORDERS,
            {"Date": "day", "Order #": "order", "N. Revenue (formatted)": "total", "Status": "completed",
             "Customer": "email", "Items sold": "2", "N. Revenue": "total"},
            "WooCommerce analytics",
            "amount",
            {"customer_id": "Customer", "order_id": "Order #", "status": "Status"},
        ),
        (
            ORDERS,
            {"customer_id": "customer", "date": "day", "number_of_cds": "3", "dollar_value": "total"},
            "CDNOW",
            "amount",
            {"amount": "dollar_value", "quantity": "number_of_cds"},
        ),
        (
            ORDERS,
            {"ORDER ID": "order", "Customer-ID": "customer", "order date": "day", "Amount": "total"},
            "orders with named columns",
            "amount",
            {"customer_id": "Customer-ID", "order_id": "ORDER ID", "order_date": "order date", "amount": "Amount"},
        ),
        (
            LINES,
            {"client_id": "customer", "transaction_date": "day", "sku": "product", "qty": "units",
             "unit_price": "each"},
            "orders with named columns",
            "quantity_price",
            {"customer_id": "client_id", "order_date": "transaction_date", "price": "unit_price", "quantity": "qty"},
        ),
        (
            ORDERS,
            {"Bestellnummer": "order", "Kundennummer": "customer", "Bestelldatum": "day", "Gesamtbetrag": "total"},
            "orders with named columns",
            "amount",
            {"customer_id": "Kundennummer", "order_id": "Bestellnummer", "order_date": "Bestelldatum"},
        ),
        (
            ORDERS,
            {"Номер заказа": "order", "Покупатель": "customer", "Дата": "day", "Сумма": "total"},
            "orders with named columns",
            "amount",
            {"customer_id": "Покупатель", "order_id": "Номер заказа", "order_date": "Дата", "amount": "Сумма"},
        ),
    ],
)  # fmt: skip
def test_usual_exports_are_recognised_unaided(
    rows: pl.DataFrame, columns: dict[str, str], name: str, rule: str, roles: dict[str, str]
) -> None:
    layout = detect_layout(export(rows, **columns))
    assert (layout.name, layout.amount_rule) == (name, rule)
    assert roles.items() <= dict(layout.columns).items()


def test_software_is_known_by_all_of_its_columns() -> None:
    known = known_export(UCI)
    assert known is not None
    assert (known.name, known.cancellation_prefix) == ("UCI Online Retail", "C")
    assert known_export([name for name in UCI if name != "StockCode"]) is None


def test_an_id_wins_over_the_address_and_the_date_of_the_order_over_others() -> None:
    columns = {
        "customer_id": "customer",
        "email": "email",
        "order_date": "day",
        "modified_at": "day",
        "amount": "total",
    }
    layout = detect_layout(export(ORDERS, **columns))
    assert (layout.columns["customer_id"], layout.columns["order_date"]) == ("customer_id", "order_date")


def test_columns_that_are_not_used_although_they_could_matter_are_shown() -> None:
    rows = export(ORDERS, customer="customer", date="day", total="total").with_columns(
        pl.lit("see note").alias("refunds"), pl.lit("no").alias("test order"), pl.lit("x").alias("colour")
    )
    ignored = [column for column, _ in detect_layout(rows).decision.ignored]
    assert ignored == ["refunds"]
    assert detect_layout(rows).columns["cancelled"] == "test order"


def test_columns_with_few_texts_are_shown_in_a_line_where_no_column_says_which_orders_are_sales() -> None:
    rows = pl.DataFrame(
        {
            "order_id": [str(number) for number in range(40)],
            "customer": [f"c{number % 15}" for number in range(40)],
            "date": [f"2024-01-{number % 28 + 1:02d}" for number in range(40)],
            "total": ["12.50"] * 40,
            "Olek": ["täidetud", "tühistatud"] * 20,
            "Piirkond": ["põhi", "lõuna", "lääs", "ida"] * 10,
            "Note": [f"note {number}" for number in range(40)],
            "Floor": ["1", "2"] * 20,
        }
    )
    lines = " ".join(" ".join(detect_layout(rows).decision.lines()).split())
    assert "Not used 'Olek', 'Piirkond' with few different values; if one says" in lines
    assert lines.endswith("--columns status=Olek")
    named = detect_layout(rows, named={"status": "Olek"})
    assert not named.decision.ignored


def test_a_log_without_money_is_allowed_and_says_so() -> None:
    layout = detect_layout(export(ORDERS, customer_id="customer", order_date="day", shelf="x"))
    assert layout.amount_rule == "none"
    assert "No column of money was found among customer_id, order_date, shelf" in texts(layout.notes)[0]


class TestNamedColumns:
    """What the user named always wins, or is an error that says why."""

    FRAME = export(
        ORDERS,
        order_id="order",
        customer_id="customer",
        email="email",
        order_date="day",
        amount="total",
        paid_sum="total",
    )

    @pytest.mark.parametrize(
        ("role", "column"), [("customer_id", "email"), ("amount", "paid_sum"), ("order_id", "email")]
    )
    def test_win_over_what_would_have_been_chosen(self, role: str, column: str) -> None:
        layout = detect_layout(self.FRAME, named={role: column})
        assert layout.columns[role] == column

    @pytest.mark.parametrize("spelled", ["Kunde Nr", "kunde_nr", "KUNDE-NR"])
    def test_may_be_spelled_loosely(self, spelled: str) -> None:
        rows = export(ORDERS, **{"Kunde Nr": "customer", "date": "day"})
        assert detect_layout(rows, named={"customer_id": spelled}).columns["customer_id"] == "Kunde Nr"

    def test_are_known_by_the_decision(self) -> None:
        decision = detect_layout(self.FRAME, named={"amount": "paid_sum"}).decision.role("money")
        assert decision is not None
        assert (decision.column, decision.evidence[0].key) == ("paid_sum", "named")

    def test_that_are_not_there_are_an_error(self) -> None:
        assert refusal(export(ORDERS, customer_id="customer", order_date="day", amout="total"), amount="amount") == (
            "orders.csv: --columns amount=amount names a column that is not there. Did you mean amout?"
        )

    def test_of_roles_that_do_not_exist_are_an_error(self) -> None:
        assert refusal(self.FRAME, custmer_id="email") == (
            "orders.csv: --columns names 'custmer_id', which is not one of our columns. Did you mean 'customer_id'?"
        )

    @pytest.mark.parametrize("role", ["amount", "order_total", "price"])
    def test_that_hold_no_numbers_are_no_money(self, role: str) -> None:
        said = refusal(self.FRAME, **{role: "email"})
        assert f"column 'email' was named as {role}, but most of its values are not numbers: 'buyer0@" in said

    def test_one_column_cannot_be_two_things(self) -> None:
        who = export(ORDERS, who="customer", amount="total")
        assert refusal(who, customer_id="who", order_date="who") == (
            "orders.csv: column 'who' cannot be both customer_id and order_date. "
            "Say which is which: --columns customer_id=...,order_date=..."
        )

    def test_money_is_read_from_one_column(self) -> None:
        both = refusal(self.FRAME, amount="amount", order_total="paid_sum")
        assert both.startswith("orders.csv: both amount=amount and order_total=paid_sum were named")


class TestQuestions:
    """Where two columns have equal right, or one is missing, the user is asked."""

    @pytest.mark.parametrize(
        ("words", "role", "first", "second"),
        [
            ("the customer", "customer_id", "client_id", "user_id"),
            ("the customer", "customer_id", "account_id", "member_id"),
            ("the date of the order", "order_date", "order_date", "purchase_date"),
        ],
    )
    def test_two_columns_with_equal_right(self, words: str, role: str, first: str, second: str) -> None:
        plain = export(ORDERS, customer_id="customer", date="day", amount="total")
        plain = plain.rename({"customer_id" if role == "customer_id" else "date": first})
        rows = plain.with_columns(pl.format("2024-0{}-11", pl.int_range(pl.len()) % 7 + 1).alias(second))
        said = refusal(rows)
        assert f"2 columns could be {words} ({role})" in said
        assert f"Say which: --columns {role}={first} or --columns {role}={second}" in said
        assert detect_layout(rows, named={role: second}).columns[role] == second

    def test_two_columns_that_say_the_same_are_one(self) -> None:
        rows = export(ORDERS, client_id="customer", user_id="customer", date="day", amount="total")
        assert detect_layout(rows).columns["customer_id"] == "client_id"

    def test_a_missing_column_is_named_with_a_guess(self) -> None:
        assert refusal(export(ORDERS, Hvem="customer", Dato="day", Sum="total")) == (
            "orders.csv: 1 required column was not found: customer_id. Columns: Hvem, Dato, Sum. "
            "Name them: --columns customer_id=..."
        )

    def test_nothing_is_guessed_where_no_name_says_anything(self) -> None:
        assert refusal(pl.DataFrame({"a": ["x", "y"], "b": ["1", "2"]})) == (
            "orders.csv: 2 required columns were not found: customer_id, order_date. Columns: a, b. "
            "Name them: --columns customer_id=...,order_date=..."
        )

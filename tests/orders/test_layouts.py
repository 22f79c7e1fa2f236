"""Columns told apart by name: known exports, synonyms, what is told, and what must be asked."""

import pytest

from repurchase.errors import LayoutError
from repurchase.orders.layouts import recognise

SHOPIFY = """Name,Email,Financial Status,Paid at,Fulfillment Status,Fulfilled at,Accepts Marketing,Currency,Subtotal,
Shipping,Taxes,Total,Discount Code,Discount Amount,Shipping Method,Created at,Lineitem quantity,Lineitem name,
Lineitem price,Lineitem compare at price,Lineitem sku,Lineitem requires shipping,Lineitem taxable,
Lineitem fulfillment status,
Billing Name,Notes,Cancelled at,Payment Method,Payment Reference,Refunded Amount,Vendor,Outstanding Balance,Employee,
Location,Device ID,Id,Tags,Risk Level,Source,Lineitem discount,Phone""".replace("\n", "").split(",")
WOO_PLUGIN = [
    "order_id",
    "order_number",
    "order_date",
    "paid_date",
    "status",
    "shipping_total",
    "tax_total",
    "order_total",
    "order_subtotal",
    "order_currency",
    "payment_method",
    "customer_id",
    "customer_user",
    "customer_email",
    "billing_first_name",
    "billing_email",
    "line_item_1",
]
WOO_ADVANCED = [
    "Order Number",
    "Order Status",
    "Order Date",
    "First Name (Billing)",
    "Email (Billing)",
    "Payment Method Title",
    "Cart Discount Amount",
    "Order Subtotal Amount",
    "Order Shipping Amount",
    "Order Refund Amount",
    "Order Total Amount",
    "SKU",
    "Item #",
    "Item Name",
    "Quantity",
    "Item Cost",
    "Coupon Code",
    "Discount Amount",
]
WOO_ANALYTICS = [
    "Date",
    "Order #",
    "N. Revenue (formatted)",
    "Status",
    "Customer",
    "Customer type",
    "Product(s)",
    "Items sold",
    "Coupon(s)",
    "N. Revenue",
]


def refusal(columns: list[str], **told: str) -> str:
    with pytest.raises(LayoutError) as caught:
        recognise(columns, told=told, source="orders.csv")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("columns", "name", "rule", "some"),
    [
        (
            SHOPIFY,
            "Shopify orders",
            "order_total",
            {"customer_id": "Email", "order_id": "Name", "order_date": "Created at", "cancelled_at": "Cancelled at"},
        ),
        (
            ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country"],
            "UCI Online Retail",
            "quantity_price",
            {"customer_id": "Customer ID", "order_id": "Invoice", "product_id": "StockCode"},
        ),
        (
            ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"],
            "UCI Online Retail",
            "quantity_price",
            {"customer_id": "CustomerID", "price": "UnitPrice"},
        ),
        (
            ["customer_id", "date", "number_of_cds", "dollar_value"],
            "CDNOW",
            "amount",
            {"amount": "dollar_value", "quantity": "number_of_cds"},
        ),
        (
            WOO_PLUGIN,
            "WooCommerce orders",
            "order_total",
            {"customer_id": "billing_email", "order_date": "order_date", "currency": "order_currency"},
        ),
        (
            WOO_ADVANCED,
            "WooCommerce orders",
            "order_total",
            {"refunded": "Order Refund Amount", "price": "Item Cost", "product_id": "SKU", "status": "Order Status"},
        ),
        (
            WOO_ANALYTICS,
            "WooCommerce analytics",
            "amount",
            {"customer_id": "Customer", "amount": "N. Revenue", "order_id": "Order #"},
        ),
        (
            ["ORDER ID", "Customer-ID", "order date", "Amount"],
            "orders with named columns",
            "amount",
            {"customer_id": "Customer-ID", "order_id": "ORDER ID", "order_date": "order date", "amount": "Amount"},
        ),
        (
            ["client_id", "transaction_date", "qty", "unit_price"],
            "orders with named columns",
            "quantity_price",
            {"customer_id": "client_id", "order_date": "transaction_date"},
        ),
    ],
)
def test_usual_exports_are_recognised_unaided(columns: list[str], name: str, rule: str, some: dict[str, str]) -> None:
    layout = recognise(columns)
    assert (layout.name, layout.amount_rule) == (name, rule)
    assert some.items() <= dict(layout.columns).items()


def test_what_is_told_wins_over_what_is_recognised() -> None:
    layout = recognise(SHOPIFY, told={"customer_id": "Phone", "amount": "Subtotal"})
    assert layout.columns["customer_id"] == "Phone"
    assert (layout.amount_rule, layout.columns["amount"]) == ("amount", "Subtotal")


def test_a_told_column_may_be_spelled_loosely() -> None:
    assert recognise(["Kunde Nr", "date"], told={"customer_id": "kunde_nr"}).columns["customer_id"] == "Kunde Nr"


def test_our_own_name_wins_over_a_synonym() -> None:
    columns = ["customer_id", "order_date", "created_at", "amount", "total", "email"]
    layout = recognise(columns)
    assert layout.columns["order_date"] == "order_date"
    assert layout.columns["customer_id"] == "customer_id"
    assert layout.columns["amount"] == "amount"


def test_a_log_without_money_is_allowed_and_says_so() -> None:
    layout = recognise(["customer_id", "order_date", "store"])
    assert layout.amount_rule == "none"
    assert "No column of money was found among customer_id, order_date, store" in layout.notes[0]


def test_missing_columns_are_named_with_a_guess() -> None:
    assert refusal(["Kunde", "Dato", "Beløp"]) == (
        "orders.csv: 2 of the 2 needed columns are missing: customer_id, order_date. Found: Kunde, Dato, Beløp. "
        "Say which is which: --columns customer_id=Kunde,order_date=Dato,amount=Beløp"
    )


def test_one_missing_column_without_a_guess() -> None:
    assert refusal(["customer_id", "x", "amount"]) == (
        "orders.csv: 1 of the 2 needed columns is missing: order_date. Found: customer_id, x, amount. "
        "Say which is which: --columns order_date=..."
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            ["customer_id", "created_at", "paid_at", "amount"],
            (
                "2 columns could be the date of the order (order_date) equally well: created_at, paid_at. "
                "Say which: --columns order_date=created_at or --columns order_date=paid_at"
            ),
        ),
        (
            ["client_id", "user_id", "date", "amount"],
            (
                "2 columns could be the customer (customer_id) equally well: client_id, user_id. "
                "Say which: --columns customer_id=client_id or --columns customer_id=user_id"
            ),
        ),
        (
            ["customer_id", "date", "revenue", "order_total"],
            (
                "2 columns could be the amount (amount) equally well: order_total, revenue. "
                "Say which: --columns amount=order_total or --columns amount=revenue"
            ),
        ),
    ],
)
def test_two_columns_with_equal_right_are_asked_about(columns: list[str], expected: str) -> None:
    assert refusal(columns) == f"orders.csv: {expected}"


def test_the_question_is_settled_by_telling() -> None:
    layout = recognise(["customer_id", "created_at", "paid_at", "amount"], told={"order_date": "paid_at"})
    assert layout.columns["order_date"] == "paid_at"


def test_a_told_column_that_is_not_there() -> None:
    assert refusal(["customer_id", "order_date", "amout"], amount="amount") == (
        "orders.csv: --columns amount=amount names a column that is not there. Did you mean amout?"
    )


def test_a_told_role_that_does_not_exist() -> None:
    assert refusal(["customer_id", "order_date"], custmer_id="customer_id") == (
        "orders.csv: --columns names 'custmer_id', which is not one of our columns. Did you mean 'customer_id'?"
    )


def test_one_column_cannot_be_two_things() -> None:
    assert refusal(["who", "amount"], customer_id="who", order_date="who") == (
        "orders.csv: column 'who' cannot be both customer_id and order_date. "
        "Say which is which: --columns customer_id=...,order_date=..."
    )


def test_the_same_heading_twice_is_asked_about() -> None:
    assert "equally well: date, date_duplicated_0" in refusal(["customer_id", "date", "date_duplicated_0"])

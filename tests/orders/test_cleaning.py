"""What becomes of each row: kept, netted or set aside under a reason, and the counts add up."""

import json
from collections.abc import Callable
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from repurchase.errors import InputError, OrdersError
from repurchase.i18n.messages import render
from repurchase.orders.cleaning_report import CleaningReport, Reason
from repurchase.orders.pipeline import CleanOrders, clean_orders
from repurchase.schemas import ORDERS
from repurchase.settings import Settings


def texts(messages):
    return [render(one, locale="en") for one in messages]


TODAY = date(2024, 12, 31)
COLUMNS = ("customer_id", "order_id", "order_date", "product_id", "amount")
Row = tuple[str | None, ...]


def log(*rows: Row, columns: tuple[str, ...] = COLUMNS) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def clean(frame: pl.DataFrame, **settings: object) -> CleanOrders:
    return clean_orders(frame, settings=Settings(**settings), today=TODAY)  # type: ignore[arg-type]


def counts(result: CleanOrders) -> dict[str, tuple[int, int, str]]:
    return {why.reason: (why.rows, why.found, why.treatment) for why in result.report.reasons}


def refusal(frame: pl.DataFrame, **settings: object) -> str:
    with pytest.raises(InputError) as caught:
        clean(frame, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


GOOD = ("a", "1", "2024-01-31", "p", "10.00")


def test_a_good_row_is_kept_as_it_is() -> None:
    result = clean(log(GOOD))
    ORDERS.check(result.orders)
    assert result.orders.select("customer_id", "order_id", "product_id", "amount", "sale_date").row(0) == (
        "a",
        "1",
        "p",
        10.0,
        None,
    )
    assert result.report.reasons == ()
    assert result.set_aside.columns == [*COLUMNS, "reason"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((None, "2", "2024-02-01", "p", "5"), "missing_customer"),
        (("nan", "2", "2024-02-01", "p", "5"), "missing_customer"),
        (("b", "2", "soon", "p", "5"), "unreadable_date"),
        (("b", "2", "2025-01-01", "p", "5"), "future_date"),
        (("b", "2", "2024-02-01", "p", "gift"), "amount_not_a_number"),
        (("b", "2", "2024-02-01", "p", None), "amount_not_a_number"),
        (("b", "2", "2024-02-01", "p", "9e15"), "amount_not_a_number"),
        (GOOD, "duplicate_line"),
        (("b", "2", "2024-02-01", "p", "0.00"), "zero_total"),
        ((None, "2", "soon", "p", "gift"), "missing_customer"),
    ],
)
def test_what_is_set_aside(row: Row, reason: str) -> None:
    result = clean(log(GOOD, row, ("c", "9", "2024-03-01", "p", "7"), ("d", "10", "2024-03-01", "p", "7")))
    assert result.report.n_kept == 3
    assert result.set_aside["reason"].to_list() == [reason]
    assert result.set_aside.row(0)[:-1] == row
    assert counts(result)[reason][:2] == (1, 1)


def test_each_row_counts_once_and_what_it_shows_is_still_found() -> None:
    orphan = (None, "2", "2024-02-01", "p", "5")
    result = clean(log(GOOD, orphan, orphan))
    assert counts(result) == {"missing_customer": (2, 2, "set_aside"), "duplicate_line": (0, 1, "set_aside")}


def test_today_is_not_the_future() -> None:
    assert clean(log(("a", "1", "2024-12-31 23:59", "p", "1"))).report.n_kept == 1


def test_duplicates_can_be_kept() -> None:
    assert clean(log(GOOD, GOOD), duplicates="keep").report.n_kept == 2


def test_equal_rows_without_order_ids_or_times_are_purchases() -> None:
    columns = ("customer_id", "order_date", "amount")
    result = clean(log(("a", "2024-01-31", "10"), ("a", "2024-01-31", "10"), columns=columns))
    assert result.report.n_kept == 2
    assert result.orders["order_id"].to_list() == ["a@2024-01-31", "a@2024-01-31#2"]
    assert any("1 row equal an earlier row and were kept" in note for note in texts(result.report.notes))


def test_equal_rows_with_a_time_of_day_are_duplicates() -> None:
    columns = ("customer_id", "order_date", "amount")
    result = clean(log(("a", "2024-01-31 10:00", "10"), ("a", "2024-01-31 10:00", "10"), columns=columns))
    assert counts(result) == {"duplicate_line": (1, 1, "set_aside")}


def test_lines_without_order_ids_at_one_time_are_one_order() -> None:
    columns = ("customer_id", "order_date", "product_id", "amount")
    rows = (("a", "2024-01-31 10:00", "p", "10"), ("a", "2024-01-31 10:00", "q", "0"))
    result = clean(log(*rows, columns=columns))
    assert result.orders["order_id"].unique().to_list() == ["a@2024-01-31T10:00:00"]
    assert result.report.n_kept == 2


def test_a_free_line_of_a_paying_order_stays() -> None:
    result = clean(log(GOOD, ("a", "1", "2024-01-31", "q", "0")))
    assert result.report.n_kept == 2


def test_a_return_is_netted_against_its_sale() -> None:
    result = clean(log(GOOD, ("a", "2", "2024-03-01", "p", "-10.00")))
    assert counts(result) == {"return": (1, 1, "netted")}
    assert result.report.n_kept == 1
    assert result.orders.select("amount", "sale_date").rows() == [(10.0, None), (-10.0, date(2024, 1, 31))]


def test_returns_can_be_set_aside() -> None:
    result = clean(log(GOOD, ("a", "2", "2024-03-01", "p", "-10.00")), returns="set_aside")
    assert result.orders["amount"].to_list() == [10.0]
    assert result.set_aside["reason"].to_list() == ["return"]


def test_a_negative_quantity_is_a_return_whatever_the_sign_of_the_amount() -> None:
    columns = ("customer_id", "order_id", "order_date", "amount", "quantity")
    result = clean(log(("a", "1", "2024-01-31", "10", "1"), ("a", "2", "2024-02-01", "10", "-1"), columns=columns))
    assert result.orders["amount"].to_list() == [10.0, -10.0]


def test_returns_of_a_log_without_money_are_set_aside() -> None:
    columns = ("customer_id", "order_id", "order_date", "quantity")
    result = clean(log(("a", "1", "2024-01-31", "1"), ("a", "2", "2024-02-01", "-1"), columns=columns))
    assert result.report.has_amounts is False
    assert result.orders["amount"].to_list() == [None]
    assert counts(result) == {"return": (1, 1, "set_aside")}
    assert any("no money they could be taken off" in note for note in texts(result.report.notes))


def test_an_empty_column_of_money_is_no_money() -> None:
    result = clean(log(("a", "1", "2024-01-31", "p", None)))
    assert result.report.has_amounts is False
    assert result.report.n_kept == 1


def test_ids_are_one_customer_in_every_spelling() -> None:
    typed = pl.DataFrame(
        {"customer_id": [13085.0, 13085.0], "order_date": ["2024-01-31", "2024-02-29"], "amount": [1, 2]}
    )
    assert clean(typed).orders["customer_id"].to_list() == ["13085", "13085"]


def test_further_columns_are_carried_through() -> None:
    frame = log(GOOD).with_columns(shelf=pl.lit("north"), sale_date=pl.lit("x"), price=pl.lit("3"))
    orders = clean(frame).orders
    assert orders["shelf"].to_list() == ["north"]
    assert orders.schema["sale_date"] == pl.Date


def test_a_column_called_reason_does_not_get_in_the_way() -> None:
    frame = log(GOOD, (None, "2", "2024-02-01", "p", "5")).with_columns(reason=pl.lit("theirs"))
    assert clean(frame).set_aside.select("reason_in_export", "reason").row(0) == ("theirs", "missing_customer")


def test_cleaned_orders_are_clean() -> None:
    once = clean(log(GOOD, ("a", "2", "2024-03-01", "p", "-10.00"), ("b", "3", "2024-03-01", "q", "4")))
    again = clean(once.orders)
    assert again.orders.equals(once.orders)


def test_pandas_and_arrow_are_taken() -> None:
    frame = log(GOOD, ("b", "3", "2024-03-01", "q", "4"))
    expected = clean(frame).orders
    assert clean_orders(frame.to_pandas(), today=TODAY).orders.equals(expected)
    assert clean_orders(frame.to_arrow(), today=TODAY).orders.equals(expected)


def test_the_input_is_left_as_it_was() -> None:
    frame = log(GOOD, ("a", "2", "2024-03-01", "p", "-10.00"))
    before = frame.clone()
    clean(frame)
    assert frame.equals(before)


# Exports ------------------------------------------------------------------------------------------------------------

SHOPIFY = (
    "Name",
    "Email",
    "Financial Status",
    "Currency",
    "Total",
    "Created at",
    "Lineitem quantity",
    "Lineitem price",
    "Lineitem sku",
    "Refunded Amount",
    "Cancelled at",
)


def shopify(*rows: Row) -> CleanOrders:
    return clean(log(*rows, columns=SHOPIFY))


def first(
    name: str, total: str, *, who: str = "Ann@x.no", status: str = "paid", back: str = "0", off: str | None = None
) -> Row:
    return (name, who, status, "NOK", total, "2024-01-31 10:00:00 +0100", "1", "30.00", "sku1", back, off)


def more(name: str, price: str = "10.00") -> Row:
    return (name, None, None, None, None, None, "2", price, "sku2", None, None)


def test_shopify_order_fields_of_the_first_line_are_those_of_the_order() -> None:
    result = shopify(first("#1", "60.00"), more("#1"), more("#1"))
    assert result.orders["customer_id"].to_list() == ["ann@x.no"] * 3
    assert result.orders["amount"].to_list() == [25.72, 17.14, 17.14]
    assert result.report.reasons == ()
    assert result.report.currency == "NOK"
    assert result.report.n_orders == 1


def test_shopify_refunds_are_taken_off_the_order() -> None:
    result = shopify(first("#1", "60.00", back="15.00"), more("#1"))
    assert result.orders["amount"].sum() == pytest.approx(45.0)
    assert any("1 order were paid back in part; 15.00 in all" in note for note in texts(result.report.notes))


def test_a_shopify_order_paid_back_in_full_makes_no_purchase() -> None:
    result = shopify(first("#1", "60.00", back="60.00"), more("#1"), first("#2", "5.00"))
    assert counts(result) == {"refunded_in_full": (2, 2, "netted")}
    assert result.orders.filter(pl.col("order_id") == "#1")["amount"].to_list() == [0.0, 0.0]


@pytest.mark.parametrize(
    "row", [first("#1", "60.00", status="voided"), first("#1", "60.00", off="2024-02-01 10:00:00 +0100")]
)
def test_a_shopify_order_that_never_was(row: Row) -> None:
    result = shopify(row, more("#1"), first("#2", "5.00"))
    assert counts(result) == {"cancelled_order": (2, 2, "set_aside")}


def test_a_shopify_order_in_two_overlapping_exports_counts_once() -> None:
    order = (first("#1", "60.00"), more("#1"))
    result = shopify(*order, first("#2", "5.00"), *order)
    assert counts(result) == {"repeated_order": (2, 2, "set_aside")}
    assert result.orders["amount"].sum() == pytest.approx(65.0)


def test_a_free_shopify_order_is_set_aside_with_all_its_lines() -> None:
    result = shopify(first("#1", "0.00"), more("#1"), first("#2", "5.00"))
    assert counts(result) == {"zero_total": (2, 2, "set_aside")}


UCI = ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")


def test_uci_cancellations_are_netted_and_never_raise_spend() -> None:
    result = clean(
        log(
            ("536365", "85123A", "6", "12/1/2010 8:26", "2.55", "17850.0"),
            ("C536379", "85123A", "-6", "12/13/2010 9:41", "2.55", "17850"),
            ("C536380", "M", "1", "12/14/2010 9:41", "3.00", "17850"),
            columns=UCI,
        )
    )
    assert counts(result) == {"cancellation": (2, 2, "netted")}
    assert result.orders["amount"].to_list() == pytest.approx([15.3, -15.3, -3.0])
    assert result.orders["sale_date"].to_list() == [None, date(2010, 12, 1), None]


WOO = ("order_id", "order_date", "status", "order_total", "order_currency", "customer_id", "billing_email")


def test_woocommerce_guests_are_told_apart_by_mail_and_dead_orders_left_out() -> None:
    result = clean(
        log(
            ("1", "2024-01-31 10:00", "wc-completed", "10", "EUR", "0", "ann@x.no"),
            ("2", "2024-02-01 10:00", "processing", "20", "EUR", "0", "bob@x.no"),
            ("3", "2024-02-02 10:00", "wc-failed", "30", "EUR", "7", "cat@x.no"),
            ("4", "2024-02-03 10:00", "Pending payment", "30", "EUR", "7", "cat@x.no"),
            ("5", "2024-02-04 10:00", "refunded", "40", "EUR", "7", "cat@x.no"),
            columns=WOO,
        )
    )
    assert counts(result) == {"cancelled_order": (2, 2, "set_aside"), "refunded_in_full": (1, 1, "netted")}
    assert result.orders.select("customer_id", "amount").rows() == [
        ("ann@x.no", 10.0),
        ("bob@x.no", 20.0),
        ("cat@x.no", 0.0),
    ]


def test_a_woocommerce_total_repeated_on_each_line_counts_once() -> None:
    columns = (
        "Order Number",
        "Order Status",
        "Order Date",
        "Email (Billing)",
        "Order Total Amount",
        "SKU",
        "Quantity",
        "Item Cost",
    )
    rows = (
        ("1", "Completed", "2024-01-31 10:00", "ann@x.no", "30.00", "p", "1", "10.00"),
        ("1", "Completed", "2024-01-31 10:00", "ann@x.no", "30.00", "q", "2", "5.00"),
    )
    assert clean(log(*rows, columns=columns)).orders["amount"].to_list() == [15.0, 15.0]


def test_woocommerce_guests_without_mail_are_nobody() -> None:
    columns = ("order_id", "order_date", "status", "order_total", "customer_id")
    rows = (("1", "2024-01-31", "completed", "10", "0"), ("2", "2024-01-31", "completed", "10", "7"))
    assert counts(clean(log(*rows, columns=columns))) == {"missing_customer": (1, 1, "set_aside")}


def test_an_order_total_on_every_line_of_an_unknown_shop_counts_once() -> None:
    columns = ("customer_id", "order_id", "order_date", "sku", "order_total")
    rows = (
        ("a", "1", "2024-01-31", "p", "30"),
        ("a", "1", "2024-01-31", "q", "30"),
        ("a", "2", "2024-02-01", "q", "5"),
    )
    assert clean(log(*rows, columns=columns)).orders["amount"].to_list() == [30.0, 0.0, 5.0]


# Refusals -----------------------------------------------------------------------------------------------------------


def test_every_customer_null() -> None:
    assert refusal(log((None, "1", "2024-01-31", "p", "1"), ("", "2", "2024-01-31", "p", "1"))) == (
        "orders: all 2 rows lack a customer in column 'customer_id'. "
        "Name the column that tells customers apart: --columns customer_id=..."
    )


def test_dates_no_one_can_read() -> None:
    rows = [("a", str(number), f"day {number}", "p", "1") for number in range(8)]
    assert refusal(log(*rows)) == (
        "orders: 8 of 8 dates in column 'order_date' cannot be read: 'day 0', 'day 1', 'day 2', 'day 3', 'day 4', .... "
        "Expected dates such as 2024-01-31, 31.12.2024 or 12/31/2024. Name the right column: --columns order_date=..."
    )


def test_amounts_as_text() -> None:
    rows = [("a", str(number), "2024-01-31", "p", word) for number, word in enumerate(("low", "high", "low", "5"))]
    assert refusal(log(*rows), columns={"amount": "amount"}) == (
        "orders: column 'amount' was named as amount, but most of its values are not numbers: 'low', 'high', '5'. "
        "Name the right column: --columns amount=..."
    )


def with_currencies(*currencies: str | None) -> pl.DataFrame:
    rows = [("a", str(number), "2024-01-31", "p", "5") for number in range(len(currencies))]
    return log(*rows).with_columns(pl.Series("currency", currencies))


def test_two_currencies() -> None:
    assert refusal(with_currencies("NOK", "eur", "NOK")) == (
        "orders: 2 currencies in one log: NOK (2 rows), EUR (1 rows). Money of two currencies cannot be added. "
        "Convert it before, or keep one: currency = 'NOK' in repurchase.toml sets the others aside."
    )


def test_one_of_two_currencies_can_be_kept() -> None:
    result = clean(with_currencies("NOK", "eur", "NOK"), currency="nok")
    assert counts(result) == {"other_currency": (1, 1, "set_aside")}
    assert result.report.currency == "NOK"


def test_a_currency_that_is_not_there() -> None:
    assert refusal(with_currencies("NOK", "NOK"), currency="USD") == (
        "orders: no row is in USD, the currency of the settings. Found: NOK. "
        "Correct the setting 'currency', or leave it out."
    )


def test_nothing_left() -> None:
    assert refusal(log(("a", "1", "2030-01-31", "p", "5"), ("b", "2", "2024-01-31", "p", "0"))) == (
        "orders: none of the 2 rows is a sale: a date in the future (1 row), an order with "
        "a total of zero (gifts, replacements, samples) (1 row). Check the export and its columns."
    )


def test_no_rows() -> None:
    assert refusal(log()) == (
        "orders: no rows. Found the columns customer_id, order_id, order_date, product_id, amount."
    )


def test_an_ambiguous_column_of_dates_is_asked_about() -> None:
    assert "--date-order day_first or --date-order month_first" in refusal(log(("a", "1", "03/04/2024", "p", "1")))
    assert clean(log(("a", "1", "03/04/2024", "p", "1")), date_order="day_first").report.first_day == date(2024, 4, 3)


# The account --------------------------------------------------------------------------------------------------------


def test_the_report_reads_well_and_adds_up() -> None:
    result = clean(log(GOOD, GOOD, (None, "2", "2024-02-01", "p", "5"), ("a", "3", "2024-03-01", "p", "-10.00")))
    assert result.report.lines() == [
        "4 rows came in, laid out as orders with named columns.",
        "1 row is a sale and is kept as it is.",
        "1 row was set aside: no customer id.",
        "1 row was set aside: equal in every column to an earlier row.",
        "1 row was taken off the customer's spending: a return, with a negative amount.",
        "Together: 1 kept + 2 set aside + 1 netted = 4 rows.",
        "That leaves 1 customer with 1 order, from 2024-01-31 to 2024-03-01.",
    ]


def test_the_report_is_plain_json() -> None:
    report = clean(log(GOOD, GOOD)).report
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["first_day"] == "2024-01-31"
    assert plain["reasons"][0]["reason"] == "duplicate_line"
    assert plain["n_raw"] == plain["n_kept"] + sum(reason["rows"] for reason in plain["reasons"])


def test_a_report_that_does_not_add_up_is_refused() -> None:
    why = Reason("return", rows=1, found=1, treatment="netted")
    with pytest.raises(OrdersError, match="does not add up: 3 rows read, but 1 kept"):
        CleaningReport(n_raw=3, n_kept=1, reasons=(why,))


# Properties ---------------------------------------------------------------------------------------------------------

RAW = st.tuples(
    st.sampled_from(["a", "b", "13085.0", "13085", "", None]),
    st.sampled_from(["1", "2", "3", None]),
    st.sampled_from(["2024-01-31", "2024-02-01 10:00", "2030-01-01", "2024-01-31"]),
    st.sampled_from(["p", "q", None]),
    st.sampled_from(["10", "5.50", "0", "-5.50", "-10", "10"]),
)
ALWAYS = (("z", "77", "2024-01-01", "p", "1.75"), ("z", "77", "2024-01-01", "q", "2.50"))
"""A sale, so that something is left; its lines have all fields."""


def money(result: CleanOrders) -> dict[str, int]:
    spent = result.orders.group_by("customer_id").agg((pl.col("amount") * 100).round().sum())
    return {who: int(cents) for who, cents in spent.rows()}


@hypothesis_settings(max_examples=40, deadline=None)
@given(st.lists(RAW, max_size=30), st.sampled_from(["net", "set_aside"]), st.sampled_from(["keep", "set_aside"]))
def test_every_row_has_one_place(rows: list[Row], returns: str, duplicates: str) -> None:
    result = clean(log(*ALWAYS, *rows), returns=returns, duplicates=duplicates)
    report = result.report
    assert report.n_raw == len(rows) + len(ALWAYS)
    assert report.n_kept + sum(why.rows for why in report.reasons) == report.n_raw
    assert result.orders.height == report.n_kept + report.count("netted")
    assert result.set_aside.height == report.count("set_aside")
    assert all(why.rows <= why.found for why in report.reasons)
    aside = dict(result.set_aside["reason"].value_counts().rows())
    assert aside == {why.reason: why.rows for why in report.reasons if why.treatment == "set_aside" and why.rows}


@hypothesis_settings(max_examples=40, deadline=None)
@given(st.lists(RAW, max_size=30), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(rows: list[Row], random: object) -> None:
    shuffled = [*ALWAYS, *rows]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = clean(log(*ALWAYS, *rows)), clean(log(*shuffled))
    assert one.orders.equals(other.orders)
    assert one.report == other.report


@hypothesis_settings(max_examples=40, deadline=None)
@given(st.lists(RAW, max_size=20), st.sampled_from(["-10", "-5.50", "-0.01"]), st.sampled_from(["1", "2", "9"]))
def test_a_return_never_raises_spend(rows: list[Row], amount: str, order: str) -> None:
    without = money(clean(log(*ALWAYS, *rows)))
    extra = ("a", order, "2024-03-01", "p", amount)
    with_return = money(clean(log(*ALWAYS, *rows, extra)))
    assert with_return.get("a", 0) <= without.get("a", 0)
    assert {who: cents for who, cents in with_return.items() if who != "a"} == {
        who: cents for who, cents in without.items() if who != "a"
    }


def test_simulated_orders_pass_untouched(simulate_orders: Callable[..., pl.DataFrame]) -> None:
    orders = simulate_orders(customers=50)
    result = clean_orders(orders, today=date(2030, 1, 1))
    assert result.report.n_kept == orders.height
    assert result.orders["amount"].sum() == pytest.approx(orders["amount"].sum())

"""The English of the reading decision; the other languages stand in ``report/catalogues/<locale>_reading.toml``.

A text that counts is a table of plural forms, chosen by the number in ``COUNTED`` that the statement has.
"""

from collections.abc import Mapping

__all__ = ["COUNTED", "FACTS", "ROLES"]

Text = str | Mapping[str, str]

COUNTED = ("orders", "rows", "shared", "count")
"""Parameters that decide the plural; the first that a statement has."""

ROLES: Mapping[str, str] = {
    "customer_id": "Customer",
    "order_date": "Date",
    "order_id": "Order",
    "money": "Money",
    "refunded": "Refunds",
    "status": "Status",
    "payment_status": "Status",
    "record_type": "Row type",
    "cancelled_at": "Cancelled",
    "cancelled": "Cancelled",
    "paid": "Paid",
    "paid_at": "Paid on",
    "currency": "Currency",
    "ignored": "Not used",
}
"""What the roles are called, in the order in which they are shown."""

_OF_ORDERS = "of {orders} orders with several lines"

FACTS: Mapping[str, Text] = {
    "named": "named by you",
    "by_name": "recognised by its name",
    "by_content": "recognised by its values",
    "only_dates": "the only column with dates",
    "customer_id": "customer number",
    "customer_email": "customers are told apart by e-mail address",
    "customer_name": "customers are told apart by name; two customers with the same name are counted as one",
    "customer_phone": "customers are told apart by telephone number",
    "fallback": "where it is empty, '{column}' is used",
    "order_id": "order number",
    "no_order_id": "no column with order numbers: each row is one order",
    "no_order_id_lines": "no column with order numbers: rows of one customer at one time are one order",
    "dates": "order date",
    "dates_and_times": "time of day in '{column}'",
    "day_first": "day before month",
    "month_first": "month before day",
    "by_file": {
        "one": "{count} file is written differently and is read accordingly",
        "other": "{count} files are written differently and are read accordingly",
    },
    "decimal_comma": "decimal comma",
    "money_order": "total of the order, repeated on its lines",
    "money_order_first_line": "total of the order, on its first line",
    "money_line": "amount of the order line",
    "money_row": "total of the order, one row per order",
    "money_quantity_price": "price per unit, multiplied by '{quantity}'",
    "money_none": "no column with money: purchases are predicted, revenue is not",
    "line_total": "amount of the order line, already multiplied by '{quantity}'",
    "constant": {
        "one": "the same on all lines in {share} of {orders} order with several lines",
        "other": f"the same on all lines in {{share}} {_OF_ORDERS}",
    },
    "differs": {
        "one": "differs between the lines in {share} of {orders} order with several lines",
        "other": f"differs between the lines in {{share}} {_OF_ORDERS}",
    },
    "first_line": {
        "one": "filled on the first line only in {share} of {orders} order with several lines",
        "other": f"filled on the first line only in {{share}} {_OF_ORDERS}",
    },
    "single_lines": "every order has one line",
    "sums_match": {
        "one": "equals quantity × price in {share} of {orders} order",
        "other": "equals quantity × price in {share} of {orders} orders",
    },
    "contradicts_name": "its values contradict its name",
    "refund_order": "subtracted from the total of the order",
    "refund_line": "subtracted from the amount on the same row",
    "refund_included": "not subtracted again: '{column}' is already net of refunds",
    "status": "decides which orders are sales",
    "status_sale": "sales (orders): {statuses}",
    "status_not_sale": "not sales (orders): {statuses}",
    "status_refunded": "sales that were paid back in full (orders): {statuses}",
    "status_doubted": "unclear, counted as sales (orders): {statuses}",
    "status_with_other": "an order is a sale only if neither status says otherwise",
    "record_type": "decides which rows are refunds",
    "type_sale": "sales: {types}",
    "type_refund": "refunds: {types}",
    "type_other": "no orders, left out: {types}",
    "cancelled": "orders where it is filled are not sales",
    "cancelled_flag": "orders where it says yes are not sales",
    "paid_flag": "orders where it says no are not sales",
    "paid_at": "where no status says that an order is a sale, it is one if this is filled",
    "currency": "{currencies}",
    "placeholder": {
        "one": "'{value}' on {rows} of {total} rows stands for no customer",
        "other": "'{value}' on {rows} of {total} rows stands for no customer",
    },
    "mostly_empty": "filled on {share} of the rows only",
    "person_names": "holds names, and different customers may share one",
    "not_dates": "holds no dates",
    "not_numbers": "holds no numbers",
    "mostly_zero": "zero on {share} of the rows",
    "lower_rank": "'{column}' fits better",
    "adjusted": "'{column}' replaces it where that is filled",
    "of_customers": "the same on all orders of a customer",
    "not_smaller": "larger than the total of the order on {share} of the rows",
    "unused_refund": "may hold refunds",
    "unused_status": "may say which orders are sales",
    "unused_type": "may say which rows are refunds",
    "unused_cancelled": "may say which orders were cancelled",
    "unused_test": "may mark test orders",
}

"""Message catalogues, plural forms and the active locale."""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from typing import Any

from repurchase.errors import InputError

_MessageText = str | Mapping[str, str]

PLURAL_PARAMS = ("orders", "rows", "shared", "count")
"""Parameters that decide the plural; the first that a statement has."""

READING_ROLES: Mapping[str, str] = {
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

READING_FACTS: Mapping[str, _MessageText] = {
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


LOCALES = {"en": "English", "nb": "Norsk bokmål", "nl": "Nederlands", "ru": "Русский"}
_CATALOGUE_SUFFIXES = ("", "_record", "_lists")
PLURAL_FORMS = {"en": ("one", "other"), "nb": ("one", "other"), "nl": ("one", "other"), "ru": ("one", "few", "many")}
"""Plural forms of whole numbers (Unicode CLDR, plural rules)."""

_ACTIVE_LOCALE: ContextVar[str] = ContextVar("locale", default="en")


@contextmanager
def use_locale(name: str) -> Iterator[None]:
    """Speak a language for a while."""
    if name not in LOCALES:
        raise InputError(f"unknown locale '{name}'. Known: {', '.join(LOCALES)}.")
    before = _ACTIVE_LOCALE.set(name)
    try:
        yield
    finally:
        _ACTIVE_LOCALE.reset(before)


def active_locale() -> str:
    """Name the language that is spoken."""
    return _ACTIVE_LOCALE.get()


@cache
def load_catalogue(name: str) -> Mapping[str, _MessageText]:
    """Read a catalogue."""
    folder = files("repurchase.i18n").joinpath("catalogues")
    parts = _CATALOGUE_SUFFIXES if name == "en" else (*_CATALOGUE_SUFFIXES, "_reading")
    tables = [tomllib.loads(folder.joinpath(f"{name}{part}.toml").read_text(encoding="utf-8")) for part in parts]
    if name == "en":
        tables.append({"reading": {"role": READING_ROLES, "fact": READING_FACTS}})
    return {key: text for table in tables for key, text in _flatten(table, "")}


def _flatten(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, _MessageText]]:
    for name, value in table.items():
        if isinstance(value, dict) and not set(value) <= {"one", "few", "many", "other"}:
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def has_message(key: str) -> bool:
    """Say whether there is such a text."""
    return key in load_catalogue(active_locale())


def message_template(key: str) -> str:
    """Look up a text as it stands."""
    return str(load_catalogue(active_locale())[key])


def translate(key: str, /, *, n: Any = None, **values: object) -> str:
    """Say something in the language that is spoken."""
    text = load_catalogue(active_locale())[key]
    if not isinstance(text, str):
        text = text[plural_form(round(n or 0), active_locale())]
    if n is not None:
        values["n"] = format_number(n)
    return text.format(**values) if values else text


def plural_form(n: int, name: str) -> str:
    """Choose the plural form of a whole number."""
    n = abs(n)
    if name != "ru":
        return "one" if n == 1 else "other"
    if n % 10 == 1 and n % 100 != 11:
        return "one"
    return "few" if 2 <= n % 10 <= 4 and not 12 <= n % 100 <= 14 else "many"


def format_number(value: float, places: int = 0) -> str:
    """Write a number with the language's marks."""
    return f"{value:,.{places}f}".translate(
        {ord(","): message_template("number.group"), ord("."): message_template("number.decimal")}
    )

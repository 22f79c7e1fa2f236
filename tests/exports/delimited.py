"""Writing tables as text files, and the ways platforms print money and times."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from tests.exports.shop import SALE_STATES, Export, Order, Shop

Row = Mapping[str, object]
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def write_rows(
    path: Path,
    header: Sequence[str],
    rows: Iterable[Row],
    *,
    delimiter: str = ",",
    quote_all: bool = False,
    encoding: str = "utf-8",
) -> Path:
    """Write rows by the header's names; what a row lacks is empty, what the header lacks is a mistake of the test."""
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(
            file,
            delimiter=delimiter,
            quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL,
            lineterminator="\n",
        )
        writer.writerow(header)
        for row in rows:
            assert row.keys() <= set(header), row.keys() - set(header)
            writer.writerow([row.get(name, "") for name in header])
    return path


def newest_first(shop: Shop) -> list[Order]:
    """Orders as most back offices list them."""
    return list(reversed(shop.orders))


def cents(money: int, decimals: int = 2) -> str:
    """54.00, or 54.0000 where a database's decimals are printed as they are."""
    return f"{money / 100:.{decimals}f}"


def continental(money: int, *, thousands: str = ".", before: str = "", after: str = "") -> str:
    """1.234,56 with a currency before or after it."""
    grouped = f"{money / 100:,.2f}".replace(",", "\0").replace(".", ",").replace("\0", thousands)
    return f"{before}{grouped}{after}"


def with_offset(at: datetime) -> str:
    """2023-03-01 09:12:33 +0100, on a clock that is an hour ahead in summer."""
    return f"{at:%Y-%m-%d %H:%M:%S} {'+0200' if 4 <= at.month <= 10 else '+0100'}"


def american_day(at: datetime) -> str:
    """Mar 1, 2023, whatever the machine's language."""
    return f"{_MONTHS[at.month - 1]} {at.day}, {at.year}"


def american_time(at: datetime) -> str:
    """9:12:33 AM, whatever the machine's language."""
    return f"{(at.hour - 1) % 12 + 1}:{at:%M:%S} {'AM' if at.hour < 12 else 'PM'}"


def tax_in(money: int, percent: int) -> int:
    """Tax that a price with tax contains."""
    return money - round(money * 100 / (100 + percent))


def line_discounts(order: Order) -> list[int]:
    """An order's discount, shared out to its lines."""
    shares = [order.discount * line.value // order.goods for line in order.lines]
    shares[-1] += order.discount - sum(shares)
    return shares


def export_of(
    path: Path,
    shop: Shop,
    *,
    money: Callable[[Order], int] = lambda order: order.net,
    customer: Callable[[Order], object] = lambda order: order.customer.number,
) -> Export:
    """An export that speaks for itself, where ``money`` of an order and ``customer`` of a person can be found.

    Someone whose every order was paid back in full may be counted among the customers or not.
    """
    truth = shop.truth_of(money)
    kept = {customer(order) for order in shop.orders if money(order) > 0}
    buyers = {customer(order) for order in shop.orders if order.state in SALE_STATES}
    return Export(path, {}, replace(truth, customers=len(kept)), (replace(truth, customers=len(buyers)),))

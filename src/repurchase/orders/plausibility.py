"""Whether the result of a cleaning can be true: unclear statuses, losses in one place, one customer above all."""

from repurchase.errors import OrdersError, first_few
from repurchase.orders.layouts import Layout
from repurchase.orders.tally import Tally
from repurchase.settings import Settings

__all__ = ["implausible", "require_plausible"]

_MOST_UNKNOWN = 0.02
_LARGE_SHARE = 0.20
_TIMES_THE_NEXT = 5
_ENOUGH_ORDERS = 100
_ENOUGH_CUSTOMERS = 20
_UNITS = 10_000


def implausible(
    tally: Tally, layout: Layout, *, files: tuple[str, ...], settings: Settings, source: str
) -> tuple[OrdersError, ...]:
    """List what speaks against the reading of a log.

    Parameters
    ----------
    tally : Tally
        Of all rows.
    layout : Layout
        How they were understood.
    files : tuple of str
        Names of the files.
    settings : Settings
        May say which statuses count, and which large customers are real.
    source : str
        What messages call the log.

    Returns
    -------
    tuple of OrdersError
        Each names what was found, and the setting that decides it.
    """
    found = (
        _unknown_statuses(tally, layout, source),
        _lost_in_one_place(tally, files, source),
        _one_large_customer(tally, settings, source),
    )
    return tuple(fault for fault in found if fault is not None)


def require_plausible(faults: tuple[OrdersError, ...]) -> None:
    """Refuse a log whose reading is not plausible.

    Parameters
    ----------
    faults : tuple of OrdersError
        From `implausible`.

    Raises
    ------
    OrdersError
        The first of them.
    """
    for fault in faults:
        raise fault


def _unknown_statuses(tally: Tally, layout: Layout, source: str) -> OrdersError | None:
    orders = sum(tally.not_understood.values())
    if orders <= _MOST_UNKNOWN * tally.n_orders:
        return None
    columns = " and ".join(
        f"'{layout.columns[role]}'" for role in ("status", "payment_status") if role in layout.columns
    )
    shown = first_few(
        f"'{status}' ({_orders(count)}, {tally.not_understood_money[status] / _UNITS:,.2f} in all)"
        for status, count in tally.not_understood.most_common()
    )
    return OrdersError(
        f"{source}: the status in {columns} does not say whether {orders:,} of {_orders(tally.n_orders)} are sales: "
        f"{shown}. List all statuses that are sales, --sale-statuses paid,completed,..., or further ones that are not, "
        "--not-sale-statuses ...",
        withheld=shown,
    )


def _lost_in_one_place(tally: Tally, files: tuple[str, ...], source: str) -> OrdersError | None:
    pattern = tally.losses.pattern(files)
    if pattern is None:
        return None
    return OrdersError(
        f"{source}: {pattern}. These are not single mistakes: a part of the export is written differently. Export it "
        "again in one format, correct those rows, or read that part on its own."
    )


def _one_large_customer(tally: Tally, settings: Settings, source: str) -> OrdersError | None:
    if tally.n_orders < _ENOUGH_ORDERS or tally.n_customers < _ENOUGH_CUSTOMERS or not tally.largest:
        return None
    (orders, who), *others = tally.largest
    next_largest = others[0][0] if others else 0
    if (
        orders < _LARGE_SHARE * tally.n_orders
        or orders < _TIMES_THE_NEXT * next_largest
        or who in settings.real_customers
    ):
        return None
    return OrdersError(
        f"{source}: customer '{who}' has {orders:,} of {_orders(tally.n_orders)}, the next one only {next_largest:,}: "
        "this id may stand for guests or for a till. Remove those rows, name another column (--columns "
        f"customer_id=...), or, if it is a real customer, add it to repurchase.toml: real_customers = ['{who}'].",
        withheld=who,
    )


def _orders(number: int) -> str:
    return "1 order" if number == 1 else f"{number:,} orders"

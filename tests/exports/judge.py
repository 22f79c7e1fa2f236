"""How the reading of an export is compared with the truth."""

from dataclasses import replace

from repurchase.jobs.order_intake import load_orders, workspace
from repurchase.settings import Settings
from tests.exports.shop import Export, Shop, Truth


def read_export(export: Export) -> Truth:
    """What the program finds in an export.

    Raises
    ------
    repurchase.errors.InputError
        If it refuses.
    """
    with workspace() as folder:
        intake = load_orders(str(export.path), settings=Settings(columns=dict(export.columns)), folder=folder)
        report = intake.report
        assert report.n_customers is not None
        assert report.first_day is not None
        assert report.last_day is not None
        return Truth(
            report.n_customers,
            report.n_orders or 0,
            round(intake.cleaning.counts.sales_total, 2),
            report.first_day,
            report.last_day,
        )


def assert_read_right(export: Export, shop: Shop) -> None:
    """Compare with the truth, or another reading that can be defended.

    An order whose money was all given back may be counted as an order, or not.
    """
    found = read_export(export)
    returned = sum(order.state == "refunded" for order in shop.orders)
    right = {export.truth, *export.also}
    counted = {replace(truth, orders=truth.orders + more) for truth in right for more in range(returned + 1)}
    assert found in counted, f"found {found}, right {export.truth}"

"""A shop written as a random export, and the judgement of what is read from it.

Choices are independent: grain, money, refunds, statuses, customers, headings, dates, numbers, dialect, encoding and
container. Where the data cannot decide between two readings, ``ambiguous`` names why, and a refusal is right; what the
data do decide must be read as it is.
"""

import importlib.util
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from repurchase.errors import InputError
from repurchase.jobs.order_intake import load_orders, workspace
from repurchase.settings import Settings
from tests.exports.headings import draw_headings
from tests.exports.layout_plan import Plan, draw_plan
from tests.exports.mistakes import money_by_mistake
from tests.exports.random_files import WrittenFile, column_roles, draw_formats, split_groups, write_files
from tests.exports.records import Accepted, Group, adapt_orders, build_groups, expect
from tests.exports.shop import Shop, generate_shop

__all__ = ["RandomExport", "Verdict", "check_reading", "generate_export", "write_random_export"]


@dataclass(frozen=True)
class RandomExport:
    """An export on disk and what is right about it.

    ``settings`` are fields of `Settings`, ``traits`` describe every choice, ``ambiguous`` names what a refusal may be
    about, ``headings`` are the columns by role, and ``mistakes`` the money under typical misreadings.
    """

    path: Path
    settings: Mapping[str, Any]
    truth: Accepted
    traits: tuple[str, ...]
    ambiguous: tuple[str, ...]
    headings: Mapping[str, str]
    mistakes: Mapping[str, float]


@dataclass(frozen=True)
class Verdict:
    """How a reading compares: ``right``, ``refused`` (with the message), or ``wrong`` (with what differs)."""

    outcome: str
    detail: str = ""


def generate_export(folder: Path, random_state: int) -> RandomExport:
    """Generate a shop with everything that orders can have, and write it."""
    rng = random.Random(random_state)
    shop = generate_shop(
        random_state,
        n_customers=rng.choice((40, 60)),
        unpaid=rng.choice((0.06, 0.15)),
        refunds=rng.choice((0.06, 0.12)),
        extras=rng.random() < 0.6,
    )
    return write_random_export(shop, folder, random_state)


def write_random_export(shop: Shop, folder: Path, random_state: int) -> RandomExport:
    """Write a shop in a layout, language and dialect drawn at random; what these cannot express is left out of it."""
    rng = random.Random(f"layout {random_state}")
    plan = draw_plan(rng)
    if plan.container == "xlsx" and not importlib.util.find_spec("python_calamine"):
        plan = replace(plan, container="csv")
    orders = adapt_orders(shop.orders, plan)
    groups = build_groups(orders, plan, rng)
    formats = draw_formats(rng, plan)
    roles = column_roles(groups, formats, rng)
    headings = draw_headings(roles, plan, rng, currency=formats.currency)
    files = split_groups(groups, plan)
    path, written = write_files(files, headings, plan, formats, folder, rng)
    settings = _settings(plan, headings, written)
    return RandomExport(
        path=path,
        settings=settings,
        truth=expect(orders, groups, plan),
        traits=(*plan.traits, *dict.fromkeys(tag for file in written for tag in file.traits)),
        ambiguous=tuple(_ambiguities(plan, groups, written, settings)),
        headings=headings,
        mistakes=money_by_mistake(orders, plan),
    )


def check_reading(export: RandomExport) -> Verdict:
    """Read an export as every command does, and compare; anything but an `InputError` on the way is a fault."""
    with workspace() as folder:
        try:
            intake = load_orders(str(export.path), settings=Settings(**export.settings), folder=folder)
        except InputError as refusal:
            return Verdict("refused", str(refusal))
    report, truth = intake.report, export.truth
    money = intake.cleaning.counts.sales_total
    is_right = {
        f"customers {report.n_customers} instead of {_shown(truth.customers)}": report.n_customers in truth.customers,
        f"orders {report.n_orders} instead of {_shown(truth.orders)}": report.n_orders in truth.orders,
        f"money {money:,.2f} instead of {truth.money:,.2f}": abs(money - truth.money) <= 0.02 + 1e-9 * truth.money,
        f"first day {report.first_day} instead of {_shown(truth.first_days)}": report.first_day in truth.first_days,
        f"last day {report.last_day} instead of {_shown(truth.last_days)}": report.last_day in truth.last_days,
    }
    wrong = [difference for difference, is_so in is_right.items() if not is_so]
    if not wrong:
        return Verdict("right")
    likely = [name for name, total in export.mistakes.items() if abs(total - money) <= 0.02 and name != "none"]
    return Verdict("wrong", "; ".join(wrong) + (f" [{min(likely, key=len)}]" if likely else ""))


def _shown(accepted: frozenset[Any]) -> str:
    return " or ".join(map(str, sorted(accepted)))


_TOLD_MONEY = {
    "total-named-price": ("amount", "order_total"),
    "price-is-of-line": ("amount", "line_amount"),
    "order-value-is-of-line": ("amount", "line_amount"),
    "total-is-of-line": ("amount", "line_amount"),
}


def _settings(plan: Plan, headings: Mapping[str, str], written: Sequence[WrittenFile]) -> dict[str, Any]:
    if plan.settings == "date-order":
        style = written[0].formats.dates
        if len(written) > 1 or not style.can_swap:
            return {}
        month_first = style.kind.startswith("month-first") or style.kind == "unpadded"
        return {"date_order": "month_first" if month_first else "day_first"}
    if plan.settings == "none":
        return {}
    by_email = "customer_id" not in headings or plan.guests_have_email
    roles = {"customer_id": "email" if by_email else "customer_id", "order_id": "order_id", "order_date": "date"}
    if plan.settings == "all":
        roles |= _money_settings(plan)
        roles |= {role: role for role in ("refunded", "status")}
    return {"columns": {role: headings[column] for role, column in roles.items() if column in headings}}


def _money_settings(plan: Plan) -> dict[str, str]:
    if plan.money in _TOLD_MONEY:
        role, column = _TOLD_MONEY[plan.money]
        return {role: column}
    if plan.has_total:
        return {"amount" if plan.grain == "orders" else "order_total": "order_total"}
    if "line_amount" in plan.money_columns:
        return {"amount": "line_amount"}
    return {"price": "unit_price", "quantity": "quantity"}


def _ambiguities(
    plan: Plan, groups: Sequence[Group], written: Sequence[WrittenFile], settings: Mapping[str, Any]
) -> list[str]:
    """Name what the data leave open, so that a refusal is right; a silent wrong reading never is."""
    found = []
    texts = [file for file in written if file.is_text]
    if any(file.formats.dates.can_swap and not file.n_late_days for file in texts) and "date_order" not in settings:
        found.append("day and month")
    if any(file.formats.money.is_ambiguous for file in texts):
        found.append("decimal mark")
    has_sku = plan.has_sku or "product" in plan.extras
    named = "columns" in settings and plan.settings == "all"
    if plan.money in {"amount-is-unit-price", "price-is-of-line"} and not has_sku and not named:
        found.append("price of a piece or of the line")
    if plan.money == "total-named-price" and not named:
        found.append("price of a piece or of the order")
    if {"line_amount", "order_total"} <= set(plan.money_columns) and not named and _has_extras(groups):
        found.append("lines without shipping and discount, or totals with them")
    if plan.oddity == "damaged-ids":
        found.append("ids in the notation of powers of ten")
    if plan.guest is not None and not plan.guests_have_email:
        found.append("guests without a name")
    if plan.has_refund_rows and plan.refund_status == "both-refunded":
        found.append("refunds as status and as rows")
    return found


def _has_extras(groups: Sequence[Group]) -> bool:
    for group in groups:
        lines = [value for row in group.rows if isinstance(value := row.get("line_amount"), int)]
        if lines and sum(lines) != group.rows[0].get("order_total"):
            return True
    return False

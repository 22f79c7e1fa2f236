"""A shop written as a random export, and the judgement of what is read from it.

Choices are independent: grain, money, refunds, statuses, customers, headings, dates, numbers, dialect, encoding and
container. Where the data cannot decide between two readings, ``ambiguous`` names why, and a refusal is right; what the
data do decide must be read as it is.
"""

import importlib.util
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from repurchase.errors import InputError
from repurchase.jobs.intake import take_in, workspace
from repurchase.settings import Settings
from tests.exports.cell_formats import DateStyle, MoneyStyle, draw_date_style, draw_money_style
from tests.exports.files import Cell, Dialect, draw_dialect, write_text, write_xlsx
from tests.exports.headings import draw_headings
from tests.exports.layout_plan import Plan, draw_plan
from tests.exports.records import MONEY_ROLES, Accepted, Group, adapt_orders, build_groups, expect
from tests.exports.shop import Shop, generate_shop

__all__ = ["RandomExport", "Verdict", "check_reading", "generate_export", "write_random_export"]

_DATES = ("date", "shipped_at", "updated_at", "cancelled_at")


@dataclass(frozen=True)
class RandomExport:
    """An export on disk and what is right about it.

    ``settings`` are fields of `Settings`, ``traits`` describe every choice, ``ambiguous`` names what a refusal may be
    about, and ``headings`` are the columns by role.
    """

    path: Path
    settings: Mapping[str, Any]
    truth: Accepted
    traits: tuple[str, ...]
    ambiguous: tuple[str, ...]
    headings: Mapping[str, str]


@dataclass(frozen=True)
class Verdict:
    """How a reading compares: ``right``, ``refused`` (with the message), or ``wrong`` (with what differs)."""

    outcome: str
    detail: str = ""


@dataclass(frozen=True)
class _Formats:
    """How one file writes its cells."""

    dates: DateStyle
    money: MoneyStyle
    dialect: Dialect
    has_time_column: bool


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
    formats = _draw_formats(rng, plan)
    roles = _columns(groups, formats, rng)
    headings = draw_headings(roles, plan, rng)
    files = _split(groups, plan)
    path, written = _write_files(files, headings, plan, formats, folder, rng)
    settings = _settings(plan, headings, written)
    return RandomExport(
        path=path,
        settings=settings,
        truth=expect(orders, groups, plan),
        traits=(*plan.traits, *dict.fromkeys(tag for file in written for tag in file.traits)),
        ambiguous=tuple(_ambiguities(plan, groups, written, settings)),
        headings=headings,
    )


def check_reading(export: RandomExport) -> Verdict:
    """Read an export as every command does, and compare; anything but an `InputError` on the way is a fault."""
    with workspace() as folder:
        try:
            intake = take_in(str(export.path), settings=Settings(**export.settings), folder=folder)
        except InputError as refusal:
            return Verdict("refused", str(refusal))
    report, truth = intake.report, export.truth
    money = intake.tally.sales_total
    is_right = {
        f"customers {report.n_customers} instead of {_shown(truth.customers)}": report.n_customers in truth.customers,
        f"orders {report.n_orders} instead of {_shown(truth.orders)}": report.n_orders in truth.orders,
        f"money {money:,.2f} instead of {truth.money:,.2f}": abs(money - truth.money) <= 0.02 + 1e-9 * truth.money,
        f"first day {report.first_day} instead of {_shown(truth.first_days)}": report.first_day in truth.first_days,
        f"last day {report.last_day} instead of {_shown(truth.last_days)}": report.last_day in truth.last_days,
    }
    wrong = [difference for difference, is_so in is_right.items() if not is_so]
    return Verdict("wrong", "; ".join(wrong)) if wrong else Verdict("right")


def _shown(accepted: frozenset[Any]) -> str:
    return " or ".join(map(str, sorted(accepted)))


@dataclass(frozen=True)
class _Written:
    """One file of the export."""

    traits: tuple[str, ...]
    formats: _Formats
    is_text: bool
    n_late_days: int


def _draw_formats(rng: random.Random, plan: Plan) -> _Formats:
    language = plan.language if rng.random() < 0.7 else plan.status_language
    is_text = plan.container not in {"parquet", "xlsx"}
    dates = draw_date_style(rng, language)
    separate = is_text and not dates.has_time and plan.container != "folder-mixed" and rng.random() < 0.3
    return _Formats(dates, draw_money_style(rng, scale=plan.scale), draw_dialect(rng), separate)


def _columns(groups: Sequence[Group], formats: _Formats, rng: random.Random) -> list[str]:
    roles = list(dict.fromkeys(role for group in groups for row in group.rows for role in row if role != "_refund"))
    if formats.has_time_column:
        roles.insert(roles.index("date") + 1, "time")
    return rng.sample(roles, k=len(roles)) if rng.random() < 0.6 else roles


def _split(groups: list[Group], plan: Plan) -> list[list[Group]]:
    if plan.container == "two-shops-files":
        return [[group for group in groups if group.customer % 2 == side] for side in (0, 1)]
    if not plan.container.startswith("folder"):
        return [groups]
    n_files = 2 + len(groups) % 2
    size = -(-len(groups) // n_files)
    overlap = size // 8 if plan.container == "folder-overlap" else 0
    return [groups[max(0, start - overlap) : start + size] for start in range(0, len(groups), size)]


def _arranged(groups: Sequence[Group], plan: Plan, rng: random.Random) -> list[Group]:
    if plan.row_order == "shuffled":
        return rng.sample(list(groups), k=len(groups))
    if plan.row_order == "customer":
        return sorted(groups, key=lambda group: group.customer)
    return list(reversed(groups)) if plan.row_order == "latest-first" else list(groups)


def _write_files(
    files: Sequence[Sequence[Group]],
    headings: Mapping[str, str],
    plan: Plan,
    formats: _Formats,
    folder: Path,
    rng: random.Random,
) -> tuple[Path, list[_Written]]:
    if len(files) == 1:
        path = folder / f"orders.{'csv' if plan.container == 'two-shops-column' else plan.container}"
        return path, [_write(path, files[0], headings, plan, formats, rng)]
    folder = folder / "orders"
    folder.mkdir()
    written = []
    for number, groups in enumerate(files, start=1):
        own = formats
        if plan.container == "folder-mixed" and number > 1:
            own = _draw_formats(rng, plan)
        written.append(_write(folder / f"part{number}.csv", groups, headings, plan, own, rng))
    return folder, written


def _write(
    path: Path,
    groups: Sequence[Group],
    headings: Mapping[str, str],
    plan: Plan,
    formats: _Formats,
    rng: random.Random,
) -> _Written:
    rows = [row for group in _arranged(groups, plan, rng) for row in group.rows]
    late = sum(isinstance(at := row.get("date"), datetime) and at.day > 12 for row in rows)
    if plan.container in {"parquet", "xlsx"}:
        table = [[_typed(row.get(role), role, plan) for role in headings] for row in rows]
        if plan.container == "xlsx":
            write_xlsx(path, [*headings.values()], table)
            return _Written((), formats, False, late)
        return _Written((_write_parquet(path, table, headings, rng),), formats, False, late)
    text = [[_text(row, role, formats, plan) for role in headings] for row in rows]
    footer = _footer(rows, headings, formats, plan)
    dialect = formats.dialect if footer else replace(formats.dialect, footer=False)
    encoding = write_text(path, [*headings.values()], text, dialect, footer=footer)
    traits = [f"dates:{formats.dates.kind}", f"money-format:{formats.money.kind}", f"encoding:{encoding}"]
    traits += ["money-format:currency-word"] * bool(formats.money.before or formats.money.after)
    traits += ["dates:separate-time"] * formats.has_time_column
    return _Written((*traits, *dialect.traits), formats, True, late)


def _text(row: Mapping[str, Cell], role: str, formats: _Formats, plan: Plan) -> str:
    value = row.get("date" if role == "time" else role)
    if value is None or value == "":
        return ""
    if role == "time":
        return f"{value:%H:%M:%S}"
    if role in _DATES and isinstance(value, datetime):
        return formats.dates.write(value)
    if role in MONEY_ROLES and isinstance(value, int):
        return formats.money.write(value * plan.scale)
    return str(value)


def _typed(value: Cell, role: str, plan: Plan) -> Cell:
    if role in MONEY_ROLES and isinstance(value, int):
        return value * plan.scale / 100
    if isinstance(value, str) and role in {"customer_id", "order_id"} and _is_number(value):
        return int(value)
    return None if value == "" else value


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and str(int(text)) == text


def _write_parquet(path: Path, table: list[list[Cell]], headings: Mapping[str, str], rng: random.Random) -> str:
    columns = dict(zip(headings.values(), map(list, zip(*table, strict=True)), strict=True))
    mixed = {name: len({type(value) for value in values} - {type(None)}) > 1 for name, values in columns.items()}
    texts = {name: [None if value is None else str(value) for value in values] for name, values in columns.items()}
    numbers = {"int", "float"}
    exact = {
        name: not mixed[name] or {type(value).__name__ for value in values if value is not None} <= numbers
        for name, values in columns.items()
    }
    frame = pl.DataFrame({name: columns[name] if exact[name] else texts[name] for name in columns}, strict=False)
    kind = rng.choice(("timestamps", "days", "zoned", "texts", "decimals", "categories"))
    changes = {
        "days": pl.col(pl.Datetime).dt.date(),
        "zoned": pl.col(pl.Datetime).dt.replace_time_zone("UTC"),
        "texts": pl.col(pl.Datetime).dt.strftime("%Y-%m-%d %H:%M:%S"),
        "decimals": pl.col(pl.Float64).cast(pl.Decimal(18, 4)),
        "categories": pl.col(pl.String).cast(pl.Categorical),
    }
    (frame.with_columns(changes[kind]) if kind in changes else frame).write_parquet(path)
    return f"parquet:{kind}"


def _footer(
    rows: Sequence[Mapping[str, Cell]], headings: Mapping[str, str], formats: _Formats, plan: Plan
) -> list[str]:
    """A last line with the word total and the sum of the money; none where it could be taken for an order's line."""
    roles = [*headings]
    role = next((name for name in ("order_total", "line_amount") if name in headings), None)
    if role is None or roles[0] == role or (plan.grain == "blank-id" and roles[0] != "order_id"):
        return []
    total = sum(value for row in rows if isinstance(value := row.get(role), int))
    cells = {roles[0]: "Total", role: formats.money.write(total * plan.scale)}
    return [cells.get(name, "") for name in roles]


_TOLD_MONEY = {
    "total-named-price": ("amount", "order_total"),
    "price-is-of-line": ("amount", "line_amount"),
    "order-value-is-of-line": ("amount", "line_amount"),
    "total-is-of-line": ("amount", "line_amount"),
}


def _settings(plan: Plan, headings: Mapping[str, str], written: Sequence[_Written]) -> dict[str, Any]:
    if plan.settings == "date-order":
        style = written[0].formats.dates
        if len(written) > 1 or not style.can_swap:
            return {}
        month_first = style.kind.startswith("month-first") or style.kind == "unpadded"
        return {"date_order": "month_first" if month_first else "day_first"}
    if plan.settings == "none":
        return {}
    customer = "email" if "customer_id" not in headings or (plan.guest and not plan.sparse_emails) else "customer_id"
    roles = {"customer_id": customer, "order_id": "order_id", "order_date": "date"}
    if customer == "email" and not plan.guests_have_email and plan.guest:
        roles["customer_id"] = "customer_id"
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
    plan: Plan, groups: Sequence[Group], written: Sequence[_Written], settings: Mapping[str, Any]
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

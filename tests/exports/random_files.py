"""The files of a random export: one or several, of text or of typed cells."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import polars as pl

from tests.exports.cell_formats import DateStyle, MoneyStyle, draw_date_style, draw_money_style
from tests.exports.files import Cell, Dialect, draw_dialect, write_text, write_xlsx
from tests.exports.layout_plan import Plan
from tests.exports.records import MONEY_ROLES, Group

__all__ = ["FileFormats", "WrittenFile", "column_roles", "draw_formats", "split_groups", "write_files"]

_DATES = ("date", "shipped_at", "updated_at", "cancelled_at")
_IDS = ("customer_id", "order_id")


@dataclass(frozen=True)
class FileFormats:
    """How one file writes its cells."""

    dates: DateStyle
    money: MoneyStyle
    dialect: Dialect
    has_time_column: bool
    currency: str


@dataclass(frozen=True)
class WrittenFile:
    """One file of the export."""

    traits: tuple[str, ...]
    formats: FileFormats
    is_text: bool
    n_late_days: int


def draw_formats(rng: random.Random, plan: Plan) -> FileFormats:
    language = plan.language if rng.random() < 0.7 else plan.status_language
    is_text = not plan.is_typed
    dates = draw_date_style(rng, language)
    is_written_day = not dates.has_time and dates.kind not in {"excel-serial", "compact"}
    separate = is_text and is_written_day and plan.container != "folder-mixed" and rng.random() < 0.3
    money = draw_money_style(rng, scale=plan.scale)
    return FileFormats(dates, money, draw_dialect(rng), separate, money.currency if is_text else "EUR")


def column_roles(groups: Sequence[Group], formats: FileFormats, rng: random.Random) -> list[str]:
    roles = list(dict.fromkeys(role for group in groups for row in group.rows for role in row if role != "_refund"))
    if formats.has_time_column:
        roles.insert(roles.index("date") + 1, "time")
    return rng.sample(roles, k=len(roles)) if rng.random() < 0.6 else roles


def split_groups(groups: list[Group], plan: Plan) -> list[list[Group]]:
    if plan.container == "two-shops-files":
        return [[group for group in groups if group.customer % 2 == side] for side in (0, 1)]
    if not plan.container.startswith("folder"):
        return [groups]
    n_files = 2 + len(groups) % 2
    size = -(-len(groups) // n_files)
    overlap = size // 8 if plan.container == "folder-overlap" else 0
    return [groups[max(0, start - overlap) : start + size] for start in range(0, len(groups), size)]


def _arranged(groups: Sequence[Group], plan: Plan, rng: random.Random) -> list[Group]:
    if plan.copies:
        groups = [*groups, *rng.sample(list(groups), k=1 + len(groups) // 30)]
    if plan.row_order == "shuffled":
        return rng.sample(list(groups), k=len(groups))
    if plan.row_order == "customer":
        return sorted(groups, key=lambda group: group.customer)
    return list(reversed(groups)) if plan.row_order == "latest-first" else list(groups)


def write_files(
    files: Sequence[Sequence[Group]],
    headings: Mapping[str, str],
    plan: Plan,
    formats: FileFormats,
    folder: Path,
    rng: random.Random,
) -> tuple[Path, list[WrittenFile]]:
    if len(files) == 1:
        path = folder / f"orders.{'csv' if plan.container == 'two-shops-column' else plan.container}"
        return path, [_write(path, files[0], headings, plan, formats, rng)]
    folder = folder / "orders"
    folder.mkdir()
    written = []
    for number, groups in enumerate(files, start=1):
        own = formats
        if plan.container == "folder-mixed" and number > 1:
            own = draw_formats(rng, plan)
            money = replace(own.money, before=formats.money.before, after=formats.money.after)
            own = replace(own, money=money, currency=formats.currency)
            headings = dict(rng.sample(list(headings.items()), k=len(headings)))
        written.append(_write(folder / f"part{number}.csv", groups, headings, plan, own, rng))
    return folder, written


def _write(
    path: Path,
    groups: Sequence[Group],
    headings: Mapping[str, str],
    plan: Plan,
    formats: FileFormats,
    rng: random.Random,
) -> WrittenFile:
    rows = [row for group in _arranged(groups, plan, rng) for row in group.rows]
    late = sum(isinstance(at := row.get("date"), datetime) and at.day > 12 for row in rows)
    if plan.is_typed:
        table = [[_typed(row.get(role), role, plan, rng) for role in headings] for row in rows]
        if plan.container == "xlsx":
            write_xlsx(path, [*headings.values()], table, has_preamble=plan.sheet == "preamble")
            return WrittenFile((), formats, False, late)
        return WrittenFile((_write_parquet(path, table, headings, rng),), formats, False, late)
    text = [[_text(row, role, formats, plan, rng) for role in headings] for row in rows]
    traits = [f"dates:{formats.dates.kind}", f"money-format:{formats.money.kind}"]
    traits += ["money-format:currency-word"] * bool(formats.money.before or formats.money.after)
    traits += ["dates:separate-time"] * formats.has_time_column
    if plan.container == "xlsx":
        write_xlsx(path, [*headings.values()], text, has_preamble=False)
        return WrittenFile((*traits,), formats, True, late)
    footer = _footer(rows, headings, formats, plan)
    dialect = formats.dialect if footer else replace(formats.dialect, footer=False)
    encoding = write_text(path, [*headings.values()], text, dialect, footer=footer)
    return WrittenFile((*traits, f"encoding:{encoding}", *dialect.traits), formats, True, late)


def _text(row: Mapping[str, Cell], role: str, formats: FileFormats, plan: Plan, rng: random.Random) -> str:
    text = _plain_text(row, role, formats, plan)
    if not text:
        zero_date = plan.oddity == "zero-dates" and role == "cancelled_at" and role in row
        return "0000-00-00 00:00:00" if zero_date else plan.oddity.partition("null-word ")[2]
    if plan.oddity == "formula-text" and role in (*_IDS, *MONEY_ROLES):
        return f'="{text}"'
    return _odd_id(text, plan.oddity, rng) if role in {*_IDS, "email"} else text


def _odd_id(text: str, oddity: str, rng: random.Random) -> str:
    if oddity == "id-noise":
        return rng.choice(("{}", "{} ", " {}", "{}\u200b", "\u00a0{}", "\ufeff{}")).format(text)
    if oddity == "email-case" and "@" in text:
        return rng.choice((text, text.upper(), text.capitalize()))
    if oddity == "id-decimals" and _is_number(text):
        return f"{text}.0"
    if oddity == "apostrophe-ids" and "@" not in text and any(sign.isdigit() for sign in text):
        return f"'{text}"
    return f"{int(text):.2E}" if oddity == "damaged-ids" and len(text) == 13 and _is_number(text) else text


def _plain_text(row: Mapping[str, Cell], role: str, formats: FileFormats, plan: Plan) -> str:
    value = row.get("date" if role == "time" else role)
    if value is None or value == "":
        return ""
    if role == "time":
        return f"{value:%H:%M:%S}"
    if role == "currency":
        return formats.currency
    if role in _DATES and isinstance(value, datetime):
        return formats.dates.write(value)
    if role in MONEY_ROLES and isinstance(value, int):
        return formats.money.write(value * plan.scale)
    return str(value)


def _typed(value: Cell, role: str, plan: Plan, rng: random.Random) -> Cell:
    if role in MONEY_ROLES and isinstance(value, int):
        return value * plan.scale / 100
    if isinstance(value, str) and role in {"customer_id", "order_id"} and _is_number(value):
        return int(value)
    if isinstance(value, str) and role in {*_IDS, "email"} and plan.oddity:
        return _odd_id(value, plan.oddity, rng)
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
    rows: Sequence[Mapping[str, Cell]], headings: Mapping[str, str], formats: FileFormats, plan: Plan
) -> list[str]:
    """A last line with the word total and the sum of the money; none where it could be taken for an order's line."""
    roles = [*headings]
    role = next((name for name in ("order_total", "line_amount") if name in headings), None)
    if role is None or roles[0] == role or (plan.grain == "blank-id" and roles[0] != "order_id"):
        return []
    total = sum(value for row in rows if isinstance(value := row.get(role), int))
    cells = {roles[0]: "Total", role: formats.money.write(total * plan.scale)}
    return [cells.get(name, "") for name in roles]

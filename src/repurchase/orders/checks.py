"""Whether a cleaned log is plausible and sufficient, and the completed reading decision."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from repurchase.errors import InsufficientHistory, OrdersError, counted, first_few
from repurchase.i18n.messages import Message, first_items, message
from repurchase.orders.amounts import MONEY_UNITS
from repurchase.orders.cleaning_report import CleaningCounts, CustomerExample
from repurchase.orders.dates import LATEST_ZONE
from repurchase.orders.format_inference import ColumnFormats
from repurchase.orders.layout import MONEY_COLUMN_ROLES, STATUS_ROLES, Fact, Layout, ReadingDecision
from repurchase.settings import DEFAULT_HORIZONS, Settings
from repurchase.sources.statuses import classify_status, status_key

_CLOSE = 0.8
_SHOWN = 8


def notes_on_named_statuses(
    counts: CleaningCounts, layout: Layout, *, settings: Settings, source: str
) -> tuple[Message, ...]:
    """Compare the statuses that the settings name with those of a log."""
    named = [
        *(("--sale-statuses", status) for status in settings.sale_statuses),
        *(("--not-sale-statuses", status) for status in settings.not_sale_statuses),
    ]
    if not named:
        return ()
    if not layout.status_columns:
        raise OrdersError(
            f"{source}: {_options(named)} names {_quoted(status for _, status in named)}, but no column of statuses "
            "was found. Name it, --columns status=..., or leave the setting out."
        )
    found = {status_key(status): status for status in sorted(counts.written_statuses, reverse=True)}
    absent = [(option, status) for option, status in named if status_key(status) not in found]
    keys = {status_key(status) for _, status in named}
    likely = [meant for _, status in absent if (meant := _probable_status(status, found, keys))]
    if not absent:
        return ()
    missing = _quoted(status for _, status in absent)
    if not likely and len(absent) < len(named):
        statuses = first_items([f"'{status}'" for _, status in absent], _SHOWN)
        return (message("cleaning_note.named_statuses", names=statuses),)
    hint = f" Did you mean {_quoted(likely)}?" if likely else ""
    shown = _quoted(sorted(found.values())) or "none"
    raise OrdersError(
        f"{source}: no row has the status {missing} of {_options(absent)}.{hint} Statuses found: {shown}.",
        withheld=(shown, _quoted(likely)),
    )


def _probable_status(status: str, found: dict[str, str], named: set[str]) -> str | None:
    """The status that was probably meant: one that is not named itself and has no other meaning."""
    key, meaning = status_key(status), classify_status(status)
    others = [
        other
        for other, text in found.items()
        if other not in named
        and not other.endswith(key)  # "unshipped" is not "shipped" mistyped
        and not key.endswith(other)
        and meaning in {"unknown", classify_status(text)}
    ]
    close = difflib.get_close_matches(key, others, n=1, cutoff=_CLOSE)
    return found[close[0]] if close else None


def _options(named: list[tuple[str, str]]) -> str:
    return " and ".join(dict.fromkeys(option for option, _ in named))


def _quoted(statuses: Iterable[str]) -> str:
    return first_few((f"'{status}'" for status in statuses), shown=_SHOWN)


_MOST_UNKNOWN = 0.02
_LARGE_SHARE = 0.20
_TIMES_THE_NEXT = 5
_ENOUGH_ORDERS = 100
_ENOUGH_CUSTOMERS = 20


def find_implausible(
    counts: CleaningCounts, layout: Layout, *, files: tuple[str, ...], settings: Settings, source: str
) -> tuple[OrdersError, ...]:
    """List what speaks against the reading of a log."""
    found = (
        _unknown_statuses(counts, layout, source),
        _concentrated_losses(counts, files, source),
        _one_large_customer(counts, settings, source),
    )
    return tuple(problem for problem in found if problem is not None)


def require_plausible(problems: tuple[OrdersError, ...]) -> None:
    """Refuse a log whose reading is not plausible."""
    for problem in problems:
        raise problem


def _unknown_statuses(counts: CleaningCounts, layout: Layout, source: str) -> OrdersError | None:
    orders = sum(counts.not_understood.values())
    if orders <= _MOST_UNKNOWN * counts.n_orders:
        return None
    columns = " and ".join(f"'{column}'" for column in layout.status_columns)
    shown = first_few(
        f"'{status}' ({counted(number, 'order')}, {counts.not_understood_money[status] / MONEY_UNITS:,.2f} in all)"
        for status, number in counts.not_understood.most_common()
    )
    return OrdersError(
        f"{source}: the status in {columns} does not say whether {orders:,} of {counted(counts.n_orders, 'order')} are "
        f"sales: {shown}. List all statuses that are sales, --sale-statuses paid,completed,..., or further ones that "
        "are not, --not-sale-statuses ...",
        withheld=shown,
    )


def _concentrated_losses(counts: CleaningCounts, files: tuple[str, ...], source: str) -> OrdersError | None:
    pattern = counts.losses.pattern(files)
    if pattern is None:
        return None
    return OrdersError(
        f"{source}: {pattern}. These are not single mistakes: a part of the export is written differently. Export it "
        "again in one format, correct those rows, or read that part on its own."
    )


def _one_large_customer(counts: CleaningCounts, settings: Settings, source: str) -> OrdersError | None:
    if counts.n_orders < _ENOUGH_ORDERS or counts.n_customers < _ENOUGH_CUSTOMERS or not counts.largest:
        return None
    (orders, customer), *others = counts.largest
    next_largest = others[0][0] if others else 0
    is_large = orders >= _LARGE_SHARE * counts.n_orders and orders >= _TIMES_THE_NEXT * next_largest
    if not is_large or customer in settings.real_customers:
        return None
    return OrdersError(
        f"{source}: customer '{customer}' has {orders:,} of {counted(counts.n_orders, 'order')}, the next one only "
        f"{next_largest:,}: this id may belong to guests or to a till. Remove those rows, name another column "
        "(--columns customer_id=...), or, if it is a real customer, add it to repurchase.toml: real_customers = "
        f"['{customer}'].",
        withheld=customer,
    )


_KEPT_STATUSES = 50


def complete_decision(layout: Layout, formats: ColumnFormats, counts: CleaningCounts) -> ReadingDecision:
    """Complete the decision about the columns by what all rows showed."""
    decision = layout.decision
    for role, facts in (("order_date", _date_facts(formats)), ("money", _money_facts(layout, formats))):
        found = decision.role(role)
        if found is not None and facts:
            decision = decision.with_role(replace(found, evidence=(*found.evidence, *facts)))
    statuses = [found for role in STATUS_ROLES if (found := decision.role(role)) is not None]
    for found in statuses[:1]:
        decision = decision.with_role(replace(found, evidence=(*found.evidence, *_status_facts(counts))))
    for found in statuses[1:]:
        decision = decision.with_role(replace(found, meaning=Fact("status_with_other")))
    order = decision.role("order_id")
    if order is not None and order.column is None and layout.grain == "lines":
        decision = decision.with_role(replace(order, meaning=Fact("no_order_id_lines")))
    return decision


def _status_facts(counts: CleaningCounts) -> tuple[Fact, ...]:
    orders = {
        "status_sale": counts.statuses - counts.not_understood,
        "status_refunded": counts.refunded_statuses,
        "status_not_sale": counts.excluded_statuses,
        "status_doubted": counts.not_understood,
    }
    return tuple(Fact(key, {"statuses": _ranked(number)}) for key, number in orders.items() if number)


def _ranked(counts: Mapping[str, int]) -> list[list[str | int]]:
    return [list(item) for item in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_KEPT_STATUSES]]


def _date_facts(formats: ColumnFormats) -> tuple[Fact, ...]:
    order = (Fact(formats.dates.order),) if formats.has_swappable_dates else ()
    return (*order, *_files_fact(len(formats.dates_by_file)))


def _money_facts(layout: Layout, formats: ColumnFormats) -> tuple[Fact, ...]:
    roles = [role for role in MONEY_COLUMN_ROLES if role in layout.columns]
    comma = (Fact("decimal_comma"),) if any(formats.numbers[role].mark == "comma" for role in roles) else ()
    return (*comma, *_files_fact(len({number for role, number in formats.numbers_by_file if role in roles})))


def _files_fact(count: int) -> tuple[Fact, ...]:
    return (Fact("by_file", {"count": count}),) if count else ()


def example_lines(counts: CleaningCounts, *, has_amounts: bool) -> list[str]:
    """Show the totals and a few customers, to compare with the shop's own back office."""
    if not counts.examples:
        return []
    days = counts.days
    whole = CustomerExample("All customers", counts.n_orders, counts.sales_total, min(days), max(days))
    rows = (whole, *counts.examples)
    name_width = max(len(row.customer_id) for row in rows)
    table = [
        (
            row.customer_id.ljust(name_width),
            f"{row.orders:,} {'order ' if row.orders == 1 else 'orders'}",
            *([f"{row.money:,.2f}"] if has_amounts else []),
            f"{row.first_day} to {row.last_day}",
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    money = ", money after refunds," if has_amounts else ""
    return [
        f"Please compare with your shop's back office (orders{money} first and last day):",
        *("  " + "  ".join(f"{text:>{width}}" for text, width in zip(texts, widths, strict=True)) for texts in table),
    ]


_QUIET_DAYS = 30
_QUIET_PERIODS = 3
_MIN_GAPS = 10


@dataclass(frozen=True)
class SufficiencyRule:
    """One condition a log must meet."""

    name: str
    found: str
    needed: str
    holds: bool
    advice: str


@dataclass(frozen=True)
class HistoryExtent:
    """How much there is to learn from, by a day."""

    as_of: date
    first_day: date | None
    days: int
    customers: int
    repeat_buyers: int
    has_amounts: bool = True


def sufficiency(extent: HistoryExtent, *, settings: Settings) -> tuple[SufficiencyRule, ...]:
    """Check a log against every rule."""
    buyers = counted(extent.repeat_buyers, "customer") if extent.repeat_buyers else "no customer"
    history = (extent.as_of - extent.first_day).days + 1 if extent.first_day else 0
    ahead = max(settings.horizons) if settings.horizons else DEFAULT_HORIZONS[0]
    needed_days = ahead if settings.horizons else _days_needed(ahead)
    return (
        SufficiencyRule(
            name="days_with_orders",
            found=f"orders on {counted(extent.days, 'day')}",
            needed="orders on at least 2 days",
            holds=extent.days >= 2,
            advice="Send an export that covers more than one day.",
        ),
        SufficiencyRule(
            name="customers",
            found=f"{counted(extent.customers, 'customer')} with a purchase that was kept",
            needed=f"at least {settings.min_customers:,}",
            holds=extent.customers >= settings.min_customers,
            advice="Send a longer export, or lower min_customers in repurchase.toml.",
        ),
        SufficiencyRule(
            name="repeat_buyers",
            found=f"{buyers} who bought on a second day",
            needed=f"at least {settings.min_repeat_buyers:,}",
            holds=extent.repeat_buyers >= settings.min_repeat_buyers,
            advice="Models learn from repeat purchases: send a longer export.",
        ),
        SufficiencyRule(
            name="history",
            found=f"{counted(history, 'day')} of history",
            needed=f"at least {needed_days:,} days to predict {ahead:,} days ahead",
            holds=history >= needed_days,
            advice="Send a longer export, or request a shorter horizon (--horizon).",
        ),
        SufficiencyRule(
            name="amounts",
            found="money on the orders" if extent.has_amounts else "no money on the orders",
            needed="money, for spending and lifetime value only",
            holds=True,
            advice="Purchases are predicted without it; to predict money, export a column of amounts.",
        ),
    )


def require_sufficient(rules: Iterable[SufficiencyRule]) -> None:
    """Stop where a rule fails."""
    failed = [rule for rule in rules if not rule.holds]
    if failed:
        named = "; ".join(f"{rule.found} (required: {rule.needed})" for rule in failed)
        raise InsufficientHistory(f"Not enough orders: {named}. {failed[0].advice}")


def supported_horizons(*, first_day: date, as_of: date, settings: Settings) -> tuple[int, ...]:
    """Choose the horizons that a log supports.

    A horizon of h days needs customers observed for h days and longer before their outcome, so the default horizons
    are limited to two thirds of the history.
    """
    history = (as_of - first_day).days + 1
    span = f"{counted(max(history, 0), 'day')} of history ({first_day} to {as_of})"
    if settings.horizons is not None:
        too_long = [h for h in settings.horizons if h > history]
        if too_long:
            raise InsufficientHistory(
                f"{span}, but a horizon of {max(too_long)} days was requested. "
                f"Request at most {max(history, 1)} days (--horizon), or send a longer export."
            )
        return settings.horizons
    supported = tuple(h for h in DEFAULT_HORIZONS if 3 * h <= 2 * history)
    if not supported:
        raise InsufficientHistory(
            f"{span}; to predict {DEFAULT_HORIZONS[0]} days ahead, {_days_needed(DEFAULT_HORIZONS[0])} are needed. "
            "Send a longer export, or request a shorter horizon (--horizon)."
        )
    return supported


def resolve_as_of(order_days: Iterable[date], *, as_of: date | None, today: date | None = None) -> date:
    """Decide the last observed day."""
    days = sorted(set(order_days))
    first, last = days[0], days[-1]
    if as_of is None:
        _require_no_stray_day(days)
        return last
    if as_of < first:
        raise InsufficientHistory(
            f"--as-of {as_of} is before the first order ({first}): there is no order up to that day. "
            f"Take a day from {first} to {last}."
        )
    longest = max(((after - before).days for before, after in pairwise(days)), default=0)
    latest = last + timedelta(days=max(_QUIET_DAYS, _QUIET_PERIODS * longest))
    if as_of > latest:
        raise OrdersError(
            f"--as-of {as_of} is {counted((as_of - last).days, 'day')} after the last order "
            f"({last}); the longest time without orders is {counted(longest, 'day')}, so the shop was probably not "
            "observed that long. "
            f"Take a day up to {latest}, or send a newer export."
        )
    present = today or datetime.now(tz=UTC).astimezone(LATEST_ZONE).date()
    if as_of > present:
        raise OrdersError(f"--as-of {as_of} is in the future (today is {present}). Take a day up to today.")
    return as_of


def _require_no_stray_day(days: list[date]) -> None:
    """Refuse a last day so long after all others that it is a typing error rather than an observation."""
    gaps = [(after - before).days for before, after in pairwise(days)]
    if len(gaps) < _MIN_GAPS or gaps[-1] <= max(_QUIET_DAYS, _QUIET_PERIODS * max(gaps[:-1])):
        return
    raise OrdersError(
        f"The last day with orders ({days[-1]}) is {counted(gaps[-1], 'day')} after the one before "
        f"it ({days[-2]}); the longest time without orders until then is {counted(max(gaps[:-1]), 'day')}. A mistyped "
        "date would make every customer appear lost. Set the last observed day: "
        f"--as-of {days[-2]}, or --as-of {days[-1]} if it is right."
    )


def _days_needed(horizon_days: int) -> int:
    return -(-3 * horizon_days // 2)

"""Whether a cleaned log is plausible and sufficient, and the completed reading decision."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from repurchase.errors import InsufficientHistory, OrdersError, first_few
from repurchase.orders.cleaning_report import CleaningCounts
from repurchase.orders.dates import LATEST_ZONE
from repurchase.orders.format_inference import ColumnFormats
from repurchase.orders.layout import Fact, Layout, ReadingDecision
from repurchase.settings import DEFAULT_HORIZONS, Settings
from repurchase.sources.statuses import classify_status, status_key

_CLOSE = 0.8
_SHOWN = 8


def notes_on_named_statuses(
    tally: CleaningCounts, layout: Layout, *, settings: Settings, source: str
) -> tuple[str, ...]:
    """Compare the statuses that the settings name with those of a log."""
    named = list(_named(settings))
    if not named:
        return ()
    if not {"status", "payment_status"} & layout.columns.keys():
        raise OrdersError(
            f"{source}: {_options(named)} names {_quoted(word for _, word in named)}, but no column of statuses was "
            "found. Name it, --columns status=..., or leave the setting out."
        )
    found = {status_key(word): word for word in sorted(tally.written_statuses, reverse=True)}
    absent = [(option, word) for option, word in named if status_key(word) not in found]
    likely = [
        meant for _, word in absent if (meant := _probable_status(word, found, {status_key(word) for _, word in named}))
    ]
    if not absent or not (likely or len(absent) == len(named)):
        return (f"No row has the status {_quoted(word for _, word in absent)} that the settings name.",) * bool(absent)
    hint = f" Did you mean {_quoted(likely)}?" if likely else ""
    shown = first_few((f"'{word}'" for word in sorted(found.values())), shown=_SHOWN) or "none"
    raise OrdersError(
        f"{source}: no row has the status {_quoted(word for _, word in absent)} of {_options(absent)}.{hint} "
        f"Statuses found: {shown}.",
        withheld=(shown, _quoted(likely)),
    )


def _named(settings: Settings) -> Iterator[tuple[str, str]]:
    for word in settings.sale_statuses:
        yield "--sale-statuses", word
    for word in settings.not_sale_statuses:
        yield "--not-sale-statuses", word


def _probable_status(word: str, found: dict[str, str], named: set[str]) -> str | None:
    """The status that a word was probably meant to be: one that is not named itself and says nothing else."""
    key, meaning = status_key(word), classify_status(word)
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


def _quoted(words: Iterable[str]) -> str:
    return first_few((f"'{word}'" for word in words), shown=_SHOWN)


_MOST_UNKNOWN = 0.02
_LARGE_SHARE = 0.20
_TIMES_THE_NEXT = 5
_ENOUGH_ORDERS = 100
_ENOUGH_CUSTOMERS = 20
_UNITS = 10_000


def find_implausible(
    tally: CleaningCounts, layout: Layout, *, files: tuple[str, ...], settings: Settings, source: str
) -> tuple[OrdersError, ...]:
    """List what speaks against the reading of a log."""
    found = (
        _unknown_statuses(tally, layout, source),
        _lost_in_one_place(tally, files, source),
        _one_large_customer(tally, settings, source),
    )
    return tuple(fault for fault in found if fault is not None)


def require_plausible(faults: tuple[OrdersError, ...]) -> None:
    """Refuse a log whose reading is not plausible."""
    for fault in faults:
        raise fault


def _unknown_statuses(tally: CleaningCounts, layout: Layout, source: str) -> OrdersError | None:
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


def _lost_in_one_place(tally: CleaningCounts, files: tuple[str, ...], source: str) -> OrdersError | None:
    pattern = tally.losses.pattern(files)
    if pattern is None:
        return None
    return OrdersError(
        f"{source}: {pattern}. These are not single mistakes: a part of the export is written differently. Export it "
        "again in one format, correct those rows, or read that part on its own."
    )


def _one_large_customer(tally: CleaningCounts, settings: Settings, source: str) -> OrdersError | None:
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


_KEPT_STATUSES = 50


def complete_decision(layout: Layout, forms: ColumnFormats, tally: CleaningCounts) -> ReadingDecision:
    """Complete the decision about the columns by what all rows showed."""
    decision = layout.decision
    for role, facts in (("order_date", _date_facts(forms)), ("money", _money_facts(layout, forms))):
        found = decision.role(role)
        if found is not None and facts:
            decision = decision.with_role(replace(found, evidence=(*found.evidence, *facts)))
    known = [found for role in ("status", "payment_status") if (found := decision.role(role)) is not None]
    for number, found in enumerate(known):
        changed = (
            replace(found, meaning=Fact("status_with_other"))
            if number
            else replace(found, evidence=(*found.evidence, *_status_facts(tally)))
        )
        decision = decision.with_role(changed)
    order = decision.role("order_id")
    if order is not None and order.column is None and layout.grain == "lines":
        decision = decision.with_role(replace(order, meaning=Fact("no_order_id_lines")))
    return decision


def _status_facts(tally: CleaningCounts) -> tuple[Fact, ...]:
    counts = {
        "status_sale": tally.statuses - tally.not_understood,
        "status_refunded": tally.refunded_statuses,
        "status_not_sale": tally.excluded_statuses,
        "status_doubted": tally.not_understood,
    }
    return tuple(Fact(key, {"statuses": _ranked(orders)}) for key, orders in counts.items() if orders)


def _ranked(counts: Mapping[str, int]) -> list[list[str | int]]:
    return [list(item) for item in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_KEPT_STATUSES]]


def _date_facts(forms: ColumnFormats) -> tuple[Fact, ...]:
    facts = [Fact(forms.dates.order)] if forms.has_swappable_dates else []
    if forms.dates_by_file:
        count = len(forms.dates_by_file)
        facts.append(Fact("by_file", {"count": count}))
    return tuple(facts)


def _money_facts(layout: Layout, forms: ColumnFormats) -> tuple[Fact, ...]:
    roles = [role for role in ("amount", "order_total", "price") if role in layout.columns]
    facts = [Fact("decimal_comma")] if any(forms.numbers[role].mark == "comma" for role in roles) else []
    files = {number for role, number in forms.numbers_by_file if role in roles}
    if files:
        facts.append(Fact("by_file", {"count": len(files)}))
    return tuple(facts)


def example_lines(tally: CleaningCounts, *, has_amounts: bool) -> list[str]:
    """Show the totals and a few customers, to compare with the shop's own back office."""
    if not tally.examples:
        return []
    whole = ("All customers", tally.n_orders, tally.sales_total, min(tally.days), max(tally.days))
    rows = [whole, *((e.customer_id, e.orders, e.money, e.first_day, e.last_day) for e in tally.examples)]
    table = [
        (f"{orders:,} {'order ' if orders == 1 else 'orders'}", *([f"{money:,.2f}"] if has_amounts else []))
        for _, orders, money, _, _ in rows
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    names = max(len(name) for name, *_ in rows)
    money = ", money after refunds," if has_amounts else ""
    return [
        f"Please compare with your shop's back office (orders{money} first and last day):",
        *(
            f"  {name:<{names}}  {'  '.join(f'{text:>{width}}' for text, width in zip(texts, widths, strict=True))}"
            f"  {first} to {last}"
            for (name, _, _, first, last), texts in zip(rows, table, strict=True)
        ),
    ]


_QUIET_DAYS = 30
_QUIET_PERIODS = 3
_LEAST_DAYS_FOR_A_RHYTHM = 10


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
    """Hold a log against every rule."""
    return (
        _several_days(extent.days),
        _customers(extent.customers, settings.min_customers),
        _repeat_buyers(extent.repeat_buyers, settings.min_repeat_buyers),
        _history(extent, settings),
        _amounts(extent.has_amounts),
    )


def require_sufficient(rules: Iterable[SufficiencyRule]) -> None:
    """Stop where a rule fails."""
    failed = [rule for rule in rules if not rule.holds]
    if failed:
        named = "; ".join(f"{rule.found}, needed are {rule.needed}" for rule in failed)
        raise InsufficientHistory(f"Not enough orders: {named}. {failed[0].advice}")


def supported_horizons(*, first_day: date, as_of: date, settings: Settings) -> tuple[int, ...]:
    """Say how far ahead a log lets us look.

    A horizon of h days needs customers seen for h days and longer before their outcome, so without a wish the
    default horizons are cut to two thirds of the history.
    """
    history = (as_of - first_day).days + 1
    span = f"{_counted_noun(max(history, 0), 'day')} of history ({first_day} to {as_of})"
    if settings.horizons is not None:
        too_long = [h for h in settings.horizons if h > history]
        if too_long:
            raise InsufficientHistory(
                f"{span}, but a horizon of {max(too_long)} days was asked for. "
                f"Ask for at most {max(history, 1)} days (--horizon), or send a longer export."
            )
        return settings.horizons
    supported = tuple(h for h in DEFAULT_HORIZONS if 3 * h <= 2 * history)
    if not supported:
        raise InsufficientHistory(
            f"{span}; to look {DEFAULT_HORIZONS[0]} days ahead, {_days_needed(DEFAULT_HORIZONS[0])} are needed. "
            "Send a longer export, or ask for a shorter horizon (--horizon)."
        )
    return supported


def resolve_as_of(order_days: Iterable[date], *, as_of: date | None, today: date | None = None) -> date:
    """Settle the last day known."""
    days = sorted(set(order_days))
    first, last = days[0], days[-1]
    if as_of is None:
        _require_no_stray_day(days)
        return last
    if as_of < first:
        raise InsufficientHistory(
            f"--as-of {as_of} is before the first order ({first}): nothing is known by then. "
            f"Take a day from {first} to {last}."
        )
    spell = max(((after - before).days for before, after in pairwise(days)), default=0)
    latest = last + timedelta(days=max(_QUIET_DAYS, _QUIET_PERIODS * spell))
    if as_of > latest:
        raise OrdersError(
            f"--as-of {as_of} is {_counted_noun((as_of - last).days, 'day')} after the last order "
            f"({last}); the longest quiet "
            f"spell in the log is {_counted_noun(spell, 'day')}, so it was hardly observed that long. "
            f"Take a day up to {latest}, or send a newer export."
        )
    present = today or datetime.now(tz=UTC).astimezone(LATEST_ZONE).date()
    if as_of > present:
        raise OrdersError(f"--as-of {as_of} is in the future (today is {present}). Take a day up to today.")
    return as_of


def _require_no_stray_day(days: list[date]) -> None:
    """Refuse a last day so long after all others that it is rather a slip of the pen than an observation."""
    gaps = [(after - before).days for before, after in pairwise(days)]
    if len(gaps) < _LEAST_DAYS_FOR_A_RHYTHM or gaps[-1] <= max(_QUIET_DAYS, _QUIET_PERIODS * max(gaps[:-1])):
        return
    raise OrdersError(
        f"The last day with orders ({days[-1]}) is {_counted_noun(gaps[-1], 'day')} after the one before "
        f"it ({days[-2]}); the "
        f"longest quiet spell until then is {_counted_noun(max(gaps[:-1]), 'day')}. A mistyped date would "
        "make every customer "
        f"look lost. Say which day was the last one observed: --as-of {days[-2]}, or --as-of {days[-1]} if it is right."
    )


def _several_days(found: int) -> SufficiencyRule:
    return SufficiencyRule(
        name="days_with_orders",
        found=f"orders on {_counted_noun(found, 'day')}",
        needed="orders on at least 2 days",
        holds=found >= 2,
        advice="Send an export that covers more than one day.",
    )


def _customers(found: int, least: int) -> SufficiencyRule:
    return SufficiencyRule(
        name="customers",
        found=_counted_noun(found, "customer"),
        needed=f"at least {least:,}",
        holds=found >= least,
        advice="Send a longer export, or lower min_customers in repurchase.toml.",
    )


def _repeat_buyers(found: int, least: int) -> SufficiencyRule:
    return SufficiencyRule(
        name="repeat_buyers",
        found=f"{'no customer' if found == 0 else _counted_noun(found, 'customer')} who bought on a second day",
        needed=f"at least {least:,}",
        holds=found >= least,
        advice="Repeat purchases are what is learned from: send a longer export.",
    )


def _history(extent: HistoryExtent, settings: Settings) -> SufficiencyRule:
    found = (extent.as_of - extent.first_day).days + 1 if extent.first_day else 0
    asked = max(settings.horizons) if settings.horizons else None
    least = asked if asked is not None else _days_needed(DEFAULT_HORIZONS[0])
    ahead = asked if asked is not None else DEFAULT_HORIZONS[0]
    return SufficiencyRule(
        name="history",
        found=f"{_counted_noun(found, 'day')} of history",
        needed=f"at least {least:,} days to look {ahead:,} days ahead",
        holds=found >= least,
        advice="Send a longer export, or ask for a shorter horizon (--horizon).",
    )


def _amounts(has_money: bool) -> SufficiencyRule:
    return SufficiencyRule(
        name="amounts",
        found="money on the orders" if has_money else "no money on the orders",
        needed="money, for spending and lifetime value only",
        holds=True,
        advice="Purchases are predicted without it; to predict money, export a column of amounts.",
    )


def _days_needed(horizon_days: int) -> int:
    return -(-3 * horizon_days // 2)


def _counted_noun(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"

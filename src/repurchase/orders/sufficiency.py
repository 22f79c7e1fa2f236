"""Whether a log is enough for what is asked, rule by rule, before anything is fitted."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from repurchase.errors import InsufficientHistory, OrdersError
from repurchase.orders.dates import LATEST_ZONE
from repurchase.settings import DEFAULT_HORIZONS, Settings

__all__ = ["Extent", "Rule", "require_sufficient", "resolve_as_of", "sufficiency", "supported_horizons"]

_QUIET_DAYS = 30
_QUIET_SPELLS = 3
LEAST_DAYS_FOR_A_RHYTHM = 10


@dataclass(frozen=True)
class Rule:
    """One condition a log must meet.

    Parameters
    ----------
    name : str
        Short and fixed, for programs.
    found, needed : str
        In words.
    holds : bool
        Whether it is met.
    advice : str
        What to do if not.
    """

    name: str
    found: str
    needed: str
    holds: bool
    advice: str


@dataclass(frozen=True)
class Extent:
    """How much there is to learn from, by a day.

    Parameters
    ----------
    as_of : date
        Last day known, inclusive.
    first_day : date or None
        First purchase day.
    days, customers, repeat_buyers : int
        Different purchase days; customers with one; customers with a second.
    has_amounts : bool
        Whether there is money.
    """

    as_of: date
    first_day: date | None
    days: int
    customers: int
    repeat_buyers: int
    has_amounts: bool = True


def sufficiency(extent: Extent, *, settings: Settings) -> tuple[Rule, ...]:
    """Hold a log against every rule.

    Parameters
    ----------
    extent : Extent
        Of the log, by the last day known.
    settings : Settings
        ``min_customers``, ``min_repeat_buyers`` and ``horizons``.

    Returns
    -------
    tuple of Rule
        ``days_with_orders``, ``customers``, ``repeat_buyers``, ``history``, and ``amounts``, which always holds and
        only says whether there is money.

    Examples
    --------
    >>> log = Extent(date(2024, 6, 30), date(2024, 1, 1), days=2, customers=1, repeat_buyers=1)
    >>> [(rule.name, rule.found) for rule in sufficiency(log, settings=Settings()) if not rule.holds]
    [('customers', '1 customer'), ('repeat_buyers', '1 customer who bought on a second day')]
    """
    return (
        _several_days(extent.days),
        _customers(extent.customers, settings.min_customers),
        _repeat_buyers(extent.repeat_buyers, settings.min_repeat_buyers),
        _history(extent, settings),
        _amounts(extent.has_amounts),
    )


def require_sufficient(rules: Iterable[Rule]) -> None:
    """Stop where a rule fails.

    Parameters
    ----------
    rules : iterable of Rule
        From `sufficiency`.

    Raises
    ------
    InsufficientHistory
        Naming the rules that fail, in one line.

    Examples
    --------
    >>> require_sufficient([Rule("customers", "1 customer", "at least 100", False, "Send a longer export.")])
    Traceback (most recent call last):
        ...
    repurchase.errors.InsufficientHistory: Not enough orders: 1 customer, needed are at least 100. Send a longer export.
    """
    failed = [rule for rule in rules if not rule.holds]
    if failed:
        named = "; ".join(f"{rule.found}, needed are {rule.needed}" for rule in failed)
        raise InsufficientHistory(f"Not enough orders: {named}. {failed[0].advice}")


def supported_horizons(*, first_day: date, as_of: date, settings: Settings) -> tuple[int, ...]:
    """Say how far ahead a log lets us look.

    A horizon of h days needs customers seen for h days and longer before their outcome, so without a wish the
    default horizons are cut to two thirds of the history.

    Parameters
    ----------
    first_day : date
        Day of the first order.
    as_of : date
        Last day known, inclusive.
    settings : Settings
        ``horizons`` asks for some.

    Returns
    -------
    tuple of int
        Days ahead, rising.

    Raises
    ------
    InsufficientHistory
        If the history is shorter than a horizon asked for, or too short for the shortest default one.

    Examples
    --------
    >>> supported_horizons(first_day=date(2024, 1, 1), as_of=date(2024, 6, 30), settings=Settings())
    (30, 90)
    >>> supported_horizons(first_day=date(2024, 1, 1), as_of=date(2024, 2, 1), settings=Settings(horizons=(90,)))
    Traceback (most recent call last):
        ...
    repurchase.errors.InsufficientHistory: 32 days of history (2024-01-01 to 2024-02-01), but a horizon of 90 days \
was asked for. Ask for at most 32 days (--horizon), or send a longer export.
    """
    history = (as_of - first_day).days + 1
    span = f"{_count(max(history, 0), 'day')} of history ({first_day} to {as_of})"
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
    """Settle the last day known.

    Parameters
    ----------
    order_days : iterable of date
        Days with clean orders, at least one.
    as_of : date, optional
        The day asked for; without it the day of the last order.
    today : date, optional
        No later day can be known; default the present day.

    Returns
    -------
    date
        The day, inclusive. Quiet days after the last order are observations and allowed, up to 30 days or three times
        the longest quiet spell within the log.

    Raises
    ------
    InsufficientHistory
        If the day is before the first order.
    OrdersError
        If it is in the future, or so long after the last order that the log cannot have been observed until then; or,
        where no day was asked for, if the last order itself is that long after all others.

    Examples
    --------
    >>> log = [date(2024, 1, 1), date(2024, 1, 15)]
    >>> resolve_as_of(log, as_of=None), resolve_as_of(log, as_of=date(2024, 2, 1))
    (datetime.date(2024, 1, 15), datetime.date(2024, 2, 1))
    >>> resolve_as_of(log, as_of=date(2024, 6, 1))
    Traceback (most recent call last):
        ...
    repurchase.errors.OrdersError: --as-of 2024-06-01 is 138 days after the last order (2024-01-15); the longest quiet \
spell in the log is 14 days, so it was hardly observed that long. Take a day up to 2024-02-26, or send a newer export.
    """
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
    latest = last + timedelta(days=max(_QUIET_DAYS, _QUIET_SPELLS * spell))
    if as_of > latest:
        raise OrdersError(
            f"--as-of {as_of} is {_count((as_of - last).days, 'day')} after the last order ({last}); the longest quiet "
            f"spell in the log is {_count(spell, 'day')}, so it was hardly observed that long. "
            f"Take a day up to {latest}, or send a newer export."
        )
    present = today or datetime.now(tz=UTC).astimezone(LATEST_ZONE).date()
    if as_of > present:
        raise OrdersError(f"--as-of {as_of} is in the future (today is {present}). Take a day up to today.")
    return as_of


def _require_no_stray_day(days: list[date]) -> None:
    """Refuse a last day so long after all others that it is rather a slip of the pen than an observation."""
    gaps = [(after - before).days for before, after in pairwise(days)]
    if len(gaps) < LEAST_DAYS_FOR_A_RHYTHM or gaps[-1] <= max(_QUIET_DAYS, _QUIET_SPELLS * max(gaps[:-1])):
        return
    raise OrdersError(
        f"The last day with orders ({days[-1]}) is {_count(gaps[-1], 'day')} after the one before it ({days[-2]}); the "
        f"longest quiet spell until then is {_count(max(gaps[:-1]), 'day')}. A mistyped date would make every customer "
        f"look lost. Say which day was the last one observed: --as-of {days[-2]}, or --as-of {days[-1]} if it is right."
    )


def _several_days(found: int) -> Rule:
    return Rule(
        name="days_with_orders",
        found=f"orders on {_count(found, 'day')}",
        needed="orders on at least 2 days",
        holds=found >= 2,
        advice="Send an export that covers more than one day.",
    )


def _customers(found: int, least: int) -> Rule:
    return Rule(
        name="customers",
        found=_count(found, "customer"),
        needed=f"at least {least:,}",
        holds=found >= least,
        advice="Send a longer export, or lower min_customers in repurchase.toml.",
    )


def _repeat_buyers(found: int, least: int) -> Rule:
    return Rule(
        name="repeat_buyers",
        found=f"{'no customer' if found == 0 else _count(found, 'customer')} who bought on a second day",
        needed=f"at least {least:,}",
        holds=found >= least,
        advice="Repeat purchases are what is learned from: send a longer export.",
    )


def _history(extent: Extent, settings: Settings) -> Rule:
    found = (extent.as_of - extent.first_day).days + 1 if extent.first_day else 0
    asked = max(settings.horizons) if settings.horizons else None
    least = asked if asked is not None else _days_needed(DEFAULT_HORIZONS[0])
    ahead = asked if asked is not None else DEFAULT_HORIZONS[0]
    return Rule(
        name="history",
        found=f"{_count(found, 'day')} of history",
        needed=f"at least {least:,} days to look {ahead:,} days ahead",
        holds=found >= least,
        advice="Send a longer export, or ask for a shorter horizon (--horizon).",
    )


def _amounts(has_money: bool) -> Rule:
    return Rule(
        name="amounts",
        found="money on the orders" if has_money else "no money on the orders",
        needed="money, for spending and lifetime value only",
        holds=True,
        advice="Purchases are predicted without it; to predict money, export a column of amounts.",
    )


def _days_needed(horizon_days: int) -> int:
    return -(-3 * horizon_days // 2)


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"

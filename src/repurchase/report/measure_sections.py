"""The measures of repeat business as the page tells them: now, beside earlier periods, and beside yardsticks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from repurchase.marketing.yardsticks import Yardstick
from repurchase.report.language import locale, say
from repurchase.report.reading import Facts
from repurchase.report.words import NOTHING, count, counted, day, money, month, share, within

__all__ = ["PERIOD_MONTHS", "measure_part"]

PERIOD_MONTHS = 3
YEAR_MONTHS = 12
Row = dict[str, Any]
Month = Mapping[str, Any]
Periods = tuple[Sequence[Month], ...]


def measure_part(facts: Facts, yardsticks: Sequence[Yardstick]) -> Row | None:
    """Lay out the measures.

    Parameters
    ----------
    facts : Facts
        Scores and run.
    yardsticks : sequence of Yardstick
        What others report.

    Returns
    -------
    dict, optional
        Lead, rows and yardsticks; None where the record has no measures.
    """
    m = facts.measures
    if not m:
        return None
    periods = _periods(m)
    recent = periods[0]
    lead = ""
    if recent:
        lead = say(
            "measures.lead",
            day=day(m["as_of"]),
            **{"from": month(recent[0]["month"]), "to": month(recent[-1]["month"])},
        )
    of = {stick.measure: stick for stick in yardsticks}
    rows = [*_shares(m, periods), *_rhythm(m), *_money(m, facts.currency), *_sizes(m, periods, facts.currency)]
    for row in rows:
        stick = of.get(row["key"])
        row["yardstick"] = _range(stick) if stick else ""
        row.setdefault("name", say(f"measure.{row['key']}"))
        row["periods"] = row.get("periods") or ["", "", ""]
        row.setdefault("is_long", False)
        row.setdefault("note", "")
    shown = [of[row["key"]] for row in rows if row["key"] in of]
    return {"lead": lead, "rows": rows, "yardsticks": [_told(stick) for stick in shown]}


def _periods(m: Mapping[str, Any]) -> Periods:
    """Whole months: the last three, the three before, and the last three a year earlier; empty where they lack."""
    whole = [row for row in m.get("monthly") or [] if row.get("complete", True)]

    def until(end: int) -> Sequence[Month]:
        return whole[end - PERIOD_MONTHS : end] if end >= PERIOD_MONTHS else []

    n = len(whole)
    return until(n), until(n - PERIOD_MONTHS), until(n - YEAR_MONTHS)


def _row(key: str, now: str, formula: str, told: Sequence[str] = (), **name: str) -> Row:
    return {"key": key, "now": now, "formula": formula, "periods": list(told), **name}


def _at_end(periods: Periods, key: str, *, rest: bool = False) -> list[str]:
    """A share as it stood at the end of each period, or what is left of it."""
    values = [part[-1].get(key) if part else None for part in periods]
    return [_part(value, rest=rest) for value in values]


def _part(value: float | None, *, rest: bool) -> str:
    return share(None if value is None else 1 - value if rest else value)


def _over(periods: Periods, write: Callable[[float], str], key: str) -> list[str]:
    return [NOTHING if (found := _sum(part, key)) is None else write(found) for part in periods]


def _sum(part: Sequence[Month], key: str) -> float | None:
    values = [row.get(key) for row in part]
    return None if not values or None in values else float(sum(value for value in values if value is not None))


def _ratio(periods: Periods, part: str, whole: str) -> list[str]:
    pairs = [(_sum(period, part), _sum(period, whole)) for period in periods]
    return [share(None if above is None or not below else above / below) for above, below in pairs]


def _shares(m: Mapping[str, Any], periods: Periods) -> list[Row]:
    everyone = counted(m.get("n_customers") or 0, "customer")
    rate = say("formula.repeat_purchase_rate", customers=everyone)
    rows = [_row("repeat_purchase_rate", share(m.get("repeat_purchase_rate")), rate, _at_end(periods, "repeat_rate"))]
    observed = m.get("repeat_within_observed") or {}
    for days, part in (m.get("repeat_within") or {}).items():
        soon, watched = within(int(days)), counted(observed.get(days, 0), "customer")
        how = say("formula.repeat_within", within=soon, customers=watched)
        rows.append(_row("repeat_within", share(part), how, name=say("measure.repeat_within", within=soon)))
        rows[-1]["note"] = say("measures.watched", customers=counted(observed.get(days, 0), "customer", form="of"))
    median, longest = m.get("median_days_to_second"), m.get("median_within_days")
    if median is not None and longest:
        how = say("formula.time_to_second", within=within(longest))
        rows.append(_row("time_to_second", counted(round(median), "day"), how))
    for kept, lost in (("retention", "lost"), ("retention_year", "lost_year")):
        known = [row for row in m.get("monthly") or [] if row.get(kept) is not None]
        if known:
            now = known[-1][kept]
            rows.append(_row(kept, share(now), say(f"formula.{kept}"), _at_end(periods, kept)))
            rows.append(_row(lost, share(1 - now), say(f"formula.{lost}"), _at_end(periods, kept, rest=True)))
    if m.get("reorder_rate") is not None:
        told = _ratio(periods, "reorders", "orders")
        rows.append(_row("reorder_rate", share(m["reorder_rate"]), say("formula.reorder_rate"), told))
    return rows


def _rhythm(m: Mapping[str, Any]) -> list[Row]:
    rhythm = m.get("rhythm")
    if not rhythm:
        return []
    ends = {"low": counted(rhythm["quarter_days"], "day"), "high": counted(rhythm["three_quarters_days"], "day")}
    now = f"{counted(rhythm['median_days'], 'day')}; {say('measures.quartiles', **ends)}"
    return [{**_row("rhythm", now, say("formula.rhythm")), "is_long": True}]


def _money(m: Mapping[str, Any], currency: str | None) -> list[Row]:
    rows = []
    if m.get("returning_sales_share") is not None:
        how = say("formula.returning_sales", sales=money(m.get("sales_total"), currency))
        told = _ratio(_periods(m), "returning_sales", "sales")
        rows.append(_row("returning_sales", share(m["returning_sales_share"]), how, told))
    for name in ("returning", "once"):
        group = (m.get("spenders") or {}).get(name) or {}
        if group.get("sales_per_customer") is not None:
            how = say(f"formula.spend_{name}", customers=counted(group["customers"], "customer"))
            a_day = say("measures.per_purchase", value=money(group["sales_per_purchase_day"], currency))
            rows.append(_row(f"spend_{name}", f"{money(group['sales_per_customer'], currency)}; {a_day}", how))
            rows[-1]["is_long"] = True
    return rows


def _sizes(m: Mapping[str, Any], periods: Periods, currency: str | None) -> list[Row]:
    rows = [
        _row(
            "new_customers",
            count(m.get("n_customers")),
            say("formula.new_customers"),
            _over(periods, count, "new_customers"),
        ),
        _row("orders", count(m.get("n_orders")), say("formula.orders"), _over(periods, count, "orders")),
    ]
    if m.get("sales_total") is not None:
        told = _over(periods, lambda value: money(value, currency), "sales")
        rows.append(_row("sales", money(m["sales_total"], currency), say("formula.sales"), told))
    return rows


def _range(stick: Yardstick) -> str:
    low, high = share(stick.low), share(stick.high)
    return low if low == high else say("risk.range_words", low=low, high=high)


def _told(stick: Yardstick) -> Row:
    return {
        "name": say(f"measure.{stick.measure}"),
        "range": _range(stick),
        "source": stick.source,
        "address": stick.address,
        "caveat": stick.caveat_in(locale()),
    }

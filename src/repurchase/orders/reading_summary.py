"""The reading decision of a log that was read: what the columns mean, and what was found in them."""

from collections.abc import Mapping
from dataclasses import replace

from repurchase.orders.decisions import Fact, ReadingDecision
from repurchase.orders.layouts import Layout
from repurchase.orders.survey import Forms
from repurchase.orders.tally import Tally

__all__ = ["example_lines", "final_decision"]

_KEPT_STATUSES = 50


def final_decision(layout: Layout, forms: Forms, tally: Tally) -> ReadingDecision:
    """Complete the decision about the columns by what all rows showed.

    Parameters
    ----------
    layout : Layout
        Which column is which.
    forms : Forms
        How dates and numbers are written.
    tally : Tally
        Of all rows.

    Returns
    -------
    ReadingDecision
        With the order of day and month, the decimal mark, and which statuses count.
    """
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


def _status_facts(tally: Tally) -> tuple[Fact, ...]:
    counts = {
        "status_sale": tally.statuses - tally.not_understood,
        "status_refunded": tally.refunded_statuses,
        "status_not_sale": tally.excluded_statuses,
        "status_doubted": tally.not_understood,
    }
    return tuple(Fact(key, {"statuses": _ranked(orders)}) for key, orders in counts.items() if orders)


def _ranked(counts: Mapping[str, int]) -> list[list[str | int]]:
    return [list(item) for item in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_KEPT_STATUSES]]


def _date_facts(forms: Forms) -> tuple[Fact, ...]:
    facts = [Fact(forms.dates.order)] if forms.has_swappable_dates else []
    if forms.dates_by_file:
        count = len(forms.dates_by_file)
        facts.append(Fact("by_file", {"count": count}))
    return tuple(facts)


def _money_facts(layout: Layout, forms: Forms) -> tuple[Fact, ...]:
    roles = [role for role in ("amount", "order_total", "price") if role in layout.columns]
    facts = [Fact("decimal_comma")] if any(forms.numbers[role].mark == "comma" for role in roles) else []
    files = {number for role, number in forms.numbers_by_file if role in roles}
    if files:
        facts.append(Fact("by_file", {"count": len(files)}))
    return tuple(facts)


def example_lines(tally: Tally, *, has_amounts: bool) -> list[str]:
    """Show the totals and a few customers, to compare with the shop's own back office.

    Parameters
    ----------
    tally : Tally
        Of all rows.
    has_amounts : bool
        Whether there is money.

    Returns
    -------
    list of str
        A table under a line that says what it is; nothing without examples.
    """
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

"""The reading decision of a log that was read: what the columns mean, and what was found in them."""

from collections.abc import Iterable
from dataclasses import replace

from repurchase.orders.decisions import Fact, ReadingDecision, RoleDecision
from repurchase.orders.layouts import Layout
from repurchase.orders.survey import Forms
from repurchase.orders.tally import CustomerExample, Tally

__all__ = ["example_lines", "final_decision"]

_SHOWN_STATUSES = 8


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
    roles = [role for role in ("status", "payment_status") if decision.role(role) is not None]
    for role in roles:
        known = decision.role(role)
        if known is not None:
            decision = decision.with_role(_with_statuses(known, tally, last=role == roles[-1]))
    return decision


def _with_statuses(decision: RoleDecision, tally: Tally, *, last: bool) -> RoleDecision:
    if not last:
        return replace(decision, meaning=Fact("status_with_other"))
    sale, excluded = _ranked(tally.statuses.items()), _ranked(tally.excluded_statuses.items())
    doubted = _ranked(tally.not_understood.items())
    facts = (Fact("status_doubted", {"statuses": doubted}),) if doubted else ()
    meaning = (
        Fact("status", {"sale": sale or "-", "not_sale": excluded}) if excluded else Fact("status_all", {"sale": sale})
    )
    return replace(decision, meaning=meaning, evidence=(*decision.evidence, *facts))


def _ranked(counts: Iterable[tuple[str, int]]) -> str:
    ranked = sorted(counts, key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{status} ({rows:,})" for status, rows in ranked[:_SHOWN_STATUSES])
    return shown + (", ..." if len(ranked) > _SHOWN_STATUSES else "")


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


def example_lines(examples: Iterable[CustomerExample], *, has_amounts: bool) -> list[str]:
    """Show a few customers to compare with the shop's own back office.

    Parameters
    ----------
    examples : iterable of CustomerExample
        From the tally.
    has_amounts : bool
        Whether there is money.

    Returns
    -------
    list of str
        One line per customer, with a line above them; nothing without examples.
    """
    lines = [
        f"  {example.customer_id}: {example.orders:,} orders"
        f"{f', {example.money:,.2f} in all' if has_amounts else ''}, first {example.first_day}, last {example.last_day}"
        for example in examples
    ]
    return ["Compare with your back office:", *lines] if lines else []

"""Pictures of the past: what came in, who came back, when, and what they brought."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repurchase.report.canvas import (
    BLUE,
    ORANGE,
    SKY,
    Picture,
    drawing,
    heat_map,
    label_axes,
    label_end,
    percent_ticks,
    tick_text,
)
from repurchase.report.words import brief, count, counted, horizon, in_a_hundred, money, month, share, short_money

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["cohorts", "intake", "repeat_over_time", "repeat_within", "sales_by_month"]

Measures = Mapping[str, Any]
MAX_MONTH_TICKS = 8
MONTHS_SHOWN = 36


def intake(cleaning: Mapping[str, Any]) -> Picture | None:
    """Draw how many rows were used, netted and set aside, and why.

    Parameters
    ----------
    cleaning : mapping
        The cleaning report.

    Returns
    -------
    Picture, optional
        None where no rows came in.
    """
    n_raw, n_kept = int(cleaning.get("n_raw") or 0), int(cleaning.get("n_kept") or 0)
    if not n_raw:
        return None
    reasons = [reason for reason in cleaning.get("reasons", []) if reason["rows"]]
    names = ["used as they are", *(brief(reason["reason"].replace("_", " ")) for reason in reasons)]
    rows = [n_kept, *(int(reason["rows"]) for reason in reasons)]
    colours = [BLUE, *(SKY if reason.get("treatment") == "netted" else ORANGE for reason in reasons)]
    with drawing(0.9 + 0.38 * len(rows)) as (figure, axes):
        axes.barh(names, rows, color=colours, height=0.65)
        axes.invert_yaxis()
        for position, number in enumerate(rows):
            label_end(axes, number, position, f"{count(number)} ({share(number / n_raw)})")
        axes.set_xlim(0, max(rows) * 1.32)
        axes.xaxis.set_major_formatter(tick_text(short_money))
        axes.grid(visible=False, axis="y")
        label_axes(axes, x="rows of the export")
    finding = f"{share(n_kept / n_raw)} of the {count(n_raw)} rows are used as they are"
    described = "; ".join(f"{name}: {count(number)}" for name, number in zip(names, rows, strict=True))
    return Picture("intake", finding, f"Bars, rows of the export. {described}.", figure)


def repeat_within(measures: Measures) -> Picture | None:
    """Draw which share of first-time customers came back in time.

    Parameters
    ----------
    measures : mapping
        From ``repeat_business``.

    Returns
    -------
    Picture, optional
        None where nobody was watched long enough; a stretch for which less than a tenth was is left out.
    """
    observed = measures.get("repeat_within_observed") or {}
    enough = measures.get("median_within_days") or 0
    known = {int(days): part for days, part in (measures.get("repeat_within") or {}).items() if part is not None}
    shares = {days: part for days, part in known.items() if days <= enough}
    if not shares:
        return None
    longest = max(shares)
    with drawing(3.3) as (figure, axes):
        names = [f"within {horizon(days)}\n({counted(observed.get(str(days), 0), 'customer')})" for days in shares]
        bars = axes.bar(names, list(shares.values()), color=BLUE, width=0.6)
        axes.bar_label(bars, [share(part) for part in shares.values()], padding=3)
        _percent_axis(axes, max(shares.values()) * 1.15)
        axes.grid(visible=False, axis="x")
        label_axes(axes, x="time since the first purchase (customers watched that long)", y="came back")
    described = ", ".join(f"{share(part)} within {horizon(days)}" for days, part in shares.items())
    finding = f"{in_a_hundred(shares[longest])} first-time customers came back within {horizon(longest)}"
    return Picture("repeat-within", finding, f"Bars, share of customers with a second purchase: {described}.", figure)


def repeat_over_time(measures: Measures) -> Picture | None:
    """Draw the repeat purchase rate and the retention rate by month.

    Parameters
    ----------
    measures : mapping
        From ``repeat_business``.

    Returns
    -------
    Picture, optional
        None with fewer than two months.
    """
    monthly = [row for row in measures.get("monthly") or [] if row["repeat_rate"] is not None][-MONTHS_SHOWN:]
    if len(monthly) < 2:
        return None
    months = [row["month"] for row in monthly]
    retention = [float("nan") if row["retention"] is None else row["retention"] for row in monthly]
    with drawing(3.6) as (figure, axes):
        axes.plot(months, [row["repeat_rate"] for row in monthly], color=BLUE, label="bought again, of all so far")
        kept = f"kept: bought again within {measures.get('retention_window_days', 90)} days"
        axes.plot(months, retention, color=ORANGE, marker="o", markersize=4, label=kept)
        highest = max(row[key] or 0 for row in monthly for key in ("repeat_rate", "retention"))
        _percent_axis(axes, min(1.05, highest * 1.15))
        _month_ticks(axes, months)
        label_axes(axes, x="month", y="share of customers")
        figure.legend(loc="outside upper left", ncols=2)
    finding = _retention_finding(monthly)
    described = f"Two lines by month, {months[0]} to {months[-1]}. {finding}."
    return Picture("repeat-over-time", finding, described, figure)


def _retention_finding(monthly: Sequence[Mapping[str, Any]]) -> str:
    known = [row for row in monthly if row["retention"] is not None and row.get("complete", True)]
    if not known:
        last = monthly[-1]
        return f"{in_a_hundred(last['repeat_rate'])} customers so far bought a second time"
    last, earlier = known[-1], known[-13] if len(known) > 12 else known[0]
    text = f"{in_a_hundred(last['retention'])} customers were kept in the 90 days to the end of {month(last['month'])}"
    if earlier is last:
        return text
    return f"{text}; {in_a_hundred(earlier['retention']).split(' of ')[0]} in those to {month(earlier['month'])}"


def sales_by_month(measures: Measures, currency: str | None = None) -> Picture | None:
    """Draw sales, or customers where there are no amounts, of new and returning customers by month.

    Parameters
    ----------
    measures : mapping
        From ``repeat_business``.
    currency : str, optional
        Of the sales.

    Returns
    -------
    Picture, optional
        None without a whole month.
    """
    monthly = [row for row in measures.get("monthly") or [] if row.get("complete", True)][-MONTHS_SHOWN:]
    if not monthly:
        return None
    months = [row["month"] for row in monthly]
    has_money = measures.get("sales_total") is not None
    returning = [row["returning_sales" if has_money else "returning_customers"] for row in monthly]
    total = [row["sales" if has_money else "customers"] for row in monthly]
    new = [everything - part for everything, part in zip(total, returning, strict=True)]
    with drawing(3.5) as (figure, axes):
        axes.bar(months, returning, color=BLUE, width=0.8, label="returning customers")
        axes.bar(months, new, bottom=returning, color=SKY, width=0.8, label="first purchases")
        _month_ticks(axes, months)
        axes.yaxis.set_major_formatter(
            tick_text((lambda value: short_money(value, currency)) if has_money else short_money)
        )
        axes.grid(visible=False, axis="x")
        label_axes(axes, x="month", y="net sales" if has_money else "customers")
        figure.legend(loc="outside upper left", ncols=2)
    finding = _sales_finding(measures, total, returning, currency)
    described = f"Stacked bars, whole months from {months[0]} to {months[-1]}. {finding}."
    return Picture("sales-by-month", finding, described, figure)


def _sales_finding(measures: Measures, total: Sequence[float], returning: Sequence[float], currency: str | None) -> str:
    part = measures.get("returning_sales_share")
    if measures.get("sales_total") is None:
        return f"{share(sum(returning) / max(sum(total), 1))} of the customers of a month had bought before"
    if part is None:
        return f"Net sales were {money(measures['sales_total'], currency)} in all"
    return f"{share(part)} of all net sales came from customers who had bought before"


def cohorts(measures: Measures) -> Picture | None:
    """Draw which share of each cohort bought again in each later period.

    Parameters
    ----------
    measures : mapping
        From ``repeat_business``.

    Returns
    -------
    Picture, optional
        None where no cohort has a later period.
    """
    rows = [row for row in measures.get("cohorts") or [] if len(row["active_share"]) > 1]
    width = max((len(row["active_share"]) for row in rows), default=0) - 1
    if width < 1:
        return None
    unit = measures.get("cohort_period", "period")
    later = [row["active_share"][1:] for row in rows]
    top = max(value for row in later for value in row)
    cells = {
        (x, y): (value / (top or 1.0), f"{100 * value:.0f}")
        for y, row in enumerate(later)
        for x, value in enumerate(row)
    }
    with drawing(max(1.9, 1.15 + 0.29 * len(rows))) as (figure, axes):
        heat_map(axes, cells, font_size=7.0 if width > 18 else 8.5 if width > 12 else 10.0)
        axes.set_yticks(range(len(rows)), [f"{row['cohort']} ({count(row['size'])})" for row in rows])
        step = 1 if width <= 12 else 2
        axes.set_xticks(range(0, width, step), [str(x + 1) for x in range(0, width, step)])
        label_axes(axes, x=f"{unit}s after the {unit} of the first purchase", y="first bought in (customers)")
    finding = _cohort_finding(rows, unit)
    described = f"A grid of {len(rows)} cohorts by {width} later {unit}s; darker means a larger share bought."
    return Picture("cohorts", finding, f"{described} {finding}.", figure)


def _cohort_finding(rows: Sequence[Mapping[str, Any]], unit: str) -> str:
    def weighted(period: int) -> float | None:
        seen = [row for row in rows if len(row["active_share"]) > period]
        people = sum(row["size"] for row in seen)
        return sum(row["active_share"][period] * row["size"] for row in seen) / people if people else None

    following = weighted(1) or 0.0
    late = 12 if unit == "month" else 4 if unit == "quarter" else 3
    later = weighted(late)
    text = f"{in_a_hundred(following)} customers buy in the {unit} after their first"
    return text if later is None else f"{text}, {in_a_hundred(later).split(' of ')[0]} in the {_ordinal(late)} {unit}"


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third", 4: "fourth", 12: "twelfth"}.get(number, f"{number}th")


def _percent_axis(axes: "Axes", top: float) -> None:
    axes.set_ylim(0, top or 1)
    percent_ticks(axes.yaxis)


def _month_ticks(axes: "Axes", months: Sequence[str]) -> None:
    step = -(-len(months) // MAX_MONTH_TICKS)
    axes.set_xticks(
        range(0, len(months), step), [months[i] for i in range(0, len(months), step)], rotation=30, ha="right"
    )
    axes.set_xlim(-0.6, len(months) - 0.4)

"""Pictures of the past: what came in, who came back, when, and what they brought."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repurchase.report.canvas import (
    BLUE,
    ORANGE,
    SKY,
    Picture,
    add_legend,
    drawing,
    folded,
    heat_map,
    label_axes,
    label_end,
    percent_ticks,
    tick_text,
)
from repurchase.report.language import is_known, say
from repurchase.report.words import (
    brief,
    count,
    counted,
    in_a_hundred,
    money,
    month,
    share,
    short_money,
    within,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["cohorts", "intake", "money_cohorts", "reason_name", "repeat_over_time", "repeat_within", "sales_by_month"]

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
    names = [say("figure.used"), *(brief(reason_name(reason["reason"])) for reason in reasons)]
    rows = [n_kept, *(int(reason["rows"]) for reason in reasons)]
    colours = [BLUE, *(SKY if reason.get("treatment") == "netted" else ORANGE for reason in reasons)]
    with drawing(0.9 + 0.38 * len(rows)) as (figure, axes):
        axes.barh(names, rows, color=colours, height=0.65)
        axes.invert_yaxis()
        for position, number in enumerate(rows):
            label_end(axes, number, position, f"{count(number)} ({share(number / n_raw)})")
        axes.set_xlim(0, max(rows) * 1.32)
        axes.locator_params(axis="x", nbins=5)  # "250 тыс." is wide
        axes.xaxis.set_major_formatter(tick_text(short_money))
        axes.grid(visible=False, axis="y")
        label_axes(axes, x=say("figure.rows_axis"))
    finding = say("figure.intake_finding", share=share(n_kept / n_raw), rows=count(n_raw))
    described = "; ".join(f"{name}: {count(number)}" for name, number in zip(names, rows, strict=True))
    return Picture("intake", finding, say("figure.intake_bars", bars=described), figure)


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
        names = [
            folded(
                say("figure.watched", within=within(days), customers=counted(observed.get(str(days), 0), "customer"))
            )
            for days in shares
        ]
        bars = axes.bar(names, list(shares.values()), color=BLUE, width=0.6)
        axes.bar_label(bars, [share(part) for part in shares.values()], padding=3)
        axes.tick_params(axis="x", labelsize=9)
        _percent_axis(axes, max(shares.values()) * 1.15)
        axes.grid(visible=False, axis="x")
        label_axes(axes, x=say("figure.watched_axis"), y=say("figure.came_back"))
    described = ", ".join(
        say("figure.came_back_part", share=share(part), within=within(days)) for days, part in shares.items()
    )
    finding = say("figure.came_back_finding", part=in_a_hundred(shares[longest]), within=within(longest))
    return Picture("repeat-within", finding, say("figure.came_back_bars", bars=described), figure)


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
        axes.plot(months, [row["repeat_rate"] for row in monthly], color=BLUE, label=say("figure.again_line"))
        kept = say("figure.kept_line", n=measures.get("retention_window_days", 90))
        axes.plot(months, retention, color=ORANGE, marker="o", markersize=4, label=kept)
        highest = max(row[key] or 0 for row in monthly for key in ("repeat_rate", "retention"))
        _percent_axis(axes, min(1.05, highest * 1.15))
        _month_ticks(axes, months)
        label_axes(axes, x=say("figure.month"), y=say("figure.share_axis"))
        add_legend(figure, *axes.get_legend_handles_labels(), columns=2)
    finding = _retention_finding(monthly)
    described = say("figure.two_lines", first=months[0], last=months[-1], finding=finding)
    return Picture("repeat-over-time", finding, described, figure)


def _retention_finding(monthly: Sequence[Mapping[str, Any]]) -> str:
    known = [row for row in monthly if row["retention"] is not None and row.get("complete", True)]
    if not known:
        last = monthly[-1]
        return say("figure.second_finding", part=in_a_hundred(last["repeat_rate"]))
    last, earlier = known[-1], known[-13] if len(known) > 12 else known[0]
    text = say("figure.kept_finding", part=in_a_hundred(last["retention"]), month=month(last["month"]))
    if earlier is last:
        return text
    return say("figure.kept_earlier", text=text, part=_number(earlier["retention"]), month=month(earlier["month"]))


def _number(part: float) -> str:
    """Of `in_a_hundred` only the first number."""
    return count(1000 * part) if 0 < part < 0.01 else count(100 * part)


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
        axes.bar(months, returning, color=BLUE, width=0.8, label=say("figure.returning"))
        axes.bar(months, new, bottom=returning, color=SKY, width=0.8, label=say("figure.first_purchases"))
        _month_ticks(axes, months)
        axes.yaxis.set_major_formatter(
            tick_text((lambda value: short_money(value, currency)) if has_money else short_money)
        )
        axes.grid(visible=False, axis="x")
        label_axes(axes, x=say("figure.month"), y=say("figure.net_sales" if has_money else "figure.customers"))
        add_legend(figure, *axes.get_legend_handles_labels(), columns=2)
    finding = _sales_finding(measures, total, returning, currency)
    described = say("figure.stacked", first=months[0], last=months[-1], finding=finding)
    return Picture("sales-by-month", finding, described, figure)


def _sales_finding(measures: Measures, total: Sequence[float], returning: Sequence[float], currency: str | None) -> str:
    part = measures.get("returning_sales_share")
    if measures.get("sales_total") is None:
        return say("figure.bought_before", share=share(sum(returning) / max(sum(total), 1)))
    if part is None:
        return say("figure.sales_in_all", money=money(measures["sales_total"], currency))
    return say("figure.sales_returning", share=share(part))


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
        label_axes(axes, x=say(f"after.{unit}"), y=say("figure.cohort_axis"))
    finding = _cohort_finding(rows, unit)
    described = say("figure.cohort_grid", rows=len(rows), columns=width, finding=finding)
    return Picture("cohorts", finding, described, figure)


def money_cohorts(measures: Measures) -> Picture | None:
    """Draw what each cohort spent in each later period, against its first.

    Parameters
    ----------
    measures : mapping
        From ``repeat_business``.

    Returns
    -------
    Picture, optional
        None where no cohort has a later period with money.
    """
    rows = [row for row in measures.get("cohorts") or [] if len(row.get("sales_share") or []) > 1]
    cells = {
        (x, y): value
        for y, row in enumerate(rows)
        for x, value in enumerate(row["sales_share"][1:])
        if value is not None
    }
    if not cells:
        return None
    unit, width = measures.get("cohort_period", "period"), max(x for x, _ in cells) + 1
    top = max(cells.values()) or 1.0
    shades = {place: (min(max(value / top, 0.0), 1.0), f"{100 * value:.0f}") for place, value in cells.items()}
    with drawing(max(1.9, 1.15 + 0.29 * len(rows))) as (figure, axes):
        heat_map(axes, shades, font_size=7.0 if width > 18 else 8.5 if width > 12 else 10.0)
        axes.set_yticks(range(len(rows)), [f"{row['cohort']} ({count(row['size'])})" for row in rows])
        step = 1 if width <= 12 else 2
        axes.set_xticks(range(0, width, step), [str(x + 1) for x in range(0, width, step)])
        label_axes(axes, x=say(f"after.{unit}"), y=say("figure.cohort_axis"))
    following = [(row["sales_share"][1], row["size"]) for row in rows if row["sales_share"][1] is not None]
    people = sum(size for _, size in following)
    mean = sum(value * size for value, size in following) / people if people else 0.0
    finding = say(f"figure.money_next.{unit}", share=share(mean))
    described = say("figure.money_grid", rows=len(rows), columns=width, finding=finding)
    return Picture("money-cohorts", finding, described, figure)


def _cohort_finding(rows: Sequence[Mapping[str, Any]], unit: str) -> str:
    def weighted(period: int) -> float | None:
        seen = [row for row in rows if len(row["active_share"]) > period]
        people = sum(row["size"] for row in seen)
        return sum(row["active_share"][period] * row["size"] for row in seen) / people if people else None

    following = weighted(1) or 0.0
    late = 12 if unit == "month" else 4 if unit == "quarter" else 3
    later = weighted(late)
    text = say(f"figure.next.{unit}", part=in_a_hundred(following))
    return text if later is None else say(f"figure.next_late.{unit}", text=text, part=_number(later))


def reason_name(reason: str) -> str:
    """Name a reason for which rows are set aside.

    Parameters
    ----------
    reason : str
        As in the cleaning report.

    Returns
    -------
    str
        In the language that is spoken, where it is known there.
    """
    key = f"cleaning.{reason}"
    return say(key) if is_known(key) else reason.replace("_", " ")


def _percent_axis(axes: "Axes", top: float) -> None:
    axes.set_ylim(0, top or 1)
    percent_ticks(axes.yaxis)


def _month_ticks(axes: "Axes", months: Sequence[str]) -> None:
    step = -(-len(months) // MAX_MONTH_TICKS)
    axes.set_xticks(
        range(0, len(months), step), [months[i] for i in range(0, len(months), step)], rotation=30, ha="right"
    )
    axes.set_xlim(-0.6, len(months) - 0.4)

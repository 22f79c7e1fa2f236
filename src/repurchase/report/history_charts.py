"""Charts of cleaning, repeat purchases, sales and cohorts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repurchase.i18n.catalogues import has_message
from repurchase.i18n.formatting import (
    format_count,
    format_money,
    format_month,
    format_share,
    format_short_money,
    truncate_name,
)
from repurchase.i18n.messages import format_in_hundred, format_quantity, format_within, translate
from repurchase.report.charts import (
    BLUE,
    ORANGE,
    SKY,
    Chart,
    add_legend,
    heat_map,
    label_axes,
    label_bar_end,
    new_figure,
    percent_ticks,
    tick_text,
    wrap_label,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_Measures = Mapping[str, Any]
_MAX_MONTH_TICKS = 8
_MONTHS_SHOWN = 36


def cleaning_chart(cleaning: Mapping[str, Any]) -> Chart | None:
    """Draw how many rows were used, netted and set aside, and why."""
    n_raw, n_kept = int(cleaning.get("n_raw") or 0), int(cleaning.get("n_kept") or 0)
    if not n_raw:
        return None
    reasons = [reason for reason in cleaning.get("reasons", []) if reason["rows"]]
    names = [translate("figure.used"), *(truncate_name(cleaning_reason_name(reason["reason"])) for reason in reasons)]
    rows = [n_kept, *(int(reason["rows"]) for reason in reasons)]
    colours = [BLUE, *(SKY if reason.get("treatment") == "netted" else ORANGE for reason in reasons)]
    with new_figure(0.9 + 0.38 * len(rows)) as (figure, axes):
        axes.barh(names, rows, color=colours, height=0.65)
        axes.invert_yaxis()
        for position, number in enumerate(rows):
            label_bar_end(axes, number, position, f"{format_count(number)} ({format_share(number / n_raw)})")
        axes.set_xlim(0, max(rows) * 1.32)
        axes.locator_params(axis="x", nbins=5)  # "250 тыс." is wide
        axes.xaxis.set_major_formatter(tick_text(format_short_money))
        axes.grid(visible=False, axis="y")
        label_axes(axes, x=translate("figure.rows_axis"))
    finding = translate("figure.intake_finding", share=format_share(n_kept / n_raw), rows=format_count(n_raw))
    described = "; ".join(f"{name}: {format_count(number)}" for name, number in zip(names, rows, strict=True))
    return Chart("intake", finding, translate("figure.intake_bars", bars=described), figure)


def repeat_within_chart(measures: _Measures) -> Chart | None:
    """Draw which share of first-time customers came back in time."""
    observed = measures.get("repeat_within_observed") or {}
    enough = measures.get("median_within_days") or 0
    known = {int(days): part for days, part in (measures.get("repeat_within") or {}).items() if part is not None}
    shares = {days: part for days, part in known.items() if days <= enough}
    if not shares:
        return None
    longest = max(shares)
    with new_figure(3.3) as (figure, axes):
        names = [
            wrap_label(
                translate(
                    "figure.watched",
                    within=format_within(days),
                    customers=format_quantity(observed.get(str(days), 0), "customer"),
                )
            )
            for days in shares
        ]
        bars = axes.bar(names, list(shares.values()), color=BLUE, width=0.6)
        axes.bar_label(bars, [format_share(part) for part in shares.values()], padding=3)
        axes.tick_params(axis="x", labelsize=9)
        _percent_axis(axes, max(shares.values()) * 1.15)
        axes.grid(visible=False, axis="x")
        label_axes(axes, x=translate("figure.watched_axis"), y=translate("figure.came_back"))
    described = ", ".join(
        translate("figure.came_back_part", share=format_share(part), within=format_within(days))
        for days, part in shares.items()
    )
    finding = translate(
        "figure.came_back_finding", part=format_in_hundred(shares[longest]), within=format_within(longest)
    )
    return Chart("repeat-within", finding, translate("figure.came_back_bars", bars=described), figure)


def repeat_over_time_chart(measures: _Measures) -> Chart | None:
    """Draw the repeat purchase rate and the retention rate by month."""
    monthly = [row for row in measures.get("monthly") or [] if row["repeat_rate"] is not None][-_MONTHS_SHOWN:]
    if len(monthly) < 2:
        return None
    months = [row["month"] for row in monthly]
    retention = [float("nan") if row["retention"] is None else row["retention"] for row in monthly]
    with new_figure(3.6) as (figure, axes):
        axes.plot(months, [row["repeat_rate"] for row in monthly], color=BLUE, label=translate("figure.again_line"))
        kept = translate("figure.kept_line", n=measures.get("retention_window_days", 90))
        axes.plot(months, retention, color=ORANGE, marker="o", markersize=4, label=kept)
        highest = max(row[key] or 0 for row in monthly for key in ("repeat_rate", "retention"))
        _percent_axis(axes, min(1.05, highest * 1.15))
        _month_ticks(axes, months)
        label_axes(axes, x=translate("figure.month"), y=translate("figure.share_axis"))
        add_legend(figure, *axes.get_legend_handles_labels(), columns=2)
    finding = _retention_finding(monthly)
    described = translate("figure.two_lines", first=months[0], last=months[-1], finding=finding)
    return Chart("repeat-over-time", finding, described, figure)


def _retention_finding(monthly: Sequence[Mapping[str, Any]]) -> str:
    known = [row for row in monthly if row["retention"] is not None and row.get("complete", True)]
    if not known:
        last = monthly[-1]
        return translate("figure.second_finding", part=format_in_hundred(last["repeat_rate"]))
    last, earlier = known[-1], known[-13] if len(known) > 12 else known[0]
    text = translate(
        "figure.kept_finding", part=format_in_hundred(last["retention"]), month=format_month(last["month"])
    )
    if earlier is last:
        return text
    return translate(
        "figure.kept_earlier", text=text, part=_number(earlier["retention"]), month=format_month(earlier["month"])
    )


def _number(part: float) -> str:
    """Of `in_a_hundred` only the first number."""
    return format_count(1000 * part) if 0 < part < 0.01 else format_count(100 * part)


def monthly_sales_chart(measures: _Measures, currency: str | None = None) -> Chart | None:
    """Draw sales, or customers where there are no amounts, of new and returning customers by month."""
    monthly = [row for row in measures.get("monthly") or [] if row.get("complete", True)][-_MONTHS_SHOWN:]
    if not monthly:
        return None
    months = [row["month"] for row in monthly]
    has_money = measures.get("sales_total") is not None
    returning = [row["returning_sales" if has_money else "returning_customers"] for row in monthly]
    total = [row["sales" if has_money else "customers"] for row in monthly]
    new = [everything - part for everything, part in zip(total, returning, strict=True)]
    with new_figure(3.5) as (figure, axes):
        axes.bar(months, returning, color=BLUE, width=0.8, label=translate("figure.returning"))
        axes.bar(months, new, bottom=returning, color=SKY, width=0.8, label=translate("figure.first_purchases"))
        _month_ticks(axes, months)
        axes.yaxis.set_major_formatter(
            tick_text((lambda value: format_short_money(value, currency)) if has_money else format_short_money)
        )
        axes.grid(visible=False, axis="x")
        label_axes(
            axes, x=translate("figure.month"), y=translate("figure.net_sales" if has_money else "figure.customers")
        )
        add_legend(figure, *axes.get_legend_handles_labels(), columns=2)
    finding = _sales_finding(measures, total, returning, currency)
    described = translate("figure.stacked", first=months[0], last=months[-1], finding=finding)
    return Chart("sales-by-month", finding, described, figure)


def _sales_finding(
    measures: _Measures, total: Sequence[float], returning: Sequence[float], currency: str | None
) -> str:
    part = measures.get("returning_sales_share")
    if measures.get("sales_total") is None:
        return translate("figure.bought_before", share=format_share(sum(returning) / max(sum(total), 1)))
    if part is None:
        return translate("figure.sales_in_all", money=format_money(measures["sales_total"], currency))
    return translate("figure.sales_returning", share=format_share(part))


def cohort_chart(measures: _Measures) -> Chart | None:
    """Draw which share of each cohort bought again in each later period."""
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
    with new_figure(max(1.9, 1.15 + 0.29 * len(rows))) as (figure, axes):
        heat_map(axes, cells, font_size=7.0 if width > 18 else 8.5 if width > 12 else 10.0)
        axes.set_yticks(range(len(rows)), [f"{row['cohort']} ({format_count(row['size'])})" for row in rows])
        step = 1 if width <= 12 else 2
        axes.set_xticks(range(0, width, step), [str(x + 1) for x in range(0, width, step)])
        label_axes(axes, x=translate(f"after.{unit}"), y=translate("figure.cohort_axis"))
    finding = _cohort_finding(rows, unit)
    described = translate("figure.cohort_grid", rows=len(rows), columns=width, finding=finding)
    return Chart("cohorts", finding, described, figure)


def cohort_sales_chart(measures: _Measures) -> Chart | None:
    """Draw what each cohort spent in each later period, against its first."""
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
    with new_figure(max(1.9, 1.15 + 0.29 * len(rows))) as (figure, axes):
        heat_map(axes, shades, font_size=7.0 if width > 18 else 8.5 if width > 12 else 10.0)
        axes.set_yticks(range(len(rows)), [f"{row['cohort']} ({format_count(row['size'])})" for row in rows])
        step = 1 if width <= 12 else 2
        axes.set_xticks(range(0, width, step), [str(x + 1) for x in range(0, width, step)])
        label_axes(axes, x=translate(f"after.{unit}"), y=translate("figure.cohort_axis"))
    following = [(row["sales_share"][1], row["size"]) for row in rows if row["sales_share"][1] is not None]
    people = sum(size for _, size in following)
    mean = sum(value * size for value, size in following) / people if people else 0.0
    finding = translate(f"figure.money_next.{unit}", share=format_share(mean))
    described = translate("figure.money_grid", rows=len(rows), columns=width, finding=finding)
    return Chart("money-cohorts", finding, described, figure)


def _cohort_finding(rows: Sequence[Mapping[str, Any]], unit: str) -> str:
    def weighted(period: int) -> float | None:
        seen = [row for row in rows if len(row["active_share"]) > period]
        people = sum(row["size"] for row in seen)
        return sum(row["active_share"][period] * row["size"] for row in seen) / people if people else None

    following = weighted(1) or 0.0
    late = 12 if unit == "month" else 4 if unit == "quarter" else 3
    later = weighted(late)
    text = translate(f"figure.next.{unit}", part=format_in_hundred(following))
    return text if later is None else translate(f"figure.next_late.{unit}", text=text, part=_number(later))


def cleaning_reason_name(reason: str) -> str:
    """Name a reason for which rows are set aside."""
    key = f"cleaning.{reason}"
    return translate(key) if has_message(key) else reason.replace("_", " ")


def _percent_axis(axes: "Axes", top: float) -> None:
    axes.set_ylim(0, top or 1)
    percent_ticks(axes.yaxis)


def _month_ticks(axes: "Axes", months: Sequence[str]) -> None:
    step = -(-len(months) // _MAX_MONTH_TICKS)
    axes.set_xticks(
        range(0, len(months), step), [months[i] for i in range(0, len(months), step)], rotation=30, ha="right"
    )
    axes.set_xlim(-0.6, len(months) - 0.4)

"""Charts of scores, prediction quality and economics."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.i18n.formatting import (
    format_count,
    format_decimal,
    format_money,
    format_share,
    format_short_money,
    join_list,
    truncate_name,
)
from repurchase.i18n.messages import format_horizon, format_quantity, format_within, predictor_name, translate
from repurchase.marketing.economics import ReachCurve
from repurchase.report.charts import (
    BLUE,
    DAY_EDGES,
    GREEN,
    GREY,
    INK,
    ORANGE,
    ORDER_EDGES,
    RISK_COLOURS,
    SKY,
    Chart,
    add_legend,
    bin_edges,
    heat_map,
    interval_names,
    label_axes,
    label_bar_end,
    new_figure,
    percent_ticks,
    tick_text,
    to_png,
)
from repurchase.report.record_texts import band_name
from repurchase.storage.run_records import order_risk_bands

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_Floats = npt.NDArray[np.float64]


def reach_chart(curve: ReachCurve, *, uplift_points: float, horizon_days: int, currency: str | None) -> Chart:
    """Draw profit by how many are reached."""
    low, middle, high = curve.profit
    points = f"{uplift_points:.3g} point{'' if uplift_points == 1 else 's'}"
    top = float(middle[curve.reached == curve.best][0])
    finding = f"Nobody pays at an uplift of {points}"
    if curve.best:
        best = f"Reaching the best {format_count(curve.best)} earns most"
        finding = f"{best}: {format_money(top, currency)} within {horizon_days} days"
    with new_figure(3.8) as (figure, axes):
        axes.fill_between(curve.reached, low, high, color=SKY, alpha=0.45, linewidth=0)
        axes.plot(curve.reached, middle, color=BLUE)
        axes.axhline(0.0, color=GREY, linewidth=1)
        if curve.best:
            axes.plot([curve.best], [top], "o", color=INK)
            axes.annotate(
                f"best {format_count(curve.best)}",
                (curve.best, top),
                xytext=(0, 8),
                textcoords="offset points",
                ha="center",
            )
        label_axes(axes, x="customers reached, highest expected gain first", y="profit after margin and costs")
        axes.margins(y=0.12)
        axes.set_xlim(0, int(curve.reached[-1]))
        axes.xaxis.set_major_formatter(tick_text(format_count))
        axes.yaxis.set_major_formatter(tick_text(lambda value: format_short_money(value, currency)))
        end = int(curve.reached[-1])
        for line, words in (
            (high, "twice the uplift"),
            (middle, f"{points}, assumed"),
            (low, "half"),
        ):
            above = float(line[curve.reached >= 0.75 * end].max())
            axes.annotate(words, (end, above), xytext=(-4, 4), textcoords="offset points", ha="right", fontsize=9.5)
    description = (
        f"Profit against customers reached, from none to {format_count(end)}, if those reached buy {points} "
        "more often; the band is half to twice of that."
    )
    return Chart("economics-reach", finding, description, figure)


_Evaluation = Mapping[str, Any]
EVALUATION_PREDICTORS = ("model", "days_since_last", "past_rate")
_PREDICTOR_STYLES: Mapping[str, Mapping[str, Any]] = {
    "model": {"color": BLUE, "marker": "o", "linewidth": 2.4, "zorder": 4},
    "days_since_last": {"color": ORANGE, "marker": "s", "linewidth": 1.6, "linestyle": "--", "zorder": 3},
    "past_rate": {"color": GREEN, "marker": "^", "linewidth": 1.6, "linestyle": "-.", "zorder": 2},
}


def _judged_horizons(evaluation: _Evaluation) -> list[Mapping[str, Any]]:
    """Pick the horizons that were judged."""
    return [row for row in evaluation.get("horizons") or [] if row.get("judged") and row.get("model")]


def calibration_chart(evaluation: _Evaluation) -> Chart | None:
    """Draw predicted against happened, for model and rules, per horizon."""
    curves = {(row["horizon_days"], row["predictor"]): row["bins"] for row in evaluation.get("calibration") or []}
    days = sorted({h for h, predictor in curves if predictor == "model" and curves[h, predictor]})[:4]
    if not days:
        return None
    columns = min(2, len(days))
    rows = -(-len(days) // columns)
    with new_figure(0.6 + 2.9 * rows, nrows=rows, ncols=columns, squeeze=False) as (figure, grid):
        panels = list(grid.flat)
        for axes, horizon_days in zip(panels, days, strict=False):
            _calibration_panel(axes, horizon_days, curves)
        for axes in panels[len(days) :]:
            axes.set_visible(False)
        add_legend(figure, *panels[0].get_legend_handles_labels(), columns=2)
    finding = _calibration_finding(evaluation)
    described = translate("figure.diagonal", horizons=join_list([format_horizon(h) for h in days]), finding=finding)
    return Chart("calibration", finding, described, figure)


def _calibration_panel(axes: "Axes", horizon_days: int, curves: Mapping[tuple[int, str], Any]) -> None:
    highest = 0.0
    axes.axline((0, 0), slope=1, color=GREY, linewidth=1, linestyle=":", zorder=1)
    for predictor in EVALUATION_PREDICTORS:
        bins = [part for part in curves.get((horizon_days, predictor)) or [] if part["n"]]
        predicted = [part["p_mean"] for part in bins]
        happened = [part["bought_share"] for part in bins]
        axes.plot(predicted, happened, label=predictor_name(predictor), markersize=4, **_PREDICTOR_STYLES[predictor])
        highest = max([highest, *predicted, *happened])
    top = min(1.03, highest * 1.06) or 1.0
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    percent_ticks(axes.xaxis)
    percent_ticks(axes.yaxis)
    axes.xaxis.set_major_locator(_sparse_share_ticks())
    axes.yaxis.set_major_locator(_sparse_share_ticks())
    axes.set_title(format_within(horizon_days), fontsize=10.5, loc="left")
    label_axes(axes, x=translate("figure.predicted"), y=translate("figure.bought"))


def _sparse_share_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10])


def _primary(evaluation: _Evaluation) -> Mapping[str, Any] | None:
    rows = _judged_horizons(evaluation)
    wanted = [row for row in rows if row["horizon_days"] == evaluation.get("primary_horizon_days")]
    return next(iter([*wanted, *rows]), None)


def _calibration_finding(evaluation: _Evaluation) -> str:
    row = _primary(evaluation)
    if row is None or row["model"].get("ece") is None:
        return translate("figure.calibration")
    days, off = format_horizon(row["horizon_days"]), _points(row["model"]["ece"])
    text = translate("figure.missed", horizon=days, points=off)
    best = (row.get("rules") or {}).get(str(evaluation.get("best_rule")))
    if not best or best.get("ece") is None:
        return translate("figure.on_average", text=text)
    return translate("figure.rule_missed", text=text, points=_points(best["ece"]))


def _points(difference: float) -> str:
    return translate("figure.points", value=format_decimal(100 * difference, 1))


def gains_chart(evaluation: _Evaluation) -> Chart | None:
    """Draw which share of the buyers is found among the customers contacted first, model beside rules."""
    curves = evaluation.get("gains") or []
    known = {row["horizon_days"] for row in curves if row["predictor"] == "model"}
    if not known:
        return None
    wanted = evaluation.get("primary_horizon_days")
    primary = wanted if isinstance(wanted, int) and wanted in known else min(known)
    shown = {
        row["predictor"]: row
        for row in curves
        if row["horizon_days"] == primary and row["predictor"] in EVALUATION_PREDICTORS
    }
    if shown["model"]["buyers_share"] is None:
        return None
    with new_figure(4.0) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.2, linestyle=":", label=translate("figure.at_random"))
        for predictor in EVALUATION_PREDICTORS:
            if predictor in shown and shown[predictor]["buyers_share"]:
                look = {**_PREDICTOR_STYLES[predictor], "marker": ""}
                axes.plot(
                    shown[predictor]["contacted_share"],
                    shown[predictor]["buyers_share"],
                    label=predictor_name(predictor),
                    **look,
                )
        axes.set(xlim=(0, 1), ylim=(0, 1.01))
        percent_ticks(axes.xaxis)
        percent_ticks(axes.yaxis)
        label_axes(
            axes,
            x=translate("figure.contacted_axis"),
            y=translate("figure.all_bought_axis", within=format_within(primary)),
        )
        handles, labels = axes.get_legend_handles_labels()
        add_legend(figure, [*handles[1:], handles[0]], [*labels[1:], labels[0]], columns=2)
    finding = _gains_finding(shown, evaluation)
    return Chart("gains", finding, translate("figure.gains_curves", finding=finding), figure)


def _gains_finding(shown: Mapping[str, Mapping[str, Any]], evaluation: _Evaluation) -> str:
    found = buyers_captured(shown["model"]["contacted_share"], shown["model"]["buyers_share"], 0.2)
    text = translate("figure.fifth", share=format_share(found))
    best = shown.get(str(evaluation.get("best_rule")))
    if best is None or not best["buyers_share"]:
        return text
    under = format_share(buyers_captured(best["contacted_share"], best["buyers_share"], 0.2))
    return translate("figure.fifth_rule", text=text, share=under)


def buyers_captured(contacted: Sequence[float], buyers: Sequence[float], at: float) -> float:
    """Read a gains curve at one share of customers."""
    right = min(bisect_left(contacted, at), len(contacted) - 1)
    if right == 0 or contacted[right] == at:
        return buyers[right]
    left = right - 1
    part = (at - contacted[left]) / (contacted[right] - contacted[left])
    return buyers[left] + part * (buyers[right] - buyers[left])


_TOP_SHARE = 0.2


def rfm_chart(scores: pl.DataFrame, *, horizon_days: int | None = None) -> Chart | None:
    """Draw customers by number of purchases and days since the last, coloured by the chance to buy again."""
    known = scores.filter(pl.col("frequency").is_not_null() & pl.col("days_since_last").is_not_null())
    if known.is_empty():
        return None
    p = pl.lit(None, dtype=pl.Float64) if horizon_days is None else pl.col(f"p_repurchase_{horizon_days}d")
    placed = known.select(purchases=pl.col("frequency") + 1, silent="days_since_last", p=p)
    across = bin_edges(placed["purchases"], ORDER_EDGES)
    down = bin_edges(placed["silent"], DAY_EDGES)
    cells = (
        placed.with_columns(
            x=pl.Series(across).search_sorted(placed["purchases"], side="right").cast(pl.Int64) - 1,
            y=pl.Series(down).search_sorted(placed["silent"], side="right").cast(pl.Int64) - 1,
        )
        .group_by("x", "y")
        .agg(customers=pl.len(), p=pl.col("p").mean())
        .sort("x", "y")
    )
    with new_figure(0.9 + 0.55 * len(down)) as (figure, axes):
        heat_map(axes, _rfm_groups(cells), font_size=9)
        across_names = interval_names(across, last=_largest_group(placed["purchases"]))
        down_names = interval_names(down, last=_largest_group(placed["silent"]))
        axes.set_xticks(range(len(across)), across_names)
        axes.set_yticks(range(len(down)), down_names)
        label_axes(axes, x=translate("figure.purchase_days"), y=translate("figure.days_silent"))
    finding = _rfm_finding(cells, across_names, down_names, horizon_days)
    if horizon_days is None:
        colour = translate("figure.colour_count")
    else:
        colour = translate("figure.colour_chance", within=format_within(horizon_days))
    return Chart("rfm-map", finding, f"{translate('figure.of_map', colour=colour)} {finding}.", figure)


def _rfm_groups(cells: pl.DataFrame) -> dict[tuple[int, int], tuple[float, str]]:
    coloured_by = "customers" if cells["p"].null_count() else "p"
    top = float(cells[coloured_by].to_numpy().max()) or 1.0
    return {
        (row["x"], row["y"]): (
            row[coloured_by] / top,
            format_count(row["customers"]) + ("" if row["p"] is None else f"\n{format_share(row['p'])}"),
        )
        for row in cells.iter_rows(named=True)
    }


def _largest_group(values: pl.Series) -> int:
    return int(values.to_numpy().max())


def _rfm_finding(cells: pl.DataFrame, across: list[str], down: list[str], horizon_days: int | None) -> str:
    biggest = cells.sort("customers", descending=True).row(0, named=True)
    purchases = across[biggest["x"]]
    text = translate(
        "figure.map_finding",
        n=1 if purchases == "1" else 5,
        customers=format_quantity(biggest["customers"], "customer"),
        bought=purchases,
        silent=down[biggest["y"]],
    )
    if horizon_days is None:
        return text
    return translate(
        "figure.map_chance", text=text, share=format_share(biggest["p"]), within=format_within(horizon_days)
    )


def risk_chart(scored: pl.DataFrame, *, currency: str | None = None) -> Chart | None:
    """Draw customers and value at risk by risk band, the most valuable fifth set apart."""
    known = scored.filter(pl.col("risk_band").is_not_null())
    if known.is_empty():
        return None
    has_money = bool(known["value_at_risk"].is_not_null().any())
    worth = pl.col("clv").fill_null(0) if has_money else pl.lit(0.0)
    top = worth.rank("ordinal", descending=True) <= _TOP_SHARE * known.height if has_money else pl.lit(value=False)
    bands = order_risk_bands(known["risk_band"])
    sums = (
        known.with_columns(top=top)
        .group_by("risk_band", "top")
        .agg(customers=pl.len(), at_risk=pl.col("value_at_risk").fill_null(0).sum())
    )
    parts = {(band, best): (customers, at_risk) for band, best, customers, at_risk in sums.iter_rows()}
    with new_figure(1.35 + 0.5 * len(bands), ncols=2 if has_money else 1, squeeze=False, sharey=True) as (figure, grid):
        _band_bars(grid[0][0], bands, parts, 0, format_count)
        label_axes(grid[0][0], x=translate("figure.customers"), y=translate("figure.risk_axis"))
        if has_money:
            _band_bars(grid[0][1], bands, parts, 1, lambda value: format_short_money(value, currency))
            label_axes(grid[0][1], x=translate("figure.money_at_risk"))
            handles, labels = grid[0][0].get_legend_handles_labels()
            add_legend(figure, handles, labels, columns=2)
    finding = _risk_finding(parts, has_money=has_money, currency=currency)
    sizes = dict(known.group_by("risk_band").len().iter_rows())
    band_texts = (
        translate("figure.band_customers", band=band_name(band), customers=format_quantity(sizes[band], "customer"))
        for band in bands
    )
    return Chart("risk-and-worth", finding, translate("figure.by_band", bands="; ".join(band_texts)), figure)


def _band_bars(axes: "Axes", bands: list[str], parts: dict[Any, Any], which: int, write: Any) -> None:
    best = [parts.get((band, True), (0, 0))[which] for band in bands]
    rest = [parts.get((band, False), (0, 0))[which] for band in bands]
    totals = [a + b for a, b in zip(best, rest, strict=True)]
    if any(best):
        axes.barh(range(len(bands)), best, color=BLUE, height=0.6, label=translate("figure.best_fifth"))
    axes.barh(range(len(bands)), rest, left=best, color=SKY, height=0.6, label=translate("figure.others"))
    for position, total in enumerate(totals):
        label_bar_end(axes, total, position, write(total))
    axes.set_yticks(range(len(bands)), [truncate_name(band_name(band)) for band in bands])
    axes.set_xlim(0, (max(totals) or 1) * 1.35)
    axes.set_ylim(len(bands) - 0.5, -0.5)
    axes.xaxis.set_major_locator(_sparse_count_ticks())
    axes.xaxis.set_major_formatter(tick_text(format_short_money))
    axes.grid(visible=False, axis="y")


def _sparse_count_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=4)


def _risk_finding(parts: dict[Any, Any], *, has_money: bool, currency: str | None) -> str:
    customers = sum(parts.get(("high", best), (0, 0))[0] for best in (True, False))
    text = translate("figure.at_high_risk", customers=format_quantity(customers, "customer"))
    if not has_money:
        return text
    at_risk = sum(parts.get(("high", best), (0, 0))[1] for best in (True, False))
    everything = sum(part[1] for part in parts.values())
    best_customers, best_at_risk = parts.get(("high", True), (0, 0))
    whole = format_money(everything, currency)
    text = translate("figure.at_high_money", text=text, part=format_money(at_risk, currency), whole=whole)
    if not best_customers:
        return text
    return translate("figure.at_high_best", n=best_customers, text=text, money=format_money(best_at_risk, currency))


def probability_chart(scored: pl.DataFrame, *, horizon_days: int) -> Chart | None:
    """Draw how the probabilities to buy again are spread, by risk band."""
    known = scored.select(p=pl.col(f"p_repurchase_{horizon_days}d"), band="risk_band").drop_nulls("p")
    if known.is_empty():
        return None
    tenths = known.with_columns(tenth=(pl.col("p") * 10).floor().clip(0, 9).cast(pl.Int64))
    expected = float(known["p"].sum())
    with new_figure(3.3) as (figure, axes):
        below = [0] * 10
        for band in [*order_risk_bands(known["band"]), None]:
            by_tenth = dict(tenths.filter(pl.col("band").eq_missing(band)).group_by("tenth").len().iter_rows())
            heights = [by_tenth.get(tenth, 0) for tenth in range(10)]
            if any(heights):
                look = {
                    "color": RISK_COLOURS.get(str(band), GREY),
                    "label": translate("figure.band_risk", band=truncate_name(band_name(band)))
                    if band
                    else translate("band.none"),
                }
                axes.bar([t / 10 + 0.05 for t in range(10)], heights, bottom=below, width=0.094, **look)
            below = [a + b for a, b in zip(below, heights, strict=True)]
        axes.set_xlim(0, 1)
        axes.set_xticks([t / 5 for t in range(6)])
        percent_ticks(axes.xaxis)
        axes.yaxis.set_major_formatter(tick_text(format_count))
        axes.grid(visible=False, axis="x")
        label_axes(
            axes, x=translate("figure.chance_axis", within=format_within(horizon_days)), y=translate("figure.customers")
        )
        add_legend(figure, *axes.get_legend_handles_labels(), columns=4)
    everyone = format_quantity(known.height, "customer", form="of")
    finding = translate(
        "figure.will_buy", customers=everyone, buyers=format_count(expected), within=format_within(horizon_days)
    )
    return Chart("probabilities", finding, translate("figure.by_chance", finding=finding), figure)


def clv_chart(scored: pl.DataFrame, *, clv_days: int, currency: str | None = None) -> Chart | None:
    """Draw which share of the expected money each tenth of the customers brings."""
    known = scored["clv"].drop_nulls().sort(descending=True)
    total = float(known.sum())
    if known.len() < 10 or total <= 0:
        return None
    edges = [known.len() * tenth // 10 for tenth in range(11)]
    sums = [float(known[low:high].sum()) for low, high in pairwise(edges)]
    with new_figure(3.3) as (figure, axes):
        names = [
            translate("figure.best_tenth"),
            *(translate("figure.nth", n=n) for n in range(2, 10)),
            translate("figure.last_tenth"),
        ]
        bars = axes.bar(names, sums, color=[BLUE] + [SKY] * 9, width=0.75)
        axes.bar_label(bars, [format_share(part / total) for part in sums], padding=3, fontsize=9)
        axes.set_ylim(0, max(sums) * 1.12)
        axes.yaxis.set_major_formatter(tick_text(lambda value: format_short_money(value, currency)))
        axes.grid(visible=False, axis="x")
        label_axes(
            axes, x=translate("figure.tenths_axis"), y=translate("figure.expected_axis", within=format_within(clv_days))
        )
    whole = format_money(total, currency)
    finding = translate(
        "figure.tenth_finding", share=format_share(sums[0] / total), total=whole, within=format_within(clv_days)
    )
    return Chart("lifetime-value", finding, translate("figure.tenths", finding=finding), figure)


def training_charts(
    customers: pl.DataFrame, evaluation: Mapping[str, Any] | None, *, horizon_days: int | None = None
) -> dict[str, bytes]:
    """Draw what a training run keeps beside its numbers."""
    judged = evaluation or {}
    pictures = [rfm_chart(customers, horizon_days=horizon_days), calibration_chart(judged), gains_chart(judged)]
    return {f"{picture.name}.png": to_png(picture) for picture in pictures if picture is not None}

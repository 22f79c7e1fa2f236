"""Pictures of the scores: the map of customers, who is at risk, and what they are worth."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import polars as pl

from repurchase.report.binning import DAY_EDGES, ORDER_EDGES, edges_for, interval_names
from repurchase.report.canvas import (
    BLUE,
    GREY,
    RISK_COLOURS,
    SKY,
    Picture,
    add_legend,
    drawing,
    heat_map,
    label_axes,
    label_end,
    percent_ticks,
    tick_text,
)
from repurchase.report.language import say
from repurchase.report.phrases import band_name
from repurchase.report.reading import in_order
from repurchase.report.words import brief, count, counted, money, share, short_money, within

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["lifetime_value", "probabilities", "rfm_map", "risk_and_worth"]

TOP_SHARE = 0.2


def rfm_map(scores: pl.DataFrame, *, horizon_days: int | None = None) -> Picture | None:
    """Draw customers by number of purchases and days since the last, coloured by the chance to buy again.

    Parameters
    ----------
    scores : DataFrame
        Scores, or an RFM table: ``frequency``, ``days_since_last`` and, with a horizon, ``p_repurchase_{h}d``.
    horizon_days : int, optional
        Whose probability gives the colour; without it the number of customers does.

    Returns
    -------
    Picture, optional
        None without customers.
    """
    known = scores.filter(pl.col("frequency").is_not_null() & pl.col("days_since_last").is_not_null())
    if known.is_empty():
        return None
    p = pl.lit(None, dtype=pl.Float64) if horizon_days is None else pl.col(f"p_repurchase_{horizon_days}d")
    placed = known.select(purchases=pl.col("frequency") + 1, silent="days_since_last", p=p)
    across = edges_for(placed["purchases"], ORDER_EDGES)
    down = edges_for(placed["silent"], DAY_EDGES)
    cells = (
        placed.with_columns(
            x=pl.Series(across).search_sorted(placed["purchases"], side="right").cast(pl.Int64) - 1,
            y=pl.Series(down).search_sorted(placed["silent"], side="right").cast(pl.Int64) - 1,
        )
        .group_by("x", "y")
        .agg(customers=pl.len(), p=pl.col("p").mean())
        .sort("x", "y")
    )
    with drawing(0.9 + 0.55 * len(down)) as (figure, axes):
        heat_map(axes, _cells(cells), font_size=9)
        across_names = interval_names(across, last=_largest(placed["purchases"]))
        down_names = interval_names(down, last=_largest(placed["silent"]))
        axes.set_xticks(range(len(across)), across_names)
        axes.set_yticks(range(len(down)), down_names)
        label_axes(axes, x=say("figure.purchase_days"), y=say("figure.days_silent"))
    finding = _map_finding(cells, across_names, down_names, horizon_days)
    if horizon_days is None:
        colour = say("figure.colour_count")
    else:
        colour = say("figure.colour_chance", within=within(horizon_days))
    return Picture("rfm-map", finding, f"{say('figure.of_map', colour=colour)} {finding}.", figure)


def _cells(cells: pl.DataFrame) -> dict[tuple[int, int], tuple[float, str]]:
    coloured_by = "customers" if cells["p"].null_count() else "p"
    top = float(cells[coloured_by].to_numpy().max()) or 1.0
    return {
        (row["x"], row["y"]): (
            row[coloured_by] / top,
            count(row["customers"]) + ("" if row["p"] is None else f"\n{share(row['p'])}"),
        )
        for row in cells.iter_rows(named=True)
    }


def _largest(values: pl.Series) -> int:
    return int(values.to_numpy().max())


def _map_finding(cells: pl.DataFrame, across: list[str], down: list[str], horizon_days: int | None) -> str:
    biggest = cells.sort("customers", descending=True).row(0, named=True)
    purchases = across[biggest["x"]]
    text = say(
        "figure.map_finding",
        n=1 if purchases == "1" else 5,
        customers=counted(biggest["customers"], "customer"),
        bought=purchases,
        silent=down[biggest["y"]],
    )
    if horizon_days is None:
        return text
    return say("figure.map_chance", text=text, share=share(biggest["p"]), within=within(horizon_days))


def risk_and_worth(scored: pl.DataFrame, *, currency: str | None = None) -> Picture | None:
    """Draw customers and money at risk by risk band, the most valuable fifth set apart.

    Parameters
    ----------
    scored : DataFrame
        Scores with status ``scored``.
    currency : str, optional
        Of the money.

    Returns
    -------
    Picture, optional
        None without risk bands.
    """
    known = scored.filter(pl.col("risk_band").is_not_null())
    if known.is_empty():
        return None
    has_money = bool(known["value_at_risk"].is_not_null().any())
    worth = pl.col("clv").fill_null(0) if has_money else pl.lit(0.0)
    top = worth.rank("ordinal", descending=True) <= TOP_SHARE * known.height if has_money else pl.lit(value=False)
    bands = in_order(known["risk_band"])
    sums = (
        known.with_columns(top=top)
        .group_by("risk_band", "top")
        .agg(customers=pl.len(), at_risk=pl.col("value_at_risk").fill_null(0).sum())
    )
    parts = {(band, best): (customers, at_risk) for band, best, customers, at_risk in sums.iter_rows()}
    with drawing(1.35 + 0.5 * len(bands), ncols=2 if has_money else 1, squeeze=False, sharey=True) as (figure, grid):
        _band_bars(grid[0][0], bands, parts, 0, count)
        label_axes(grid[0][0], x=say("figure.customers"), y=say("figure.risk_axis"))
        if has_money:
            _band_bars(grid[0][1], bands, parts, 1, lambda value: short_money(value, currency))
            label_axes(grid[0][1], x=say("figure.money_at_risk"))
            handles, labels = grid[0][0].get_legend_handles_labels()
            add_legend(figure, handles, labels, columns=2)
    finding = _risk_finding(parts, has_money=has_money, currency=currency)
    sizes = dict(known.group_by("risk_band").len().iter_rows())
    told = (
        say("figure.band_customers", band=band_name(band), customers=counted(sizes[band], "customer")) for band in bands
    )
    return Picture("risk-and-worth", finding, say("figure.by_band", bands="; ".join(told)), figure)


def _band_bars(axes: "Axes", bands: list[str], parts: dict[Any, Any], which: int, write: Any) -> None:
    best = [parts.get((band, True), (0, 0))[which] for band in bands]
    rest = [parts.get((band, False), (0, 0))[which] for band in bands]
    totals = [a + b for a, b in zip(best, rest, strict=True)]
    if any(best):
        axes.barh(range(len(bands)), best, color=BLUE, height=0.6, label=say("figure.best_fifth"))
    axes.barh(range(len(bands)), rest, left=best, color=SKY, height=0.6, label=say("figure.others"))
    for position, total in enumerate(totals):
        label_end(axes, total, position, write(total))
    axes.set_yticks(range(len(bands)), [brief(band_name(band)) for band in bands])
    axes.set_xlim(0, (max(totals) or 1) * 1.35)
    axes.set_ylim(len(bands) - 0.5, -0.5)
    axes.xaxis.set_major_locator(_few_ticks())
    axes.xaxis.set_major_formatter(tick_text(short_money))
    axes.grid(visible=False, axis="y")


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=4)


def _risk_finding(parts: dict[Any, Any], *, has_money: bool, currency: str | None) -> str:
    customers = sum(parts.get(("high", best), (0, 0))[0] for best in (True, False))
    text = say("figure.at_high_risk", customers=counted(customers, "customer"))
    if not has_money:
        return text
    at_risk = sum(parts.get(("high", best), (0, 0))[1] for best in (True, False))
    everything = sum(part[1] for part in parts.values())
    best_customers, best_at_risk = parts.get(("high", True), (0, 0))
    whole = money(everything, currency)
    text = say("figure.at_high_money", text=text, part=money(at_risk, currency), whole=whole)
    if not best_customers:
        return text
    return say("figure.at_high_best", n=best_customers, text=text, money=money(best_at_risk, currency))


def probabilities(scored: pl.DataFrame, *, horizon_days: int) -> Picture | None:
    """Draw how the probabilities to buy again are spread, by risk band.

    Parameters
    ----------
    scored : DataFrame
        Scores with status ``scored``.
    horizon_days : int
        Which probability.

    Returns
    -------
    Picture, optional
        None without customers.
    """
    known = scored.select(p=pl.col(f"p_repurchase_{horizon_days}d"), band="risk_band").drop_nulls("p")
    if known.is_empty():
        return None
    tenths = known.with_columns(tenth=(pl.col("p") * 10).floor().clip(0, 9).cast(pl.Int64))
    expected = float(known["p"].sum())
    with drawing(3.3) as (figure, axes):
        below = [0] * 10
        for band in [*in_order(known["band"]), None]:
            by_tenth = dict(tenths.filter(pl.col("band").eq_missing(band)).group_by("tenth").len().iter_rows())
            heights = [by_tenth.get(tenth, 0) for tenth in range(10)]
            if any(heights):
                look = {
                    "color": RISK_COLOURS.get(str(band), GREY),
                    "label": say("figure.band_risk", band=brief(band_name(band))) if band else say("band.none"),
                }
                axes.bar([t / 10 + 0.05 for t in range(10)], heights, bottom=below, width=0.094, **look)
            below = [a + b for a, b in zip(below, heights, strict=True)]
        axes.set_xlim(0, 1)
        axes.set_xticks([t / 5 for t in range(6)])
        percent_ticks(axes.xaxis)
        axes.yaxis.set_major_formatter(tick_text(count))
        axes.grid(visible=False, axis="x")
        label_axes(axes, x=say("figure.chance_axis", within=within(horizon_days)), y=say("figure.customers"))
        add_legend(figure, *axes.get_legend_handles_labels(), columns=4)
    everyone = counted(known.height, "customer", form="of")
    finding = say("figure.will_buy", customers=everyone, buyers=count(expected), within=within(horizon_days))
    return Picture("probabilities", finding, say("figure.by_chance", finding=finding), figure)


def lifetime_value(scored: pl.DataFrame, *, clv_days: int, currency: str | None = None) -> Picture | None:
    """Draw which share of the expected money each tenth of the customers brings.

    Parameters
    ----------
    scored : DataFrame
        Scores with status ``scored``.
    clv_days : int
        Days over which lifetime value counts.
    currency : str, optional
        Of the money.

    Returns
    -------
    Picture, optional
        None with fewer than ten customers, or no money.
    """
    known = scored["clv"].drop_nulls().sort(descending=True)
    total = float(known.sum())
    if known.len() < 10 or total <= 0:
        return None
    edges = [known.len() * tenth // 10 for tenth in range(11)]
    sums = [float(known[low:high].sum()) for low, high in pairwise(edges)]
    with drawing(3.3) as (figure, axes):
        names = [say("figure.best_tenth"), *(say("figure.nth", n=n) for n in range(2, 10)), say("figure.last_tenth")]
        bars = axes.bar(names, sums, color=[BLUE] + [SKY] * 9, width=0.75)
        axes.bar_label(bars, [share(part / total) for part in sums], padding=3, fontsize=9)
        axes.set_ylim(0, max(sums) * 1.12)
        axes.yaxis.set_major_formatter(tick_text(lambda value: short_money(value, currency)))
        axes.grid(visible=False, axis="x")
        label_axes(axes, x=say("figure.tenths_axis"), y=say("figure.expected_axis", within=within(clv_days)))
    whole = money(total, currency)
    finding = say("figure.tenth_finding", share=share(sums[0] / total), total=whole, within=within(clv_days))
    return Picture("lifetime-value", finding, say("figure.tenths", finding=finding), figure)

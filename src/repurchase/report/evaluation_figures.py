"""Pictures of how good the predictions are, on later orders that the model had not seen."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repurchase.report.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    Picture,
    add_legend,
    drawing,
    label_axes,
    percent_ticks,
)
from repurchase.report.language import say
from repurchase.report.words import decimal, horizon, listed, named, share, within

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SHOWN", "calibration", "found_among", "gains", "judged"]

Evaluation = Mapping[str, Any]
SHOWN = ("model", "days_since_last", "past_rate")
LOOKS: Mapping[str, Mapping[str, Any]] = {
    "model": {"color": BLUE, "marker": "o", "linewidth": 2.4, "zorder": 4},
    "days_since_last": {"color": ORANGE, "marker": "s", "linewidth": 1.6, "linestyle": "--", "zorder": 3},
    "past_rate": {"color": GREEN, "marker": "^", "linewidth": 1.6, "linestyle": "-.", "zorder": 2},
}


def judged(evaluation: Evaluation) -> list[Mapping[str, Any]]:
    """Pick the horizons that were judged.

    Parameters
    ----------
    evaluation : mapping
        The evaluation.

    Returns
    -------
    list of mapping
        Rows of ``horizons``.
    """
    return [row for row in evaluation.get("horizons") or [] if row.get("judged") and row.get("model")]


def calibration(evaluation: Evaluation) -> Picture | None:
    """Draw predicted against happened, for model and rules, per horizon.

    Parameters
    ----------
    evaluation : mapping
        The evaluation.

    Returns
    -------
    Picture, optional
        None where nothing was judged.
    """
    curves = {(row["horizon_days"], row["predictor"]): row["bins"] for row in evaluation.get("calibration") or []}
    days = sorted({h for h, predictor in curves if predictor == "model" and curves[h, predictor]})[:4]
    if not days:
        return None
    columns = min(2, len(days))
    rows = -(-len(days) // columns)
    with drawing(0.6 + 2.9 * rows, nrows=rows, ncols=columns, squeeze=False) as (figure, grid):
        panels = list(grid.flat)
        for axes, horizon_days in zip(panels, days, strict=False):
            _calibration_panel(axes, horizon_days, curves)
        for axes in panels[len(days) :]:
            axes.set_visible(False)
        add_legend(figure, *panels[0].get_legend_handles_labels(), columns=2)
    finding = _calibration_finding(evaluation)
    described = say("figure.diagonal", horizons=listed([horizon(h) for h in days]), finding=finding)
    return Picture("calibration", finding, described, figure)


def _calibration_panel(axes: "Axes", horizon_days: int, curves: Mapping[tuple[int, str], Any]) -> None:
    highest = 0.0
    axes.axline((0, 0), slope=1, color=GREY, linewidth=1, linestyle=":", zorder=1)
    for predictor in SHOWN:
        bins = [part for part in curves.get((horizon_days, predictor)) or [] if part["n"]]
        predicted = [part["p_mean"] for part in bins]
        happened = [part["bought_share"] for part in bins]
        axes.plot(predicted, happened, label=named(predictor), markersize=4, **LOOKS[predictor])
        highest = max([highest, *predicted, *happened])
    top = min(1.03, highest * 1.06) or 1.0
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    percent_ticks(axes.xaxis)
    percent_ticks(axes.yaxis)
    axes.xaxis.set_major_locator(_few_ticks())
    axes.yaxis.set_major_locator(_few_ticks())
    axes.set_title(within(horizon_days), fontsize=10.5, loc="left")
    label_axes(axes, x=say("figure.predicted"), y=say("figure.bought"))


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10])


def _primary(evaluation: Evaluation) -> Mapping[str, Any] | None:
    rows = judged(evaluation)
    wanted = [row for row in rows if row["horizon_days"] == evaluation.get("primary_horizon_days")]
    return next(iter([*wanted, *rows]), None)


def _calibration_finding(evaluation: Evaluation) -> str:
    row = _primary(evaluation)
    if row is None or row["model"].get("ece") is None:
        return say("figure.calibration")
    days, off = horizon(row["horizon_days"]), _points(row["model"]["ece"])
    text = say("figure.missed", horizon=days, points=off)
    best = (row.get("rules") or {}).get(str(evaluation.get("best_rule")))
    if not best or best.get("ece") is None:
        return say("figure.on_average", text=text)
    return say("figure.rule_missed", text=text, points=_points(best["ece"]))


def _points(difference: float) -> str:
    return say("figure.points", value=decimal(100 * difference, 1))


def gains(evaluation: Evaluation) -> Picture | None:
    """Draw which share of the buyers is found among the customers contacted first, model beside rules.

    Parameters
    ----------
    evaluation : mapping
        The evaluation.

    Returns
    -------
    Picture, optional
        None where nothing was judged.
    """
    curves = evaluation.get("gains") or []
    known = {row["horizon_days"] for row in curves if row["predictor"] == "model"}
    if not known:
        return None
    wanted = evaluation.get("primary_horizon_days")
    primary = wanted if isinstance(wanted, int) and wanted in known else min(known)
    shown = {row["predictor"]: row for row in curves if row["horizon_days"] == primary and row["predictor"] in SHOWN}
    if shown["model"]["buyers_share"] is None:
        return None
    with drawing(4.0) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.2, linestyle=":", label=say("figure.at_random"))
        for predictor in SHOWN:
            if predictor in shown and shown[predictor]["buyers_share"]:
                look = {**LOOKS[predictor], "marker": ""}
                axes.plot(
                    shown[predictor]["contacted_share"],
                    shown[predictor]["buyers_share"],
                    label=named(predictor),
                    **look,
                )
        axes.set(xlim=(0, 1), ylim=(0, 1.01))
        percent_ticks(axes.xaxis)
        percent_ticks(axes.yaxis)
        label_axes(axes, x=say("figure.contacted_axis"), y=say("figure.all_bought_axis", within=within(primary)))
        handles, labels = axes.get_legend_handles_labels()
        add_legend(figure, [*handles[1:], handles[0]], [*labels[1:], labels[0]], columns=2)
    finding = _gains_finding(shown, evaluation)
    return Picture("gains", finding, say("figure.gains_curves", finding=finding), figure)


def _gains_finding(shown: Mapping[str, Mapping[str, Any]], evaluation: Evaluation) -> str:
    found = found_among(shown["model"]["contacted_share"], shown["model"]["buyers_share"], 0.2)
    text = say("figure.fifth", share=share(found))
    best = shown.get(str(evaluation.get("best_rule")))
    if best is None or not best["buyers_share"]:
        return text
    under = share(found_among(best["contacted_share"], best["buyers_share"], 0.2))
    return say("figure.fifth_rule", text=text, share=under)


def found_among(contacted: Sequence[float], buyers: Sequence[float], at: float) -> float:
    """Read a gains curve at one share of customers.

    Parameters
    ----------
    contacted, buyers : sequence of float
        The curve, rising.
    at : float
        Share of customers contacted.

    Returns
    -------
    float
        Share of buyers found, between the curve's points on a straight line.

    Examples
    --------
    >>> found_among([0.0, 0.5, 1.0], [0.0, 0.8, 1.0], 0.25)
    0.4
    """
    right = min(bisect_left(contacted, at), len(contacted) - 1)
    if right == 0 or contacted[right] == at:
        return buyers[right]
    left = right - 1
    part = (at - contacted[left]) / (contacted[right] - contacted[left])
    return buyers[left] + part * (buyers[right] - buyers[left])

"""The picture of economics: what reaching more and more customers earns."""

import numpy as np
import numpy.typing as npt

from repurchase.marketing.economics import Curve
from repurchase.report.canvas import BLUE, GREY, INK, SKY, Picture, drawing, label_axes, tick_text
from repurchase.report.words import count, money, short_money

__all__ = ["reach_picture"]

Floats = npt.NDArray[np.float64]


def reach_picture(curve: Curve, *, uplift_points: float, horizon_days: int, currency: str | None) -> Picture:
    """Draw profit by how many are reached.

    Parameters
    ----------
    curve : Curve
        From `economics.reach_curve`.
    uplift_points : float
        The assumption.
    horizon_days : int
        Days in which purchases count.
    currency : str, optional
        Of the money.

    Returns
    -------
    Picture
        A line for the assumed uplift, and a band from half to twice of it.
    """
    low, middle, high = curve.profit
    points = f"{uplift_points:.3g} point{'' if uplift_points == 1 else 's'}"
    top = float(middle[curve.reached == curve.best][0])
    finding = f"Nobody pays at an uplift of {points}"
    if curve.best:
        finding = f"Reaching the best {count(curve.best)} earns most: {money(top, currency)} within {horizon_days} days"
    with drawing(3.8) as (figure, axes):
        axes.fill_between(curve.reached, low, high, color=SKY, alpha=0.45, linewidth=0)
        axes.plot(curve.reached, middle, color=BLUE)
        axes.axhline(0.0, color=GREY, linewidth=1)
        if curve.best:
            axes.plot([curve.best], [top], "o", color=INK)
            axes.annotate(
                f"best {count(curve.best)}", (curve.best, top), xytext=(0, 8), textcoords="offset points", ha="center"
            )
        label_axes(axes, x="customers reached, highest expected gain first", y="profit after margin and costs")
        axes.margins(y=0.12)
        axes.set_xlim(0, int(curve.reached[-1]))
        axes.xaxis.set_major_formatter(tick_text(count))
        axes.yaxis.set_major_formatter(tick_text(lambda value: short_money(value, currency)))
        end = int(curve.reached[-1])
        for line, words in (
            (high, "twice the uplift"),
            (middle, f"{points}, assumed"),
            (low, "half"),
        ):
            above = float(line[curve.reached >= 0.75 * end].max())
            axes.annotate(words, (end, above), xytext=(-4, 4), textcoords="offset points", ha="right", fontsize=9.5)
    description = (
        f"Profit against customers reached, from none to {count(end)}, if those reached buy {points} "
        "more often; the band is half to twice of that."
    )
    return Picture("economics-reach", finding, description, figure)

"""One look for all figures, and their way out as SVG for the page and PNG for a run's artifacts.

Matplotlib is imported on first use. Nothing of its global state is changed: figures are `Figure` objects, and style
lies in an `rc_context` around making and saving them. The same numbers give the same bytes.
"""

import html
import io
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from repurchase.report.language import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "INK",
    "ORANGE",
    "PALE",
    "RISK_COLOURS",
    "SKY",
    "Picture",
    "add_legend",
    "drawing",
    "folded",
    "heat_map",
    "ink_on",
    "label_axes",
    "label_end",
    "percent_ticks",
    "tick_text",
    "to_png",
    "to_svg",
]

INK = "#1f2a37"
GREY = "#5b6776"
PALE = "#d5dbe3"
BLUE = "#0a5a9c"
SKY = "#8ec3ea"
ORANGE = "#c2570c"
GREEN = "#16775c"
# Dark to light tells the bands apart without colour too.
RISK_COLOURS = {"high": ORANGE, "medium": "#e6b54a", "low": SKY}

WIDTH_INCHES = 6.4
LETTERS_ACROSS, KEY_LETTERS, FOLD_LETTERS = 74, 6, 18
"""What fits into a legend's line, what its marks take, and what fits under one of four bars."""
PNG_DPI = 144
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6eaef",
    "grid.linewidth": 0.8,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 2.0,
    "lines.markersize": 5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "repurchase",
    "path.simplify": False,
}


@dataclass(frozen=True)
class Picture:
    """A figure and what it says.

    Parameters
    ----------
    name : str
        Its key: unique on the page, and its file name.
    finding : str
        What it shows, as a sentence: the title.
    description : str
        What is drawn, for those who do not see it.
    figure : Figure
        The drawing, without a title.
    """

    name: str
    finding: str
    description: str
    figure: "Figure"


@contextmanager
def drawing(height_inches: float = 3.6, **layout: Any) -> Iterator[tuple["Figure", Any]]:
    """Open a figure in the common style.

    Parameters
    ----------
    height_inches : float
        Its height; the width is common to all.
    **layout
        Passed to ``Figure.subplots``.

    Yields
    ------
    figure : Figure
        Empty but for its axes.
    axes : Axes or array of Axes
        As ``Figure.subplots`` gives them.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
        yield figure, figure.subplots(**layout)


def add_legend(figure: "Figure", handles: Sequence[Any], labels: Sequence[str], *, columns: int) -> None:
    """Say above a figure what its marks mean.

    Parameters
    ----------
    figure : Figure
        Where.
    handles, labels : sequence
        As ``Axes.get_legend_handles_labels`` gives them.
    columns : int
        Columns at most; fewer where the labels are long.
    """
    wide = [len(label) + KEY_LETTERS for label in labels]
    while columns > 1 and (sum(wide) if columns >= len(wide) else columns * max(wide)) > LETTERS_ACROSS:
        columns -= 1
    figure.legend(handles, labels, loc="outside upper left", ncols=columns)


def folded(text: str) -> str:
    r"""Break a label's lines so that four labels fit beside each other.

    Parameters
    ----------
    text : str
        The label.

    Returns
    -------
    str
        No line longer than 18 letters, if its words allow.

    Examples
    --------
    >>> folded("within a year\n(12 customers in all)").splitlines()
    ['within a year', '(12 customers in', 'all)']
    """
    return "\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, FOLD_LETTERS))


def label_axes(axes: "Axes", *, x: str = "", y: str = "") -> None:
    """Name both axes, with their units.

    Parameters
    ----------
    axes : Axes
        Where.
    x, y : str
        The names; empty for none.
    """
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def label_end(axes: "Axes", value: float, position: float, text: str) -> None:
    """Write at the end of a lying bar.

    Parameters
    ----------
    axes : Axes
        Where.
    value, position : float
        End and middle of the bar.
    text : str
        What.
    """
    axes.annotate(text, (value, position), xytext=(4, 0), textcoords="offset points", va="center", fontsize=10)


def tick_text(write: Callable[[float], str]) -> Callable[[float, object], str]:
    """Turn a way of writing numbers into a tick formatter.

    Parameters
    ----------
    write : callable
        A number to its text.

    Returns
    -------
    callable
        For ``Axis.set_major_formatter``.

    Examples
    --------
    >>> tick_text("{:.0f}".format)(12.0, 0)
    '12'
    """
    return lambda value, _: write(value)


def heat_map(axes: "Axes", cells: Mapping[tuple[int, int], tuple[float, str]], *, font_size: float) -> None:
    """Fill a grid of labelled cells, darker for more; cell (0, 0) is the upper left one.

    Parameters
    ----------
    axes : Axes
        Where; its limits and ticks are set so that cell (x, y) has its middle at (x, y).
    cells : mapping of (int, int) to (float, str)
        Column and row to shade, from 0 to 1, and text. Cells not given stay empty.
    font_size : float
        Of the texts.
    """
    import numpy as np
    from matplotlib import colormaps

    n_columns, n_rows = (max(cell[side] for cell in cells) + 1 for side in (0, 1))
    shades = np.full((n_rows, n_columns), np.nan)
    for (x, y), (shade, _) in cells.items():
        shades[y, x] = 0.05 + 0.8 * shade
    blues = colormaps["Blues"]
    mesh = np.ma.masked_invalid(shades)
    edges = np.arange(n_columns + 1) - 0.5, np.arange(n_rows + 1) - 0.5
    axes.pcolormesh(*edges, mesh, cmap=blues, vmin=0, vmax=1, edgecolor="white", linewidth=1.5)
    axes.set(xlim=(-0.5, n_columns - 0.5), ylim=(n_rows - 0.5, -0.5))
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": font_size, "linespacing": 1.25}
    for (x, y), (_, text) in cells.items():
        label = axes.text(x, y, text, color=ink_on(blues(shades[y, x])), **look)
        label.set_in_layout(False)


def percent_ticks(axis: "Axis") -> None:
    """Write an axis of shares in percent.

    Parameters
    ----------
    axis : Axis
        Of shares from 0 to 1.
    """
    axis.set_major_formatter(tick_text(lambda value: say("number.percent", value=_short(100 * value))))


def _short(value: float) -> str:
    return f"{value:.3g}".replace(".", say("number.decimal"))


def ink_on(rgba: tuple[float, float, float, float]) -> str:
    """Choose black or white text for a background.

    Parameters
    ----------
    rgba : tuple of float
        The background, each part from 0 to 1.

    Returns
    -------
    str
        The one with the higher contrast (WCAG relative luminance): at least 4.5 to 1.

    Examples
    --------
    >>> ink_on((1.0, 1.0, 1.0, 1.0)), ink_on((0.0, 0.1, 0.4, 1.0))
    ('black', 'white')
    """
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgba[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance > 0.179 else "white"


def to_svg(picture: Picture) -> str:
    """Draw a picture as an SVG element to put into a page.

    Parameters
    ----------
    picture : Picture
        What to draw.

    Returns
    -------
    str
        One ``<svg>`` with title and description, ids of its own, text as text, and no size but its proportions.
    """
    drawn = _saved(picture.figure, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    return _as_element(drawn.decode("utf-8"), picture)


def to_png(picture: Picture) -> bytes:
    """Draw a picture, its finding above it, as PNG.

    Parameters
    ----------
    picture : Picture
        What to draw.

    Returns
    -------
    bytes
        The file's content; it names no date and no software.
    """
    from matplotlib import rc_context
    from matplotlib.image import imsave

    target = io.BytesIO()
    with rc_context(STYLE):
        pixels = np.vstack([_pixels(_heading(picture.finding)), _pixels(picture.figure)])
    unsigned: dict[str, Any] = {"Software": None}
    imsave(target, pixels, format="png", dpi=PNG_DPI, metadata=unsigned)
    return target.getvalue()


def _heading(finding: str) -> "Figure":
    from matplotlib.figure import Figure

    lines = [line.replace("$", r"\$") for line in textwrap.wrap(finding, 64)]
    height = 0.25 * len(lines) + 0.15
    heading = Figure(figsize=(WIDTH_INCHES, height))
    style: dict[str, Any] = {"va": "top", "fontsize": 11.5, "fontweight": "bold", "linespacing": 1.35}
    heading.text(0.015, 1 - 0.08 / height, "\n".join(lines), **style)
    return heading


def _pixels(figure: "Figure") -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    before = figure.dpi
    figure.set_dpi(PNG_DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba()).copy()
    figure.set_dpi(before)
    return drawn


def _saved(figure: "Figure", **how: Any) -> bytes:
    from matplotlib import rc_context

    target = io.BytesIO()
    with rc_context(STYLE):
        figure.savefig(target, **how)
    return target.getvalue()


def _as_attributes(style: "re.Match[str]") -> str:
    """Turn a style into attributes, which a page's content policy need not allow."""
    rules = (rule.partition(":") for rule in html.unescape(style[1]).split(";") if rule.strip())
    return " ".join(f'{name.strip()}="{html.escape(value.strip())}"' for name, _, value in rules)


def _as_element(svg: str, picture: Picture) -> str:
    name = picture.name
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"\bid=\"([^\"]+)\"", rf'id="{name}-\1"', body)
    body = re.sub(r"href=\"#([^\"]+)\"", rf'href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    body = re.sub(r"style=\"([^\"]*)\"", _as_attributes, body)
    opening, rest = body.split(">", 1)
    opening = re.sub(r"\s(width|height)=\"[^\"]*\"", "", opening)
    return (
        f'{opening} role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{html.escape(picture.finding)}</title>'
        f'<desc id="{name}-desc">{html.escape(picture.description)}</desc>{rest.rstrip()}'
    )

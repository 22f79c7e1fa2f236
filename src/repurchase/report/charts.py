"""Chart style, binning, and SVG and PNG export."""

import html
import io
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from repurchase.i18n.formatting import format_percent, significant_places

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


ORDER_EDGES = (1, 2, 3, 4, 6, 10, 20, 50, 100, 200, 500, 1000)
DAY_EDGES = (0, 8, 15, 31, 61, 91, 181, 366, 731, 1461)


def bin_edges(values: pl.Series, candidates: Sequence[int], *, at_most: int = 7) -> list[int]:
    """Choose where groups begin."""
    place = np.searchsorted(np.asarray(candidates), values.to_numpy(), side="right") - 1
    counts = np.bincount(place, minlength=len(candidates))
    used = np.flatnonzero(counts)
    edges = list(candidates[used[0] : used[-1] + 1])
    sizes = [int(size) for size in counts[used[0] : used[-1] + 1]]
    while len(edges) > at_most:
        joined = min(range(1, len(sizes)), key=lambda i: (sizes[i - 1] + sizes[i], -i))
        sizes[joined - 1 : joined + 1] = [sizes[joined - 1] + sizes[joined]]
        del edges[joined]
    return edges


def interval_names(edges: Sequence[int], *, last: int) -> list[str]:
    """Name the groups that begin at the edges."""
    closed = [f"{low}" if high == low + 1 else f"{low}–{high - 1}" for low, high in pairwise(edges)]
    return [*closed, f"{edges[-1]}" if last == edges[-1] else f"{edges[-1]}+"]


INK = "#1f2a37"
GREY = "#5b6776"
_PALE = "#d5dbe3"
BLUE = "#0a5a9c"
SKY = "#8ec3ea"
ORANGE = "#c2570c"
GREEN = "#16775c"
# Dark to light tells the bands apart without colour too.
RISK_COLOURS = {"high": ORANGE, "medium": "#e6b54a", "low": SKY}

_WIDTH_INCHES = 6.4
_LEGEND_LINE_CHARACTERS, _LEGEND_MARKER_CHARACTERS, _LABEL_LINE_CHARACTERS = 74, 6, 18
"""What fits into a legend's line, what its marks take, and what fits under one of four bars."""
_PNG_DPI = 144
_STYLE: Any = {
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
class Chart:
    """A figure and what it says."""

    name: str
    finding: str
    description: str
    figure: "Figure"


@contextmanager
def new_figure(height_inches: float = 3.6, **layout: Any) -> Iterator[tuple["Figure", Any]]:
    """Open a figure in the common style."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained")
        yield figure, figure.subplots(**layout)


def add_legend(figure: "Figure", handles: Sequence[Any], labels: Sequence[str], *, columns: int) -> None:
    """Say above a figure what its marks mean."""
    wide = [len(label) + _LEGEND_MARKER_CHARACTERS for label in labels]
    while columns > 1 and (sum(wide) if columns >= len(wide) else columns * max(wide)) > _LEGEND_LINE_CHARACTERS:
        columns -= 1
    figure.legend(handles, labels, loc="outside upper left", ncols=columns)


def wrap_label(text: str) -> str:
    r"""Break a label's lines so that four labels fit beside each other."""
    return "\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, _LABEL_LINE_CHARACTERS))


def label_axes(axes: "Axes", *, x: str = "", y: str = "") -> None:
    """Name both axes, with their units."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def label_bar_end(axes: "Axes", value: float, position: float, text: str) -> None:
    """Write at the end of a lying bar."""
    axes.annotate(text, (value, position), xytext=(4, 0), textcoords="offset points", va="center", fontsize=10)


def tick_text(write: Callable[[float], str]) -> Callable[[float, object], str]:
    """Turn a way of writing numbers into a tick formatter."""
    return lambda value, _: write(value)


def heat_map(axes: "Axes", cells: Mapping[tuple[int, int], tuple[float, str]], *, font_size: float) -> None:
    """Fill a grid of labelled cells, darker for more; cell (0, 0) is the upper left one."""
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
        label = axes.text(x, y, text, color=_contrast_colour(blues(shades[y, x])), **look)
        label.set_in_layout(False)


def percent_ticks(axis: "Axis") -> None:
    """Write an axis of shares in percent."""
    axis.set_major_formatter(tick_text(lambda value: format_percent(value, significant_places(100 * value))))


def _contrast_colour(rgba: tuple[float, float, float, float]) -> str:
    """Choose black or white text for a background."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgba[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance > 0.179 else "white"


def to_svg(picture: Chart) -> str:
    """Draw a picture as an SVG element to put into a page."""
    drawn = _save_figure(
        picture.figure, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None}
    )
    return _as_element(drawn.decode("utf-8"), picture)


def to_png(picture: Chart) -> bytes:
    """Draw a picture, its finding above it, as PNG."""
    from matplotlib import rc_context
    from matplotlib.image import imsave

    target = io.BytesIO()
    with rc_context(_STYLE):
        pixels = np.vstack([_png_size(_chart_heading(picture.finding)), _png_size(picture.figure)])
    unsigned: dict[str, Any] = {"Software": None}
    imsave(target, pixels, format="png", dpi=_PNG_DPI, metadata=unsigned)
    return target.getvalue()


def _chart_heading(finding: str) -> "Figure":
    from matplotlib.figure import Figure

    lines = [line.replace("$", r"\$") for line in textwrap.wrap(finding, 64)]
    height = 0.25 * len(lines) + 0.15
    heading = Figure(figsize=(_WIDTH_INCHES, height))
    style: dict[str, Any] = {"va": "top", "fontsize": 11.5, "fontweight": "bold", "linespacing": 1.35}
    heading.text(0.015, 1 - 0.08 / height, "\n".join(lines), **style)
    return heading


def _png_size(figure: "Figure") -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    before = figure.dpi
    figure.set_dpi(_PNG_DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba()).copy()
    figure.set_dpi(before)
    return drawn


def _save_figure(figure: "Figure", **how: Any) -> bytes:
    from matplotlib import rc_context

    target = io.BytesIO()
    with rc_context(_STYLE):
        figure.savefig(target, **how)
    return target.getvalue()


def _as_attributes(style: "re.Match[str]") -> str:
    """Turn a style into attributes, which a page's content policy need not allow."""
    rules = (rule.partition(":") for rule in html.unescape(style[1]).split(";") if rule.strip())
    return " ".join(f'{name.strip()}="{html.escape(value.strip())}"' for name, _, value in rules)


def _as_element(svg: str, picture: Chart) -> str:
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

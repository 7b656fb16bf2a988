"""Curves and small marks as SVG data URIs. Nothing that a user wrote stands inside a figure: names are page text.

matplotlib's `Figure` is used without pyplot, so no state is shared and no window system is needed.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from advbench.metrics.rates import Rate

# Petroff's accessible cycle (arXiv:2107.02270) without its grey, which belongs to the controls; the marker is the
# second channel, and the dashes tell the tenth line from the first.
COLOURS = ("#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadb")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*")
ROUNDS = (
    "-",
    (0, (1, 1)),
    (0, (6, 1.2, 1, 1.2)),
    (0, (3, 1, 1, 1, 1, 1)),
)  # of attacks: each time the colours begin again
DASHES = ((0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)))
# Thin lines need contrast: the palest is darkened on a light page, the two darkest are lightened on a dark one.
DARKER = tuple({"#92dadb": "#45aeb0"}.get(colour, colour) for colour in COLOURS)
LIGHTER = tuple({"#bd1f01": "#e8583f", "#832db6": "#b574e0"}.get(colour, colour) for colour in COLOURS)
CONTROLS = (("#94a4a2", "h", (4, 2)), ("#7b8a88", "d", (1.5, 1.5)), ("#a9b5b3", "8", (7, 1.5, 1.5, 1.5)))
MOST_DECADES = 6  # with a label each; of more, every second or third has one
LETTER, LEAST_GAP = 0.027, 0.11  # width of a letter of a tick's text, and between ticks, over that of the axes
LAYERS = ("worst", "control", "attack", "distance")  # the first lies under the others and is wide enough to be seen


@dataclass(frozen=True)
class Scheme:
    """Ink of a light or a dark page."""

    ink: str
    quiet: str
    grid: str
    colours: tuple[str, ...]


LIGHT = Scheme(ink="#1b1f24", quiet="#59636e", grid="#e3e6ea", colours=DARKER)
DARK = Scheme(ink="#eceff3", quiet="#9aa4b0", grid="#30363d", colours=LIGHTER)


@dataclass(frozen=True)
class Line:
    """One curve: at the points (eps, rate), or a step curve of (distance, share that holds beyond it)."""

    kind: str  # worst | attack | distance (a minimum-norm attack) | control
    order: int  # place among the attacks or among the controls: chooses colour and marker
    points: tuple[tuple[float, Rate], ...] = ()
    steps: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Themed:
    """The same figure for a light and for a dark page, as data URIs."""

    light: str
    dark: str


def curves(
    lines: Sequence[Line], *, ticks: Sequence[tuple[float, str]], chance: float, axis: str, many: bool = False
) -> Themed:
    """Robust accuracy over the radius. `ticks`: (position, text) on the x axis; `chance` in [0, 1].

    many: a larger figure, in which only the worst case and the controls have bands: those of a dozen lines cover all.
    """
    return Themed(*(_svg(_curves(lines, ticks, (chance, axis, many), scheme)) for scheme in (LIGHT, DARK)))


def budget_curves(lines: Sequence[Line], *, right: float, chance: float, many: bool = False) -> Themed:
    """Robust accuracy over passes per sample: 0, then decades, up to `right` passes or a little more.

    A marker stands where a run has ended. many: a larger figure.
    """
    return Themed(*(_svg(_budget_curves(lines, right, (chance, many), scheme)) for scheme in (LIGHT, DARK)))


def swatch(kind: str, order: int) -> Themed:
    """The line and marker of one curve, for a legend in page text."""
    return Themed(*(_svg(_swatch(kind, order, scheme)) for scheme in (LIGHT, DARK)))


def _curves(
    lines: Sequence[Line], ticks: Sequence[tuple[float, str]], frame: tuple[float, str, bool], scheme: Scheme
) -> Figure:
    right = max((position for position, _ in ticks), default=1.0) or 1.0
    figure, axes = _frame(*frame, scheme)
    for line in sorted(lines, key=lambda line: LAYERS.index(line.kind)):
        _draw(axes, line, right, scheme, band=line.kind in ("worst", "control") or not frame[2])
    axes.set(xlim=(-0.02 * right, 1.02 * right))
    axes.set_xticks([position for position, _ in ticks], [text for _, text in ticks])
    return figure


def _budget_curves(lines: Sequence[Line], right: float, frame: tuple[float, bool], scheme: Scheme) -> Figure:
    figure, axes = _frame(frame[0], "passes per sample", frame[1], scheme)
    # The zero has a place of its own: clean errors, and attacks that never ask the model.
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    for line in sorted(lines, key=lambda line: LAYERS.index(line.kind)):
        colour, dashes, width, _ = _style(line.kind, line.order, scheme)
        marker = _style("control" if line.kind == "control" else "attack", line.order, scheme)[3]
        x, y = zip(*((passes, 100 * share) for passes, share in line.steps), strict=True)
        above = 2 + LAYERS.index(line.kind)
        axes.plot(x, y, drawstyle="steps-post", color=colour, linestyle=dashes, linewidth=width, zorder=above)
        axes.plot(x[-1:], y[-1:], color=colour, marker=marker, markersize=4.8, zorder=above, clip_on=False)
    right = max(right, 10)
    axes.set(xlim=(-0.08, 1.25 * right))
    ticks = decade_ticks(1.25 * right)
    axes.set_xticks([position for position, _ in ticks], [text for _, text in ticks])
    axes.minorticks_off()
    return figure


def _frame(chance: float, axis: str, many: bool, scheme: Scheme) -> tuple[Figure, Axes]:
    """Axes for robust accuracy in percent, with the line of chance."""
    width, height = (4.6, 3.55) if many else (3.3, 2.55)  # inches
    figure = Figure(figsize=(width, height), frameon=False)
    # Fixed, so that figures side by side line up; on the right there is room for half a tick's text.
    axes = figure.add_axes((0.5 / width, 0.43 / height, 1 - 0.66 / width, 1 - 0.51 / height), frameon=False)
    axes.axhline(100 * chance, color=scheme.quiet, linewidth=0.8, linestyle=(0, (1, 2)))
    axes.text(0, 100 * chance + 1.5, "chance", fontsize=7.5, color=scheme.quiet)
    axes.set(ylim=(-3, 103), yticks=range(0, 101, 25))
    axes.set_xlabel(axis, color=scheme.quiet)
    axes.set_ylabel("robust accuracy, %", color=scheme.quiet)
    axes.tick_params(colors=scheme.quiet, length=0, labelsize=8.5)
    axes.grid(axis="y", color=scheme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _draw(axes: Axes, line: Line, right: float, scheme: Scheme, *, band: bool) -> None:
    colour, dashes, width, marker = _style(line.kind, line.order, scheme)
    above = 2 + LAYERS.index(line.kind)
    if line.steps:
        inside = [(eps, share) for eps, share in line.steps if eps <= right]
        inside.append((right, inside[-1][1]))
        axes.plot(
            *zip(*((eps, 100 * share) for eps, share in inside), strict=True),
            drawstyle="steps-post",
            color=colour,
            linestyle=dashes,
            linewidth=width,
            marker=marker,
            markersize=3.6,
            markevery=(0.04 * (line.order % 5), 0.22),  # spread along the line, no two lines at the same places
            zorder=above,
        )
        return
    x = [eps for eps, _ in line.points]
    low, middle, high = ([100 * getattr(rate, bound) for _, rate in line.points] for bound in ("low", "value", "high"))
    if band:
        axes.fill_between(x, low, high, color=colour, alpha=0.18 if line.kind == "worst" else 0.07, linewidth=0)
    axes.plot(x, middle, color=colour, linestyle=dashes, linewidth=width, marker=marker, markersize=4.2, zorder=above)


def _style(kind: str, order: int, scheme: Scheme) -> tuple[str, object, float, str]:
    if kind == "worst":
        return scheme.ink, "-", 4.0, ""
    if kind == "control":
        colour, marker, dashes = CONTROLS[order % len(CONTROLS)]
        return colour, (0, dashes), 1.8, marker
    colour, marker = scheme.colours[order % len(COLOURS)], MARKERS[order % len(MARKERS)]
    begun = order // len(COLOURS)  # how often the colours have begun again
    if kind == "distance":
        return colour, DASHES[(order + begun) % len(DASHES)], 1.6, marker
    return colour, ROUNDS[begun % len(ROUNDS)], 1.3, marker


def _swatch(kind: str, order: int, scheme: Scheme) -> Figure:
    figure = Figure(figsize=(0.42, 0.16), frameon=False)
    axes = figure.add_axes((0, 0, 1, 1))
    colour, dashes, width, marker = _style(kind, order, scheme)
    axes.plot(
        [0, 1, 2],
        [0, 0, 0],
        color=colour,
        linestyle=dashes,
        linewidth=width,
        marker=marker,
        markersize=4.2,
        markevery=[1],
    )
    axes.set(xlim=(0, 2), ylim=(-1, 1))
    axes.axis("off")
    return figure


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    FigureCanvasSVG(figure)
    # No date and a fixed salt: the same results give the same bytes.
    with mpl.rc_context({"svg.hashsalt": "advbench", "svg.fonttype": "path", "font.family": "DejaVu Sans"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return data_uri(buffer.getvalue(), "svg+xml")


def whisker(rate: Rate) -> str:
    """A rate and its interval on a line from 0 to 100 %, so that overlaps between rows can be seen."""
    low, value, high = (4 + 92 * share for share in (rate.low, rate.value, rate.high))
    return data_uri(
        (
            '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="12" viewBox="0 0 100 12">'
            '<path d="M4 6H96" stroke="#8b949e" stroke-opacity=".45"/>'
            f'<path d="M{low:.1f} 6H{max(high, low + 1):.1f}" stroke="#3f90da" stroke-width="4"/>'
            f'<circle cx="{value:.1f}" cy="6" r="3.4" fill="#3f90da" stroke="#fff" stroke-width="1"/></svg>'
        ).encode(),
        "svg+xml",
    )


def data_uri(content: bytes, kind: str) -> str:
    """`content` as a data URI of the image type `kind` ("png", "svg+xml")."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def tick_texts(grid: Sequence[float], texts: Sequence[str]) -> list[tuple[float, str]]:
    """0 and the radii as ticks; a text that would touch its left neighbour is left out, the last one never."""
    ticks = [(0.0, "0")]
    right = grid[-1] if grid else 1.0

    def touches(eps: float, text: str) -> bool:
        position, before = ticks[-1]
        return (eps - position) / right < max(LEAST_GAP, LETTER * ((len(text) + len(before)) / 2 + 1))

    for eps, text in zip(grid, texts, strict=True):
        while len(ticks) > 1 and eps == right and touches(eps, text):
            ticks.pop()
        if eps == right or not touches(eps, text):
            ticks.append((eps, text))
    return ticks


def decade_ticks(right: float) -> list[tuple[float, str]]:
    """0 and powers of ten up to `right` (at least 1) as ticks: 0, 1, 10, 100, 1k, 10k, .. 1M; few enough to be read."""
    last = math.floor(math.log10(right) + 1e-9)
    step = -(-(last + 1) // MOST_DECADES)
    return [(0.0, "0"), *((10.0**k, _short(k)) for k in range(0, last + 1, step))]


def _short(power: int) -> str:
    """10 to the power of 0, 1, ..: "1", "10", "100", "1k", .., "100M", "1G", then "1e12"."""
    unit, rest = divmod(power, 3)
    return f"{10**rest}{('', 'k', 'M', 'G')[unit]}" if unit < 4 else f"1e{power}"


def round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, ... at or above a positive value: the end of an axis."""
    scale = 10.0 ** math.floor(math.log10(value))
    return next(step * scale for step in (1, 2, 5, 10) if step * scale >= value * (1 - 1e-9))


def colour_scale(steps: int) -> list[tuple[float, float, float]]:
    """viridis in `steps` equal steps, as (red, green, blue) in [0, 1]."""
    scale = mpl.colormaps["viridis"].resampled(steps)
    return [scale(step)[:3] for step in range(steps)]

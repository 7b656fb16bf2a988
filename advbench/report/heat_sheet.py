"""A sheet of images and heat maps as one PNG: tiles in lines, a legend of the colours, a caption, a description."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from advbench.report.map_drawing import PERCENTILE, Array, Scale
from advbench.report.text import visible
from advbench.store import atomic_write

WIDTH, NARROW, LARGEST = 7.2, 3.5, 2.3  # inches: a page, a column of a page, a tile
MARGIN, GAP, BLOCK_GAP = 0.06, 0.07, 0.16
SIZE, LINE, LETTER = 7.0, 0.118, 0.057  # of the text: points; inches per line and, on average, per letter
INK, QUIET = "#1b1f24", "#4a5460"
HEAD_LINES, FOOT_LINES = 6, 11  # at most, above and below a tile; below stand all measures of a map
DPI = 150
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Tile:
    """pixels (H, W, 3) in [0, 1] with text above and below; scale: what its colours mean, None for a photograph.

    once: what is said below the head where it stands for the first time. group: neighbours with the same number stay in
    one line where they fit, such as a map and its controls.
    """

    pixels: Array
    head: str
    foot: str = ""
    scale: Scale | None = None
    once: str = ""
    group: int = 0


@dataclass(frozen=True, eq=False)
class HeatSheet:
    """blocks: tiles that belong together, such as an image and its maps; short blocks share a line.

    columns: the most tiles in a line; a longer block is cut into lines of about the same length, all to the right
    of its first tile. caption: what one must know to read it. description: the figure in words, for people who do not
    see it. facts: what else the file should say about itself (command, seed, versions). width: of the figure, at most,
    in inches.
    """

    blocks: Sequence[Sequence[Tile]]
    caption: str
    description: str
    columns: int = 6
    facts: Mapping[str, str] | None = None
    width: float = WIDTH


@dataclass(frozen=True, eq=False)
class _Line:
    """Blocks that stand side by side, behind `indent` empty places; opens: the first line of a block that was cut."""

    blocks: Sequence[Sequence[Tile]]
    indent: int = 0
    opens: bool = False

    @property
    def across(self) -> int:
        return self.indent + sum(map(len, self.blocks))


@dataclass(frozen=True, eq=False)
class _Placed:
    """A tile, its place in the line, the inches from the left edge, and its text cut into lines."""

    tile: Tile
    column: int
    left: float
    head: list[str]
    foot: list[str]


def write_heat_sheet(path: Path, sheet: HeatSheet) -> None:
    """Draw the sheet as the PNG file `path`. Its text chunks hold the caption, the description and the facts.

    Names of classes and files are drawn as text, whatever they hold; what cannot be seen is written as <U+202E>.
    """
    figure = _figure(sheet)
    texts = {"Description": sheet.description, "Caption": sheet.caption, **(sheet.facts or {})}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a letter that the font lacks is drawn as a box
        metadata = {key: visible(text) for key, text in texts.items()}
        figure.savefig(buffer, format="png", dpi=DPI, metadata=metadata)
    atomic_write(path, lambda file: file.write(buffer.getbuffer()))


def _figure(sheet: HeatSheet) -> Figure:
    lines = _lines(sheet.blocks, sheet.columns)
    most = max(map(len, sheet.blocks), default=1)
    across = max((line.across for line in lines), default=1)
    blocks = max((len(line.blocks) for line in lines), default=1)
    gaps = 2 * MARGIN + (across - 1) * GAP + (blocks - 1) * (BLOCK_GAP - GAP)
    width = min(sheet.width, max(NARROW, across * LARGEST + gaps))
    side = min(LARGEST, (width - gaps) / across)
    rows = _without_repeats([_placed(line, side) for line in lines], most, side)
    heights = [_height(row, side) for row in rows]
    before = [BLOCK_GAP if line.opens and number else 0.0 for number, line in enumerate(lines)]
    caption = textwrap.wrap(visible(sheet.caption), max(20, int((width - 2 * MARGIN) / (LETTER * 0.93))))
    scales = list(dict.fromkeys(tile.scale.signed for block in sheet.blocks for tile in block if tile.scale))
    beside = 2 if width > 6 else 1  # legends in a line
    legend = 0.2 * -(-len(scales) // beside)
    total = sum(heights) + sum(before) + legend + LINE * len(caption) + 2 * MARGIN
    figure = Figure(figsize=(width, total), facecolor="white")
    top = total - MARGIN
    for row, height, gap in zip(rows, heights, before, strict=True):
        _draw_row(figure, row, top - gap, side)
        top -= height + gap
    for position, signed in enumerate(scales):
        left = MARGIN + position % beside * 0.5 * (width - 2 * MARGIN)
        _draw_legend(figure, signed, left, top - 0.06 - 0.2 * (position // beside))
    style = {"fontsize": SIZE * 0.93, "color": QUIET, "va": "top", "linespacing": 1.2}
    _write(figure, MARGIN, top - legend, caption, style)
    return figure


def _lines(blocks: Sequence[Sequence[Tile]], columns: int) -> list[_Line]:
    """The blocks in lines of at most `columns` tiles: several to a line where they fit, cut where one does not."""
    most = max(map(len, blocks), default=1)
    if most > columns:
        return [line for block in blocks for line in _cut_block(block, columns - 1)]
    each = max(1, columns // most)
    return [_Line(blocks[start : start + each]) for start in range(0, len(blocks), each)]


def _cut_block(block: Sequence[Tile], columns: int) -> list[_Line]:
    """The first tile, and to its right the others in lines of at most `columns`: no line begins below the first tile,
    and what belongs together stays together where it fits."""
    groups = [list(members) for _, members in groupby(block[1:], key=lambda tile: tile.group)]
    widest = max(map(len, groups), default=1)
    if widest > columns:
        lines = [line for group in groups for line in _parts(group, columns)]
    else:
        lines = [list(chain.from_iterable(line)) for line in _parts(groups, columns // widest)]
    first, *others = lines or [[]]
    return [_Line([[*block[:1], *first]], opens=True), *(_Line([line], indent=1) for line in others)]


def _parts(items: Sequence[Item], most: int) -> list[Sequence[Item]]:
    """At most `most` in a part, and as few places empty as can be: seven of which six would fit stand as four and
    three."""
    if not items:
        return []
    each = -(-len(items) // -(-len(items) // most))
    return [items[start : start + each] for start in range(0, len(items), each)]


def _placed(line: _Line, side: float) -> list[_Placed]:
    letters = max(6, int(side / LETTER))
    placed, left, column = [], MARGIN + line.indent * (side + GAP), line.indent
    for block in line.blocks:
        for tile in block:
            head = _wrapped(tile.head, letters, HEAD_LINES)
            placed.append(_Placed(tile, column, left, head, _wrapped(tile.foot, letters, FOOT_LINES)))
            left += side + GAP
            column += 1
        left += BLOCK_GAP - GAP
    return placed


def _wrapped(text: str, letters: int, most: int) -> list[str]:
    """The lines of a text, each cut at blanks where it is too long; of more than `most`, the last ends in ".."."""
    whole = [" ".join(_cut(word, letters) for word in line.split(" ")) for line in visible(text).split("\n")]
    lines = [part for line in whole for part in textwrap.wrap(line, letters)]
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], lines[most - 1][: letters - 2] + ".."]


def _cut(word: str, letters: int) -> str:
    """A long name with a blank behind its last underscore that still fits: integrated_ gradients."""
    place = word[:letters].rfind("_") + 1
    return f"{word[:place]} {word[place:]}" if len(word) > letters and place else word


def _without_repeats(rows: list[list[_Placed]], most: int, side: float) -> list[list[_Placed]]:
    """Without a head that stands already above the tile, in the same column of the line before; what is said once is
    said with the first head of its kind."""
    above: dict[int, str] = {}
    said: set[tuple[str, str]] = set()
    shown = []
    for row in rows:
        line = []
        for at in row:
            known = most > 1 and above.get(at.column) == at.tile.head
            first = at.tile.once and (at.tile.head, at.tile.once) not in said
            once = _wrapped(at.tile.once, max(6, int(side / LETTER)), HEAD_LINES) if first else []
            line.append(replace(at, head=[*([] if known else at.head), *once]))
            said.add((at.tile.head, at.tile.once))
        above = {at.column: at.tile.head for at in row}
        shown.append(line)
    return shown


def _height(row: Sequence[_Placed], side: float) -> float:
    heads, feet = (max((len(text) for text in texts), default=0) for texts in _texts(row))
    return heads * LINE + max(_aspect(at.tile) for at in row) * side + feet * LINE + 2 * GAP


def _texts(row: Sequence[_Placed]) -> tuple[list[list[str]], list[list[str]]]:
    return [at.head for at in row], [at.foot for at in row]


def _aspect(tile: Tile) -> float:
    height, width = tile.pixels.shape[:2]
    return float(height / width)


def _draw_row(figure: Figure, row: Sequence[_Placed], top: float, side: float) -> None:
    width, total = figure.get_size_inches()
    heads = max(len(at.head) for at in row)
    for at in row:
        height = side * _aspect(at.tile)
        bottom = top - heads * LINE - 0.03 - height
        axes = figure.add_axes((at.left / width, bottom / total, side / width, height / total))
        axes.imshow(at.tile.pixels, vmin=0, vmax=1, interpolation="antialiased", aspect="auto")
        axes.set_axis_off()
        style = {"fontsize": SIZE, "color": INK, "linespacing": 1.15}
        _write(figure, at.left, bottom + height + 0.03, at.head, {**style, "va": "bottom"})
        _write(figure, at.left, bottom - 0.03, at.foot, {**style, "va": "top", "color": QUIET})


def _draw_legend(figure: Figure, signed: bool, left: float, top: float) -> None:
    """A strip of the colours with what their ends mean."""
    width, total = figure.get_size_inches()
    before = "against" if signed else "none"
    after = (
        f"for (ends at the {PERCENTILE}th percentile)"
        if signed
        else f"evidence (ends at the {PERCENTILE}th percentile)"
    )
    strip = min(1.1, 0.2 * width)
    start = left + LETTER * (len(before) + 1)
    axes = figure.add_axes((start / width, (top - 0.05) / total, strip / width, 0.1 / total))
    colours = mpl.colormaps[Scale(1.0, signed).colours](np.linspace(0, 1, 256))[None, :, :3]
    axes.imshow(colours, aspect="auto", interpolation="nearest")
    axes.set_axis_off()
    style = {"fontsize": SIZE * 0.93, "color": QUIET, "va": "center"}
    _write(figure, left, top, [before], style)
    _write(figure, start + strip + LETTER, top, [after], style)


def _write(figure: Figure, left: float, y: float, lines: Sequence[str], style: Mapping[str, object]) -> None:
    if lines:
        width, total = figure.get_size_inches()
        figure.text(left / width, y / total, "\n".join(lines), parse_math=False, **style)  # type: ignore[arg-type]

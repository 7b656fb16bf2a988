"""Sheets of tiles: the filters of a layer, the maps it puts out, and how every feature figure is titled and saved."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from advbench.bench.grid import pixels
from advbench.features.filters import Scale, as_tiles, tiled
from advbench.report.text import visible
from advbench.store import atomic_write

MOST_OUT, MOST_IN = 16, 20  # of a deeper layer's filters, which are many and say little
_DPI = 160
_END = 0.998


class Words(NamedTuple):
    """What stands above a figure and below it."""

    title: str
    caption: str


def save(figure: Figure, path: Path, words: Words) -> None:
    """Write the figure as a PNG with its title and its caption, both wrapped to its width."""
    width = figure.get_figwidth()
    title = "\n".join(textwrap.wrap(visible(words.title), int(width * 13)))
    caption = "\n".join(textwrap.wrap(visible(words.caption), int(width * 16.5)))
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold", parse_math=False)
    figure.supxlabel(caption, x=0.01, ha="left", fontsize=7.5, color="0.25", parse_math=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    atomic_write(path, lambda file: file.write(buffer.getbuffer()))


def bare(axes: Axes) -> None:
    """No ticks and no frame; labels stay."""
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_visible(False)


def write_filters(path: Path, weight: Tensor, words: Words, *, scale: Scale = "each") -> None:
    """Draw filters (out, in, h, w): as colour tiles if they see one or three channels, else out x in grey tiles."""
    out, inputs = weight.shape[:2]
    if inputs in (1, 3):
        columns = max(1, round((out * 1.6) ** 0.5))
        sheet = tiled(_enlarged(as_tiles(weight, scale=scale)), columns)
        rows = -(-out // columns)
        figure = Figure(figsize=(7.2, 6.7 * rows / columns + 0.8), layout="constrained")
        axes = figure.subplots()
        axes.imshow(pixels(sheet), vmin=0, vmax=1, cmap="gray", interpolation="nearest")
        _mark_rows(axes, weight.shape[2] * _zoom(weight), rows, columns, "filter")
    else:
        part = weight[:MOST_OUT, :MOST_IN]
        columns = part.shape[1]
        tiles = _enlarged(as_tiles(part, scale=scale).flatten(0, 1)[:, None])
        figure = Figure(figsize=(7.2, 6.7 * part.shape[0] / columns + 1.0), layout="constrained")
        axes = figure.subplots()
        axes.imshow(pixels(tiled(tiles, columns)), vmin=0, vmax=1, cmap="gray", interpolation="nearest")
        _mark_rows(axes, weight.shape[2] * _zoom(weight), part.shape[0], 1, f"output channel (of {out})")
        step = weight.shape[3] * _zoom(weight) + 1
        axes.set_xticks([0.5 * step + i * step for i in range(columns)], [str(i) for i in range(columns)], fontsize=6)
        axes.set_xlabel(f"input channel (of {inputs})", fontsize=7)
    save(figure, path, words)


def write_activations(
    path: Path, image: Tensor, maps: Tensor, channels: list[int], words: Words, *, scale: Scale = "global"
) -> None:
    """Draw the image (C, H, W) beside its maps (M, h, w) of `channels`.

    global: one scale for all maps, so that a channel that is silent stays dark; it ends at the 99.8th percentile of all
    magnitudes. each: every map fills the colours.
    Maps with negative values are drawn around 0.
    """
    count = len(maps)
    columns = max(1, round((count * 1.35) ** 0.5))
    rows = -(-count // columns)
    signed = bool((maps < 0).any())
    ends = maps.abs().flatten(1).amax(1).clamp_min(1e-12)
    # A single unit at a border can be ten times as strong as all others.
    end = max(float(np.quantile(maps.abs().numpy(), _END)), 1e-12)
    shown = maps / ends[:, None, None] if scale == "each" else maps
    sheet = tiled(shown[:, None], columns, fill=torch.nan)[0]
    figure = Figure(figsize=(9.6, max(2.6, 5.8 * rows / columns) + 0.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 3])
    left.imshow(pixels(image), vmin=0, vmax=1, cmap="gray")
    left.set_title("the image", fontsize=8, loc="left")
    bare(left)
    colours = mpl.colormaps["PuOr_r" if signed else "viridis"].with_extremes(bad="white")
    top = 1.0 if scale == "each" else end
    drawn = right.imshow(
        np.asarray(sheet), cmap=colours, vmin=-top if signed else 0.0, vmax=top, interpolation="nearest"
    )
    _mark_rows(right, maps.shape[1], rows, columns, "channel", names=channels)
    extend = "neither" if scale == "each" else "both" if signed else "max"
    bar = figure.colorbar(drawn, ax=right, fraction=0.03, pad=0.01, extend=extend)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("share of the map's own maximum" if scale == "each" else "activation", fontsize=7)
    save(figure, path, words)


def _zoom(weight: Tensor) -> int:
    """How many pixels of a sheet a weight takes, so that the gaps between small filters stay narrow."""
    return max(1, -(-12 // max(weight.shape[2:])))


def _enlarged(tiles: Tensor) -> Tensor:
    zoom = _zoom(tiles)
    return tiles.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)


def _mark_rows(axes: Axes, height: int, rows: int, columns: int, label: str, *, names: list[int] | None = None) -> None:
    """Say at the left which tile each row begins with."""
    bare(axes)
    step = height + 1
    firsts = [i * columns for i in range(rows)]
    axes.set_yticks(
        [0.5 * step + i * step for i in range(rows)],
        [str(first if names is None else names[first]) for first in firsts],
        fontsize=6,
    )
    axes.tick_params(length=0)
    axes.set_ylabel(label if columns == 1 else f"{label} (first of each row)", fontsize=7)

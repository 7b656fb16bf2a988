"""Strips of pictures: what excites a channel and what of it the channel saw, nearest images, objects cut out."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from advbench.bench.grid import pixels
from advbench.core.receptive_field import Box
from advbench.features.neighbours import Neighbours
from advbench.features.patches import Patches, padded
from advbench.report.feature_sheets import Words, bare, save
from advbench.report.text import visible

_TILE = 0.92  # inches
_END = 0.996  # quantile of a projection's magnitudes that becomes black or white


def write_patches(
    path: Path,
    found: Patches,
    crops: Sequence[Sequence[Tensor]],
    boxes: Sequence[Sequence[Box]],
    words: Words,
    *,
    projections: Sequence[Sequence[Tensor]] | None = None,
    optimised: Sequence[Tensor] | None = None,
) -> None:
    """Draw a row of patches per channel, the strongest at the left, with image id and activation below each.

    crops, boxes: of `features.patches`. projections: signed, of the same sizes; drawn as a second row around grey, each
    on a scale that ends at its 99.6th percentile. optimised: an image (C, h, w) per channel, made by whatever method;
    drawn at the left.
    """
    lines = 1 if projections is None else 2
    count, ahead = found.values.shape[1], 0 if optimised is None else 1
    rows = lines * len(crops)
    figure = Figure(
        figsize=(_TILE * (count + ahead) + 0.75, (_TILE + 0.17) * rows + 1.0),
        layout=ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01),
    )
    axes = figure.subplots(rows, count + ahead, squeeze=False)
    for c, (patches, places) in enumerate(zip(crops, boxes, strict=True)):
        row, whole = axes[lines * c], _largest(places)
        for i, (patch, place) in enumerate(zip(patches, places, strict=True)):
            _show(row[ahead + i], padded(patch, place, whole, fill=0.94))
            row[ahead + i].set_xlabel(
                f"#{int(found.ids[c, i])}  {float(found.values[c, i]):.3g}", fontsize=6, labelpad=1
            )
            if projections is not None:
                signal = projections[c][i]
                end = float(np.quantile(signal.abs().numpy(), _END))  # a few pixels stand far out
                tile = (0.5 + 0.5 * signal / max(end, 1e-12)).clamp(0.0, 1.0)
                _show(axes[lines * c + 1][ahead + i], padded(tile, place, whole, fill=0.94))
        if optimised is not None:
            _show(row[0], optimised[c])
            row[0].set_xlabel("optimised", fontsize=6, labelpad=1)
            if projections is not None:
                axes[lines * c + 1][0].set_axis_off()
        row[0].set_ylabel(f"channel {int(found.channels[c])}", fontsize=7.5)
        if projections is not None:
            axes[lines * c + 1][0].set_ylabel("projection", fontsize=7, color="0.35")
    save(figure, path, words)


def write_neighbours(
    path: Path,
    images: Sequence[Tensor],
    spaces: Sequence[tuple[str, Neighbours]],
    names: Sequence[str],
    words: Words,
) -> None:
    """Draw for each query a row per space: the query, then its neighbours, the nearest first, with label and distance.

    images: those that positions in `spaces` count; names: what each is called. All spaces have the same queries.
    """
    first = spaces[0][1]
    rows, columns = len(first.queries) * len(spaces), first.positions.shape[1] + 1
    figure = Figure(
        figsize=(1.22 * columns + 0.5, 1.56 * rows + 0.9), layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02)
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    for q, query in enumerate(first.queries.tolist()):
        for s, (space, found) in enumerate(spaces):
            row = axes[q * len(spaces) + s]
            _show(row[0], images[query])
            row[0].set_xlabel(_short(f"query: {names[query]}"), fontsize=6.5, fontweight="bold", parse_math=False)
            row[0].set_ylabel(space, fontsize=7)
            for side in row[0].spines.values():
                side.set(visible=True, linewidth=2.0)
            for k, position in enumerate(found.positions[q].tolist()):
                _show(row[k + 1], images[position])
                said = _short(names[position])
                row[k + 1].set_xlabel(f"{said}\n{float(found.distances[q, k]):.3g}", fontsize=6.5, parse_math=False)
    save(figure, path, words)


def write_cutouts(
    path: Path,
    images: Sequence[Tensor],
    saliency: Sequence[Tensor],
    objects: Sequence[Tensor],
    *,
    names: Sequence[str],
    words: Words,
) -> None:
    """Draw a row per image (C, H, W): itself by its name, its saliency (H, W) to the 99.6th percentile, and the object,
    what is outside of the mask (H, W) bool in light grey."""
    figure = Figure(figsize=(6.4, 2.2 * len(images) + 0.9), layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02))
    axes = figure.subplots(len(images), 3, squeeze=False)
    for row, image, heat, mask, name in zip(axes, images, saliency, objects, names, strict=True):
        _show(row[0], image)
        row[0].set_xlabel(visible(name), fontsize=7, parse_math=False)
        row[1].imshow(heat.numpy(), cmap="viridis", vmin=0.0, vmax=max(float(np.quantile(heat.numpy(), _END)), 1e-12))
        bare(row[1])
        row[1].set_xlabel("saliency", fontsize=7)
        _show(row[2], torch.where(mask, image, 0.94))
        row[2].set_xlabel(f"object: {float(mask.float().mean()):.0%} of the image", fontsize=7)
    save(figure, path, words)


def _show(axes: Axes, image: Tensor) -> None:
    axes.imshow(pixels(image), vmin=0, vmax=1, cmap="gray", interpolation="nearest", aspect="equal")
    bare(axes)


def _short(name: str) -> str:
    return textwrap.shorten(visible(name), 22, placeholder="...")


def _largest(boxes: Sequence[Box]) -> Box:
    """A tile that holds every patch of a channel."""
    return Box(0, 0, max(box.height for box in boxes), max(box.width for box in boxes))

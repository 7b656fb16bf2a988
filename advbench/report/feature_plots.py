"""Plots over many images and many epochs: embeddings, feature evolution, architectures beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torch.nn import functional

from advbench.bench.grid import pixels
from advbench.features.comparison import Comparison
from advbench.features.evolution import Evolution, similarity
from advbench.features.filters import as_tiles, tiled
from advbench.report.feature_moves import COLOURS, SHAPES
from advbench.report.feature_sheets import Words, bare, save
from advbench.report.text import visible

_THUMB = 72  # pixels


def write_embedding(
    path: Path,
    points: Tensor,
    cells: Tensor,
    images: Tensor,
    *,
    groups: tuple[Tensor, Sequence[str]] | None,
    axes_names: tuple[str, str],
    words: Words,
) -> None:
    """Draw points (N, 2) at the left, and the images (N, C, H, W) in their cells of a square grid at the right.

    groups: (labels (N,), names): up to ten classes become colours and shapes. With more, or none, the points are drawn
    as small pictures.
    """
    figure = Figure(figsize=(12.6, 6.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    thumbs = functional.interpolate(
        images, size=(_THUMB, _THUMB), mode="area" if images.shape[-1] > _THUMB else "nearest"
    )
    if groups is not None and len(set(groups[0].tolist())) <= len(COLOURS):
        for i, label in enumerate(sorted(set(groups[0].tolist()))):
            mine = points[groups[0] == label]
            left.scatter(
                mine[:, 0], mine[:, 1], s=18, c=COLOURS[i], marker=SHAPES[i], alpha=0.8, linewidths=0,
                label=visible(groups[1][label]),
            )  # fmt: skip
        left.legend(fontsize=7, frameon=True, ncols=2)
    else:
        left.scatter(points[:, 0], points[:, 1], s=4, c="black")
        for point, thumb in zip(points.tolist(), thumbs, strict=True):
            picture = OffsetImage(pixels(thumb), zoom=0.31, cmap="gray", clim=(0, 1))
            left.add_artist(AnnotationBbox(picture, (point[0], point[1]), frameon=False, pad=0))
        left.margins(0.07)
    left.set(xlabel=axes_names[0], ylabel=axes_names[1])
    left.tick_params(labelsize=7)
    left.set_title("where the images lie", fontsize=9, loc="left")
    side = int(len(points) ** 0.5) + (int(len(points) ** 0.5) ** 2 < len(points))
    placed = thumbs.new_ones(side * (-(-len(points) // side)), *thumbs.shape[1:])
    placed[cells] = thumbs
    right.imshow(pixels(tiled(placed, side)), vmin=0, vmax=1, cmap="gray", interpolation="nearest")
    right.set_title("the same images, each moved to a cell of a grid", fontsize=9, loc="left")
    bare(right)
    save(figure, path, words)


def write_evolution(
    path: Path,
    evolution: Evolution,
    accuracy: Sequence[tuple[int, float]] | None,
    words: Words,
    *,
    projected: Sequence[Mapping[str, Tensor]] | None = None,
) -> None:
    """Draw the strongest image of each followed channel at each checkpoint, and how far each layer has settled.

    accuracy: (epoch, share) beside it. projected: for each checkpoint, by layer, signed pictures (C, ...) to be drawn
    around grey instead of the images, each to its largest magnitude; layers that it lacks keep their images.
    """
    kept = evolution.checkpoints
    layers = list(evolution.layers)
    rows = [(layer, c) for layer in layers for c in range(len(kept[0].strongest[layer].channels))]
    height = max(3.6, 0.62 * len(rows) + 1.1)
    figure = Figure(figsize=(4.6 + 0.62 * (len(kept) + 2), height), layout="constrained")
    strips, curves = figure.subfigures(1, 2, width_ratios=[0.62 * (len(kept) + 2), 4.6], squeeze=False)[0]
    axes = strips.subplots(len(rows), len(kept), squeeze=False)
    for line, (layer, c) in zip(axes, rows, strict=True):
        for k, (one, checkpoint) in enumerate(zip(line, kept, strict=True)):
            strongest = checkpoint.strongest[layer]
            signals = None if projected is None else projected[k].get(layer)
            image = evolution.probe[int(strongest.ids[c])] if signals is None else _around_grey(signals[c])
            one.imshow(pixels(image), vmin=0, vmax=1, cmap="gray")
            bare(one)
            one.set_xlabel(f"#{int(strongest.ids[c])}", fontsize=5.5, labelpad=0.5)
        line[0].set_ylabel(
            f"{layer}\nchannel {int(kept[0].strongest[layer].channels[c])}",
            fontsize=6,
            rotation=0,
            ha="right",
            va="center",
        )
    for one, checkpoint in zip(axes[0], kept, strict=True):
        one.set_title(f"epoch {checkpoint.epoch}", fontsize=7)
    plots = curves.subplots(2 if accuracy else 1, 1, squeeze=False)[:, 0]
    _settling(plots[0], evolution)
    if accuracy:
        plots[1].plot(*zip(*[(e, 100 * share) for e, share in accuracy], strict=True), marker="o", ms=3, color="black")
        plots[1].set(xlabel="epoch", ylabel="held-out accuracy (%)")
        plots[1].grid(alpha=0.3)
        plots[1].xaxis.set_major_locator(MaxNLocator(integer=True))
    save(figure, path, words)


def write_comparison(path: Path, compared: Sequence[tuple[str, Comparison, Tensor]], words: Words) -> None:
    """Draw each network's first filters (out, in, h, w) on one scale, and below the shares it was measured at."""
    figure = Figure(figsize=(max(7.6, 3.2 * len(compared)), 6.4), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.25, 1], squeeze=False)[:, 0]
    for axes, (name, found, weight) in zip(upper.subplots(1, len(compared), squeeze=False)[0], compared, strict=True):
        flat = weight if weight.shape[1] in (1, 3) else weight.mean(1, keepdim=True)
        sheet = tiled(as_tiles(flat, scale="global"), max(1, round(len(flat) ** 0.5)))
        axes.imshow(pixels(sheet), vmin=0, vmax=1, cmap="gray", interpolation="nearest")
        kernel = f"{found.kernel[0]} x {found.kernel[1]}, stride {found.stride[0]}"
        axes.set_title(f"{visible(name)}\n{found.filters} filters {kernel}", fontsize=8, loc="left")
        bare(axes)
    bars = lower.subplots()
    quantities = (
        ("dead channels\n(mean over ReLUs)", [found.dead_share for _, found, _ in compared]),
        ("filter energy above\n1/4 cycle per pixel", [found.high_frequency for _, found, _ in compared]),
        ("filter energy that\nthe stride folds back", [found.aliasing for _, found, _ in compared]),
        ("filters with\na near-duplicate", [found.duplicates for _, found, _ in compared]),
    )
    width = 0.8 / len(compared)
    for i, (name, _, _) in enumerate(compared):
        places = [q + (i - (len(compared) - 1) / 2) * width for q in range(len(quantities))]
        drawn = bars.bar(
            places, [100 * shares[i] for _, shares in quantities], width * 0.94, color=COLOURS[i % len(COLOURS)],
            label=visible(name),
        )  # fmt: skip
        bars.bar_label(drawn, fmt="%.1f", fontsize=7, padding=1)
    bars.set_xticks(range(len(quantities)), [name for name, _ in quantities], fontsize=7.5)
    bars.set_ylabel("share (%)", fontsize=8)
    bars.margins(y=0.15)
    bars.legend(fontsize=7.5, frameon=False)
    for side in ("top", "right"):
        bars.spines[side].set_visible(False)
    save(figure, path, words)


def _around_grey(signal: Tensor) -> Tensor:
    return 0.5 + 0.5 * signal / signal.abs().max().clamp_min(1e-12)


def _settling(axes: Axes, evolution: Evolution) -> None:
    epochs = [checkpoint.epoch for checkpoint in evolution.checkpoints][1:]
    for i, (layer, values) in enumerate(zip(evolution.layers, similarity(evolution).tolist(), strict=True)):
        axes.plot(epochs, values, label=layer, marker=SHAPES[i % len(SHAPES)], ms=4, color=COLOURS[i % len(COLOURS)])
    axes.set(xlabel="epoch", ylabel="linear CKA with the checkpoint before", ylim=(None, 1.01))
    axes.set_xticks(epochs)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, title="layer", title_fontsize=7)

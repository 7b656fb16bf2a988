"""Where an attack takes images in the plane of their features: arrows, beside those of noise of the same size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from advbench.report.feature_sheets import Words, save
from advbench.report.text import visible

# Okabe and Ito's colours, told apart by the colour-blind, and shapes for print.
COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#000000",
    "#8C8C00",
    "#8A5FBF",
    "#999999",
)
SHAPES = "osD^vPX*<>"


@dataclass(frozen=True, eq=False)
class Move:
    """One panel: where the points (N, 2) go to, and the classes found there (N,)."""

    title: str
    points: Tensor
    found: Tensor


def write_moves(
    path: Path,
    points: Tensor,
    labels: Tensor,
    moves: Sequence[Move],
    *,
    names: Sequence[str],
    axes_names: tuple[str, str],
    words: Words,
) -> None:
    """Draw a panel per move: an arrow from each of the points (N, 2) to where it goes, all panels on the same axes.

    A filled mark is a clean image in the colour and shape of its label (N,), a hollow one its end in those of the class
    found there. With more than ten classes there are two colours: found as labelled, and as something else.
    """
    figure = Figure(figsize=(12.6, 6.4), layout="constrained")
    panels = figure.subplots(1, len(moves), sharex=True, sharey=True, squeeze=False)[0]
    kinds = sorted({*labels.tolist(), *(kind for move in moves for kind in move.found.tolist())})
    few = len(kinds) <= len(COLOURS)
    places = {kind: i for i, kind in enumerate(kinds)} if few else {}
    for axes, move in zip(panels, moves, strict=True):
        if few:
            _by_class(axes, points, labels, move, places)
        else:
            _by_outcome(axes, points, labels, move)
        axes.set_title(move.title, fontsize=9, loc="left", parse_math=False)
        axes.set_xlabel(axes_names[0], fontsize=8)
        axes.tick_params(labelsize=7)
    panels[0].set_ylabel(axes_names[1], fontsize=8)
    shown = (
        [_mark(COLOURS[i], SHAPES[i], visible(names[kind])) for kind, i in places.items()]
        if few
        else [_mark("#0072B2", "o", "found as labelled"), _mark("#D55E00", "X", "found as something else")]
    )
    panels[-1].legend(handles=shown, fontsize=7, ncols=2 if len(shown) > 5 else 1, loc="best")
    save(figure, path, words)


def _by_class(axes: Axes, points: Tensor, labels: Tensor, move: Move, places: dict[int, int]) -> None:
    for kind, i in places.items():
        mine, ends = labels == kind, move.found == kind
        _arrows(axes, points[mine], move.points[mine], COLOURS[i])
        axes.scatter(points[mine, 0], points[mine, 1], s=16, c=COLOURS[i], marker=SHAPES[i], linewidths=0, zorder=3)
        _ends(axes, move.points[ends], COLOURS[i], SHAPES[i])


def _by_outcome(axes: Axes, points: Tensor, labels: Tensor, move: Move) -> None:
    for mine, colour, shape in (
        (move.found == labels, "#0072B2", "o"),
        (move.found != labels, "#D55E00", "X"),
    ):
        _arrows(axes, points[mine], move.points[mine], colour)
        axes.scatter(points[mine, 0], points[mine, 1], s=8, c="black", linewidths=0, zorder=3)
        _ends(axes, move.points[mine], colour, shape)


def _arrows(axes: Axes, start: Tensor, end: Tensor, colour: str) -> None:
    step = end - start
    axes.quiver(
        start[:, 0], start[:, 1], step[:, 0], step[:, 1], angles="xy", scale_units="xy", scale=1.0, width=0.0018,
        headwidth=5.0, color=colour, alpha=0.45, zorder=2,
    )  # fmt: skip


def _ends(axes: Axes, end: Tensor, colour: str, shape: str) -> None:
    axes.scatter(
        end[:, 0], end[:, 1], s=24, marker=shape, facecolors="white", edgecolors=colour, linewidths=0.9, zorder=4
    )


def _mark(colour: str, shape: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker=shape, linestyle="", markersize=5, label=label)

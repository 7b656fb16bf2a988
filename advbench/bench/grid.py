"""A picture of what an attack did: x, x_adv and ten times their difference, for the gallery of a cell."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict, cast

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from advbench.bench.cell_folder import CELL, GALLERY
from advbench.bench.export import Row, distance_text, printable
from advbench.bench.gallery import GROUPS
from advbench.store import atomic_write, read_json, read_tensors

AMPLIFIED = 10
NARROW = 3  # samples that stand below each other; of more, two share a line
WIDTH, MARGIN, GAP, BLOCK_GAP, TEXT = 7.2, 0.08, 0.08, 0.28, 0.44  # inches; TEXT: of the two lines above a picture
HEAD, LETTER = 0.125, 0.057  # inches per line of the heading and per letter
INK, QUIET, WRONG = "#1b1f24", "#59636e", "#9c1c1c"
FRAME = "#b4bec9"
DPI = 150


class Record(TypedDict):
    """What is read of a cell's record: its names, its row per eps, the names of the classes."""

    labels: Mapping[str, str]
    summary: Sequence[Row]
    classes: Sequence[str]


def write_grid(cell: Path, target: Path) -> int:
    """Draw the gallery in the folder `cell` as the PNG file `target`; returns how many samples it shows.

    Each sample is three pictures with the predicted class and its probability, and the length of the change. Without a
    sample (every one misclassified at x) nothing is written.
    """
    shown = read_tensors(cell / GALLERY)
    count = len(shown["x"])
    if not count:
        return 0
    record = cast("Record", read_json(cell / CELL))
    blocks = 1 if count <= NARROW else 2
    side = (WIDTH - 2 * MARGIN - 3 * blocks * GAP - (blocks - 1) * (BLOCK_GAP - GAP)) / (3 * blocks)
    height = side * shown["x"].shape[2] / shown["x"].shape[3]
    heading = textwrap.wrap(_heading(record), int((WIDTH - 2 * MARGIN) / LETTER))
    lines = -(-count // blocks)
    total = 2 * MARGIN + HEAD * len(heading) + lines * (height + TEXT)
    figure = Figure(figsize=(WIDTH, total), facecolor="white")
    place = {"fontsize": 7.5, "va": "top", "parse_math": False}
    figure.text(MARGIN / WIDTH, 1 - MARGIN / total, "\n".join(heading), color=QUIET, **place)  # type: ignore[arg-type]
    for index in range(count):
        line, block = divmod(index, blocks)
        left = MARGIN + block * (3 * (side + GAP) - GAP + BLOCK_GAP)
        top = total - MARGIN - HEAD * len(heading) - line * (height + TEXT) - TEXT
        for step, (picture, title, colour) in enumerate(_pictures(shown, index, record["classes"])):
            box = (left + step * (side + GAP)) / WIDTH, (top - height) / total, side / WIDTH, height / total
            axes = figure.add_axes(box, xticks=[], yticks=[])
            axes.imshow(pixels(picture), vmin=0, vmax=1, cmap="gray", interpolation="nearest", aspect="auto")
            axes.spines[:].set(color=FRAME, linewidth=0.6)
            axes.set_title(title, fontsize=7, loc="left", pad=2.5, color=colour, parse_math=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    atomic_write(target, lambda file: file.write(buffer.getbuffer()))
    return count


def _heading(record: Record) -> str:
    """Which cell, what came of it, how to read the picture."""
    labels, row = record["labels"], record["summary"][-1]
    goal = "" if labels["goal"] == "untargeted" else f" {labels['goal']}"
    held = " Held: the goal was not met." if goal else ""
    outcome = _nearest(row) if row["eps"] is None else _held(row)
    return printable(
        f"{labels['model']}, {labels['defense']}, against {labels['attack']}{goal}: {labels['norm']}, {outcome}{held} "
        "Above x and x_adv: the predicted class and its probability, red where it changed. Difference: "
        f"{AMPLIFIED} times enlarged around mid-grey, with its lengths."
    )


def _held(row: Row) -> str:
    """The share that holds in the ball; of no samples there is none."""
    if not row["n"]:
        return f"eps {row['eps']}; it applies to no sample."
    robust, low, high = (f"{100 * cast(float, row[name]):.1f}" for name in ("robust_accuracy", "ci_low", "ci_high"))
    return f"eps {row['eps']}; of {row['n']} samples {robust} % hold (95 % interval {low} to {high})."


def _nearest(row: Row) -> str:
    """The median distance: without a ball, that hardly any sample holds is no news."""
    if not row["n"]:
        return "nearest example; it applies to no sample."
    held = round(cast(int, row["n"]) * cast(float, row["robust_accuracy"]))
    found = f"; {held} held at any distance" if held else ""
    return (
        f"nearest example; over {row['n']} samples the median distance (95 % interval) is {distance_text(row)}, with "
        f"clean errors at 0{found}."
    )


def _pictures(shown: Mapping[str, Tensor], index: int, classes: Sequence[str]) -> list[tuple[Tensor, str, str]]:
    """Picture, title and colour of the title of x, x_adv and their difference."""
    x, x_adv = shown["x"][index], shown["x_adv"][index]
    before, after = shown["probabilities_clean"][index], shown["probabilities_adv"][index]
    delta = (x_adv - x).double()
    group, sample = GROUPS[int(shown["group"][index])], int(shown["sample_id"][index])
    lengths = f"l2 {float(delta.norm()):.3g}, linf {float(delta.abs().max()):.3g}"
    changed = int(before.argmax()) != int(after.argmax())
    return [
        (x, f"sample {sample}\n{_guess(before, classes)}", INK),
        (x_adv, f"x_adv\n{_guess(after, classes)}", WRONG if changed else INK),
        ((0.5 + AMPLIFIED * (x_adv - x)).clamp(0, 1), f"{group}\n{lengths}", QUIET),
    ]


def _guess(probabilities: Tensor, classes: Sequence[str]) -> str:
    share, best = probabilities.max(0)
    name = printable(classes[int(best)])
    return f"{name if len(name) <= 16 else name[:15] + '..'}, {float(share):.0%}"


def pixels(image: Tensor) -> NDArray[np.float32]:
    """(H, W) for one channel, else the first three as (H, W, 3)."""
    array: NDArray[np.float32] = image.clamp(0, 1).numpy()
    return array[0] if len(array) < 3 else array[:3].transpose(1, 2, 0)

"""Shape against texture, drawn: the bias of each network by class, and examples with the answers."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from advbench.bench.grid import pixels
from advbench.datasets.stimuli import Stimuli
from advbench.diagnostics.cue_conflict import Conflict
from advbench.report.text import visible
from advbench.store import atomic_write

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # told apart by the colour blind
_MARKS = "osD^vP"
_EXAMPLES = 4
_LETTERS = 34  # of an answer that stand below a picture


def write_conflict_sheet(path: Path, stimuli: Stimuli, found: Mapping[str, Conflict]) -> None:
    """A PNG: per class of shape, the share of shape answers of each network; below, pictures with the three likeliest.

    The pictures are the first of each quarter of the list, not chosen by hand.
    """
    figure = Figure(figsize=(7.2, 0.27 * len(stimuli.names) + 4.4), layout="constrained")
    parts = figure.subfigures(2, 1, squeeze=False, height_ratios=[0.27 * len(stimuli.names) + 1.4, 3.0])
    above, below = parts[0, 0], parts[1, 0]
    _draw_bias(above.subplots(), stimuli, found)
    axes = below.subplots(1, _EXAMPLES)
    for axis, number in zip(axes, range(0, len(stimuli.files), max(1, len(stimuli.files) // _EXAMPLES)), strict=False):
        _draw_example(axis, stimuli, number, found)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    atomic_write(path, lambda file: file.write(buffer.getbuffer()))


def _draw_bias(axis: Axes, stimuli: Stimuli, found: Mapping[str, Conflict]) -> None:
    places = np.arange(len(stimuli.names))[::-1]
    for number, (name, conflict) in enumerate(found.items()):
        colour, bias = _COLOURS[number % len(_COLOURS)], conflict.whole.bias
        top = len(stimuli.names) - 0.4
        axis.vlines(bias.value, -0.7, top, color=colour, linewidth=1.0)
        axis.fill_betweenx([-0.7, top], bias.low, bias.high, color=colour, alpha=0.12, linewidth=0)
        label = f"{visible(name)}: {bias.value:.1%} (neither {1 - conflict.whole.decided.value:.0%})"
        axis.plot(
            conflict.by_shape["bias"], places, _MARKS[number % len(_MARKS)], color=colour, label=label, markersize=5
        )
    axis.set_yticks(places, [visible(name) for name in stimuli.names], fontsize=7)
    axis.set_xlim(-0.02, 1.02)
    axis.set_xlabel("share of shape among shape and texture answers; band: 95 % interval over all classes", fontsize=7)
    axis.tick_params(axis="x", labelsize=7)
    axis.grid(axis="y", linewidth=0.3)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, 1.0), frameon=False, ncols=1).set_in_layout(True)
    axis.set_ylim(-0.7, len(stimuli.names) + 0.6 * len(found))


def _draw_example(axis: Axes, stimuli: Stimuli, number: int, found: Mapping[str, Conflict]) -> None:
    axis.imshow(pixels(stimuli.images[number]), vmin=0, vmax=1, cmap="gray")
    shape, texture = (stimuli.names[int(labels[number])] for labels in (stimuli.shape, stimuli.texture))
    axis.set_title(visible(f"shape {shape}\ntexture {texture}"), fontsize=7, loc="left")
    lines = []
    for name, conflict in found.items():
        best = conflict.chance[number].topk(min(3, len(stimuli.names)))
        total = float(conflict.chance[number].sum())
        answers = [
            f"{stimuli.names[i]} {v / total:.0%}"
            for v, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        lines += [f"{name.split(':')[-1].split(' ')[0]}:", *textwrap.wrap(", ".join(answers), _LETTERS)]
    axis.set_xlabel(visible("\n".join(lines)), fontsize=5.5, loc="left")
    axis.set_xticks([])
    axis.set_yticks([])

"""The losses of instance and batch norm on three kinds of photographs. Huang and Belongie 2017, figure 1."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from advbench.report.feature_sheets import Words, save

_COLOURS = {"instance": "#0072B2", "batch": "#D55E00"}  # told apart by the colour-blind
_SMOOTHED = 20  # parts of the training: each point is the mean of one


def write_norm_curves(path: Path, losses: pd.DataFrame, *, batch: int, side: int) -> None:
    """Draw a table of `compare_norms` (columns input, norm, step, loss), a panel per input."""
    inputs = list(dict.fromkeys(losses["input"]))
    steps = int(losses["step"].max()) + 1
    width = max(1, steps // _SMOOTHED)
    figure = Figure(figsize=(3.1 * len(inputs), 3.6), layout="constrained")
    panels = figure.subplots(1, len(inputs), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, inputs, strict=True):
        for norm, colour in _COLOURS.items():
            mine = losses[(losses["input"] == kind) & (losses["norm"] == norm)]
            parts = mine["step"] // width
            means = mine.groupby(parts).agg({"step": "mean", "loss": "mean"})
            axes.plot(mine["step"], mine["loss"], color=colour, alpha=0.18, linewidth=0.6)
            axes.plot(means["step"], means["loss"], color=colour, linewidth=1.8, label=f"{norm} norm")
            last = float(means["loss"].iloc[-1])
            axes.annotate(
                f"{last:.2f}", (float(means["step"].iloc[-1]), last), color=colour, fontsize=8,
                xytext=(4, 5 if norm == "batch" else -9), textcoords="offset points",
            )  # fmt: skip
        axes.set_title(f"{kind} photographs", fontsize=9, loc="left")
        axes.set(xlabel="step", yscale="log")
        axes.margins(x=0.12)
        axes.grid(alpha=0.3, which="both")
        axes.tick_params(labelsize=7, which="both")
    panels[0].set_ylabel("training loss")
    panels[0].legend(fontsize=8, frameon=False)
    words = Words(
        "Training a painting network with instance and with batch norm",
        f"Loss of the same painting network with either norm, same photographs and batches of {batch} crops of "
        f"{side} pixels, same {steps} steps. Thick: means over {width} steps. Contrast normalised: brightness "
        "histogram made flat. Style normalised: photographs painted beforehand into one common style.",
    )
    save(figure, path, words)

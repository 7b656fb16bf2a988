"""How well each layer can be inverted, at several strengths of the prior: Mahendran and Vedaldi's table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.synthesis.inversion.feature_distance import inversion_errors
from advbench.synthesis.inversion.inversion import inversion


def error_table(
    model: nn.Module,
    image: Tensor,
    layers: Sequence[str],
    *,
    draws: Draws,
    variations: Sequence[float] = (1.0, 10.0, 100.0),
    steps: int = 300,
    restarts: int = 1,
    told: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Percent: a row for each (variation, error, statistic), a column for each layer, over image (B, C, H, W).

    error: "relative" or "paired", see `feature_distance.Errors`. statistic: "mean" or "sd" over the images. told: hears
    what is at work. arXiv:1412.0035, table 3: the error rises with the strength, and shallow layers suffer most.
    """
    cells: dict[str, dict[tuple[float, str, str], float]] = {layer: {} for layer in layers}
    for layer in layers:
        for variation in variations:
            if told is not None:
                told(f"{layer}, total variation {variation:g}")
            found = inversion(
                model, image, draws=draws, layer=layer, variation=variation, steps=steps, restarts=restarts
            )
            for name, error in inversion_errors(model, layer, image, found)._asdict().items():
                cells[layer][variation, name, "mean"] = 100.0 * float(error.mean())
                cells[layer][variation, name, "sd"] = 100.0 * float(error.std()) if len(image) > 1 else float("nan")
    table = pd.DataFrame(cells)
    return table.set_axis(pd.MultiIndex.from_tuples(list(table.index), names=["variation", "error", "statistic"]))

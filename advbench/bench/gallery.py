"""The samples that a report shows, chosen by one stated rule, with what it draws beside them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from advbench.attributions.explain import Explainer
from advbench.bench.cell_folder import Rows
from advbench.bench.evaluate import trajectories
from advbench.bench.scene import Execution
from advbench.bench.stage import Stage
from advbench.core.draws import Draws
from advbench.models.predict import predict
from advbench.registry import ATTRIBUTIONS
from advbench.types import ConfigError, ThreatModel

RULE = (
    "rows at the largest eps: of the fooled ones, by margin at x (ties by sample id), the 3 easiest, the 3 around the "
    "median and the 3 hardest; of those that held, the 3 with the smallest margin at x_adv"
)
GROUPS = ("fooled, easiest", "fooled, median", "fooled, hardest", "held, closest")
EACH = 3


def choose(table: pd.DataFrame) -> dict[int, list[int]]:
    """Row numbers of a cell's table by group (index into GROUPS), as RULE says; no row in two groups."""
    shown = table if table["eps"].isna().all() else table[table["eps"] == table["eps"].max()]
    fooled = shown[shown["status"] == "fooled"].sort_values(["margin_clean", "sample_id"]).index.tolist()
    held = shown[shown["status"] == "held"].sort_values(["margin_adv", "sample_id"]).index.tolist()
    easiest, rest = fooled[:EACH], fooled[EACH:]
    hardest, between = rest[-EACH:], rest[:-EACH]
    start = max(0, (len(between) - EACH) // 2)
    return {0: easiest, 1: between[start : start + EACH], 2: hardest, 3: held[:EACH]}


def gallery(
    stage: Stage, rows: Rows, *, threat: ThreatModel, explain: Sequence[Explainer], execution: Execution
) -> dict[str, Tensor]:
    """What `gallery.safetensors` holds, a row per chosen sample (G of them, at most 12).

    rows: the whole cell, eps-major, the samples of `stage.ids` in order. Keys: sample_id, group, row (G,) int64;
    x, x_adv (G, C, H, W); probabilities_clean, probabilities_adv (G, K); trajectory (G, T) int64, the class at each
    pass of the attack (-1 after a sample's last); and for each method of `explain` its maps LABEL_clean, LABEL_adv,
    for the label at x and for the class found at x_adv.
    """
    chosen = choose(rows.table)
    row = torch.tensor([number for numbers in chosen.values() for number in numbers], dtype=torch.int64)
    picked = rows.table.iloc[row.numpy()]
    ids, label, found = (torch.tensor(picked[name].to_numpy()) for name in ("sample_id", "label", "adv_pred"))
    clean, x_adv = stage.data.images(ids), rows.x_adv[torch.searchsorted(rows.row, row)]
    known = {
        "sample_id": ids,
        "group": torch.tensor([group for group, numbers in chosen.items() for _ in numbers], dtype=torch.int64),
        "row": row,
        "x": clean,
        "x_adv": x_adv,
        "trajectory": trajectories(
            stage.model, clean, label, ids, assault=stage.assault, threat=threat, execution=execution
        ),
    }
    for name, images, classes in (("clean", clean, label), ("adv", x_adv, found)):
        x, y = images.to(execution.device), classes.to(execution.device)
        known[f"probabilities_{name}"] = predict(stage.model, x).softmax(1)
        draws = Draws(stage.assault.seed, ids.to(execution.device))
        for method in explain:
            heat = _explained(method, stage.model, x, y, draws)
            if heat is not None:
                known[f"{method.label}_{name}"] = heat
    return {name: tensor.cpu().contiguous() for name, tensor in known.items()}


def _explained(method: Explainer, model: nn.Module, x: Tensor, y: Tensor, draws: Draws) -> Tensor | None:
    """The map (G, C or 1, H, W) of a registered attribution; no sample gives an empty map.

    None if the method refuses this model (Grad-CAM has nothing to look at without a convolution): the attack's rows
    are worth storing without a picture of their reasons.
    """
    if not len(x):
        return x.new_zeros((0, 1, *x.shape[2:]))
    try:
        heat = ATTRIBUTIONS[method.method].function(model, x, y, draws=draws, **method.params)
    except ConfigError:
        return None
    assert isinstance(heat, Tensor)
    return heat.detach().float()

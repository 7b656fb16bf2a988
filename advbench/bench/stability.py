"""Do explanations survive the attack? The maps of a cell's samples before and after, compared; and methods among each
other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import pandas as pd
import torch
from torch import Tensor

from advbench.attributions.explain import Explainer
from advbench.bench.cell_folder import Rows
from advbench.bench.scene import Execution
from advbench.bench.stage import Stage
from advbench.core.gradients import in_pieces
from advbench.diagnostics.attribution_pairs import Comparison, compare
from advbench.diagnostics.likeness import likeness

SAMPLES = 64  # of a cell, at most
TOGETHER = 16  # explained in one call

# between: "attack" (clean against adversarial, one method), "noise" (clean against noise of the attack's size, one
# method), "clean" or "adversarial" (two methods, one image).
COLUMNS = {
    "sample_id": "int64",
    "fooled": "bool",
    "between": "str",
    "first": "str",
    "second": "str",
    "overlap": "float64",
    "correlation": "float64",
    "structure": "float64",
    "shift": "float64",
    "found_overlap": "float64",
    "found_correlation": "float64",
}


def stability(stage: Stage, rows: Rows, *, explain: Sequence[Explainer], execution: Execution) -> pd.DataFrame:
    """What `explanations.parquet` holds: COLUMNS, a row per sample and method, and per sample, image and two methods.

    rows: the whole cell. Looked at are the first SAMPLES samples by id that the model classifies correctly and that
    have an admissible image at the largest eps, fooled or not. The numbers are those of `diagnostics.likeness`, for the
    label at x and at x_adv; found_...: for the label at x and the class found at x_adv. Beside each the control: the
    label at x and at x plus the same change with its pixels shuffled. A method that refuses the model has no rows;
    where one of two maps is blank the numbers are nan.
    """
    number, picked = _looked_at(rows.table)
    ids, label = (torch.tensor(picked[name].to_numpy()) for name in ("sample_id", "label"))
    x, x_adv = stage.data.images(ids), rows.x_adv[torch.searchsorted(rows.row, number)]
    fooled = torch.tensor(picked["fooled"].to_numpy())
    parts = []
    for part in torch.split(torch.arange(len(ids)), TOGETHER):
        with in_pieces(execution.micro_batch):
            found = compare(
                stage.model,
                x[part].to(execution.device),
                x_adv[part].to(execution.device),
                explain,
                y=label[part].to(execution.device),
                seed=stage.assault.seed,
                sample_ids=ids[part],
            )
        parts += [_table(numbers, ids[part], fooled[part]) for numbers in (*_by_attack(found), *_by_methods(found))]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)


def _looked_at(table: pd.DataFrame) -> tuple[Tensor, pd.DataFrame]:
    """Row numbers (S,) int64 and the rows."""
    shown = table if table["eps"].isna().all() else table[table["eps"] == table["eps"].max()]
    fit = shown["clean_correct"] & shown["in_ball"] & shown["in_box"] & shown["status"].isin(["held", "fooled"])
    picked = shown[fit].sort_values("sample_id").head(SAMPLES)
    return torch.tensor(picked.index.to_numpy(), dtype=torch.int64), picked


Numbers = dict[str, str | Tensor]


def _by_attack(found: Comparison) -> Iterator[Numbers]:
    for pair in found.pairs:
        yield {
            "between": "attack",
            "first": pair.method,
            "second": pair.method,
            **{name: getattr(pair.by_image, name) for name in ("overlap", "correlation", "structure", "shift")},
            "found_overlap": pair.in_all.overlap,
            "found_correlation": pair.in_all.correlation,
        }
        yield {
            "between": "noise",
            "first": pair.method,
            "second": pair.method,
            **{name: getattr(pair.by_noise, name) for name in ("overlap", "correlation", "structure", "shift")},
        }


def _by_methods(found: Comparison) -> Iterator[Numbers]:
    for first, second in combinations(found.pairs, 2):
        maps = {"clean": (first.clean, second.clean), "adversarial": (first.adversarial, second.adversarial)}
        for image, both in maps.items():
            alike = likeness(*both)
            yield {
                "between": image,
                "first": first.method,
                "second": second.method,
                **{name: getattr(alike, name) for name in ("overlap", "correlation", "structure", "shift")},
            }


def _table(numbers: Numbers, ids: Tensor, fooled: Tensor) -> pd.DataFrame:
    columns = {
        name: value.cpu().double().numpy() if isinstance(value, Tensor) else value for name, value in numbers.items()
    }
    table = pd.DataFrame({"sample_id": ids.numpy(), "fooled": fooled.numpy()}).assign(**columns)
    return table.reindex(columns=list(COLUMNS)).astype(COLUMNS)

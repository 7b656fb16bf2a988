"""A panel from a few words: which samples each attack breaks at which radius."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from advbench.report.stored import Identity, StoredCell, StoredMatrix
from advbench.types import Radius

GRID = ("0.1", "0.2")
SAMPLES = 40


def cell(
    attack: str,
    lost: Sequence[int],
    *,
    kind: str = "attack",
    goal: str = "untargeted",
    grid: Sequence[str] = GRID,
    clean_errors: int = 0,
    changes: Mapping[str, object] | None = None,
) -> StoredCell:
    """A finished cell in linf on SAMPLES samples: the first lost[k] of the correct ones are broken at radius k.

    changes: values for whole columns of its rows.
    """
    identity = Identity(
        key=f"{attack}-{goal}".ljust(64, "-"),
        model="net",
        defense="none",
        attack=attack,
        goal=goal,
        norm=math.inf,
        radii=tuple(map(Radius, grid)),
        kind=kind,
    )
    rows = [
        _row(sample, float(eps), wrong=sample < clean_errors, lost=clean_errors <= sample < clean_errors + broken)
        for eps, broken in zip(grid, lost, strict=True)
        for sample in range(SAMPLES)
    ]
    table = pd.DataFrame(rows).assign(**(changes or {}))
    return StoredCell(identity, Path("cell"), table, tuple("0123456789"), 1.0, attack, {}, {}, {})


def matrix(*cells: StoredCell) -> StoredMatrix:
    return StoredMatrix(Path("m"), "Why?", "m.yaml", "0", {}, cells, (), 0)


def _row(sample: int, eps: float, *, wrong: bool, lost: bool) -> dict[str, object]:
    changed = wrong or lost
    ran = 0 if wrong else 1
    return {
        "sample_id": sample,
        "eps": eps,
        "label": 0,
        "target": -1,
        "clean_pred": int(wrong),
        "adv_pred": int(changed),
        "clean_correct": not wrong,
        "fooled": changed,
        "in_ball": True,
        "in_box": True,
        **dict.fromkeys(("l0", "l1", "l2", "linf"), eps if lost else 0.0),
        "first_success_step": 0 if wrong else 2 if lost else -1,
        "forwards": 10 * ran,
        "backwards": 9 * ran,
        "queries": 0,
        "status": "clean_error" if wrong else "fooled" if lost else "held",
        "evidence": "run",
    }

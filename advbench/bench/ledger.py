"""The rows of one cell while they are being filled: a page per radius, a line per sample."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from advbench.bench.judge import Verdict
from advbench.bench.scene import Scene
from advbench.core.marks import marked
from advbench.models.watch import Watched
from advbench.types import EVIDENCE, STATUSES, Outcomes

_HELD, _FOOLED, _CLEAN_ERROR, _INVALID, _NOT_APPLICABLE = range(len(STATUSES))
_RUN, _CARRIED, _NESTED, _DECIDED, _AUDITED, _UNSTARTED = range(len(EVIDENCE))
_DISTANCES = {"l0": 0.0, "l1": 1.0, "l2": 2.0, "linf": math.inf}


class Ledger:
    """Pages k = 0, 1, ... for the radii in increasing order. Written once per sample and page."""

    def __init__(self, scene: Scene, radii: Sequence[float | None]) -> None:
        self._black_box = scene.assault.entry.info.access != "gradient"
        self._pages = [_blank_page(scene, eps) for eps in radii]
        status = self._pages[0]["status"] if self._pages else torch.empty(0)
        self._open = [status == _HELD for _ in radii]  # (B,) still to be attacked at this radius?

    def open_rows(self, k: int) -> Tensor:
        """Positions (A,) of the samples to attack at radius k."""
        return self._open[k].nonzero()[:, 0]

    def examples(self, k: int, rows: Tensor) -> Tensor:
        """x_adv (A, C, H, W) of the samples at `rows` (A,) at radius k; x itself where none was looked for."""
        return self._pages[k]["x_adv"][rows]

    def write(self, k: int, rows: Tensor, verdict: Verdict, watched: Watched, page: int | None = None) -> None:
        """Enter the verdict on the samples at `rows` (A,) at radius k.

        page: which radius of the books' own reach the first success is read at, if one run serves several.
        """
        forwards, backwards = watched.passes()
        first = watched.first_success if page is None else watched.first_within[:, page]
        admissible = verdict.in_ball & verdict.in_box
        status = torch.where(verdict.reached, _FOOLED, torch.where(admissible, _HELD, _INVALID))
        entries = {
            "x_adv": verdict.x_adv,
            "adv_pred": verdict.adv_pred,
            "margin_adv": verdict.margin_adv,
            "fooled": verdict.reached,
            "in_ball": verdict.in_ball,
            "in_box": verdict.in_box,
            "first_success_step": first,
            "hits": watched.hits,
            "forwards": forwards,
            "backwards": backwards,
            "queries": forwards if self._black_box else torch.zeros_like(forwards),
            "status": status.to(torch.int8),
            "evidence": _evidence(watched, len(rows)),
            "blind": watched.blind,
            **{name: verdict.distances[norm] for name, norm in _DISTANCES.items()},
        }
        for name, values in entries.items():
            self._pages[k][name][rows] = values
        self._open[k][rows] = False

    def carry(self, k: int, rows: Tensor, source: int) -> None:
        """Enter at radius k the examples found at radius `source` for those of `rows` that are still open there."""
        rows = rows[self._open[k][rows]]
        page, found = self._pages[k], self._pages[source]
        for name in ("x_adv", "adv_pred", "margin_adv", "fooled", "first_success_step", "status", *_DISTANCES):
            page[name][rows] = found[name][rows]
        page["evidence"][rows] = _CARRIED
        self._open[k][rows] = False

    def close(self, k: int, rows: Tensor) -> None:
        """Let those of `rows` that are still open at radius k hold there, because they held in a larger ball."""
        rows = rows[self._open[k][rows]]
        self._pages[k]["evidence"][rows] = _NESTED
        self._open[k][rows] = False

    def outcomes(self) -> Outcomes:
        """All rows, radius by radius, on the CPU."""
        columns = (*Outcomes.columns(), "x_adv")
        return Outcomes(**{name: torch.cat([page[name] for page in self._pages]).cpu() for name in columns})


def _evidence(watched: Watched, size: int) -> Tensor:
    """How each of the samples (size,) was settled, as the attack says; int8."""
    evidence = torch.full((size,), _RUN, dtype=torch.int8, device=watched.y.device)
    for code in (_DECIDED, _AUDITED, _UNSTARTED):
        evidence[marked(watched.marks, EVIDENCE[code], size, evidence.device)] = code
    return evidence


def _blank_page(scene: Scene, eps: float | None) -> dict[str, Tensor]:
    """The page before any attack: every sample at x, settled if it is a clean error or has nowhere to go."""
    size, y = len(scene.y), scene.y
    correct = scene.clean_pred == y
    reached = scene.clean_pred == scene.target if scene.targeted else ~correct
    lost = torch.zeros_like(correct) if not scene.targeted else scene.target < 0
    status = torch.where(lost, _NOT_APPLICABLE, torch.where(correct, _HELD, _CLEAN_ERROR))

    def count() -> Tensor:
        return torch.zeros_like(y)

    return {
        "sample_id": scene.draws.sample_ids,
        "eps": torch.full((size,), math.nan if eps is None else eps, dtype=torch.float64),
        "label": y,
        "target": scene.target,
        "clean_pred": scene.clean_pred,
        "adv_pred": scene.clean_pred.clone(),
        "clean_correct": correct,
        "fooled": reached & ~lost,
        "in_ball": torch.ones_like(correct),
        "in_box": torch.ones_like(correct),
        **{name: torch.zeros(size, dtype=torch.float64, device=y.device) for name in _DISTANCES},
        "margin_clean": scene.margin_clean,
        "margin_adv": scene.margin_clean.clone(),
        "first_success_step": torch.where(reached & ~lost, 0, -1),
        "hits": count(),
        "forwards": count(),
        "backwards": count(),
        "queries": count(),
        "status": status.to(torch.int8),
        "evidence": torch.full((size,), _RUN, dtype=torch.int8, device=y.device),
        "blind": torch.zeros_like(correct),
        "x_adv": scene.x.clone(),
    }

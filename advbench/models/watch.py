"""Count what an attack asks of a model, per sample, without the attack's help."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from advbench.core.gradients import attended_rows


class Watched(nn.Module):
    """Passes x on to `model` and keeps the books for a batch of goals y (B,).

    forwards, backwards (B,) int64: passes of each sample. hits (B,) int64: forward passes whose prediction met the
    goal (left y, or is y if `targeted`). first_success (B,) int64: forward passes before the first hit; -1 without one.
    trace, with `tracing`: the predicted class at each pass as pairs (rows, classes). Samples are told apart by the rows
    that the core attends to; an attack that calls the model on a part of the batch by its own means is charged evenly.
    """

    forwards: Tensor
    backwards: Tensor
    first_success: Tensor
    hits: Tensor

    def __init__(self, model: nn.Module, y: Tensor, *, targeted: bool = False, tracing: bool = False) -> None:
        super().__init__()
        self.model, self.y, self.targeted, self.tracing = model, y, targeted, tracing
        self.forwards = torch.zeros_like(y)
        self.backwards = torch.zeros_like(y)
        self.first_success = torch.full_like(y, -1)
        self.hits = torch.zeros_like(y)
        self.trace: list[tuple[Tensor, Tensor]] = []
        self._unassigned = [0, 0]  # sample passes forward and backward of unknown rows

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        rows = attended_rows()
        if rows is None and len(x) == len(self.y):
            rows = torch.arange(len(x), device=x.device)
        if rows is None or len(rows) != len(x):
            self._count_unassigned(logits)
        else:
            self._count(logits, rows)
        return logits

    def passes(self) -> tuple[Tensor, Tensor]:
        """(forwards, backwards), each (B,) int64, with the passes of unknown rows spread evenly (rounded up)."""
        share = [-(-count // max(len(self.y), 1)) for count in self._unassigned]
        return self.forwards + share[0], self.backwards + share[1]

    def trajectory(self) -> Tensor:
        """Predicted class (B, T) at each traced pass, int64; -1 after a sample's last one."""
        seen = torch.zeros_like(self.y)
        table = self.y.new_full((len(self.y), int(self.forwards.max()) if len(self.y) else 0), -1)
        for rows, classes in self.trace:
            table[rows, seen[rows]] = classes
            seen[rows] += 1
        return table

    def add(self, rows: Tensor, other: Watched) -> None:
        """Enter the books that `other` kept while the samples at `rows` (A,) were attacked once more."""
        forwards, backwards = other.passes()
        first = self.first_success[rows]
        later = torch.where(other.first_success >= 0, self.forwards[rows] + other.first_success, -1)
        self.first_success[rows] = torch.where(first < 0, later, first)
        self.hits[rows] += other.hits
        self.forwards[rows] += forwards
        self.backwards[rows] += backwards

    def _count(self, logits: Tensor, rows: Tensor) -> None:
        with torch.no_grad():
            classes = logits.argmax(1)
            met = (classes == self.y[rows]) == self.targeted
            first = self.first_success[rows]
            self.first_success[rows] = torch.where((first < 0) & met, self.forwards[rows], first)
            self.forwards.index_add_(0, rows, torch.ones_like(rows))
            self.hits.index_add_(0, rows, met.long())
        if self.tracing:
            self.trace.append((rows, classes))
        if logits.requires_grad:
            _on_backward(logits, partial(self._count_backward, rows))

    def _count_backward(self, rows: Tensor) -> None:
        self.backwards.index_add_(0, rows, torch.ones_like(rows))

    def _count_unassigned(self, logits: Tensor) -> None:
        self._unassigned[0] += len(logits)
        if logits.requires_grad:
            _on_backward(logits, partial(self._count_unassigned_backward, len(logits)))

    def _count_unassigned_backward(self, size: int) -> None:
        self._unassigned[1] += size


def _on_backward(logits: Tensor, act: Callable[[], None]) -> None:
    def hook(grad: Tensor) -> None:
        act()

    logits.register_hook(hook)  # type: ignore[no-untyped-call]

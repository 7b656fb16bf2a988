"""A model with a budget of passes per sample that notes the nearest example it was shown within that budget."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advbench.core.gradients import attended_rows
from advbench.core.norms import LENGTHS

PIECE = 32  # images per pass: what is fastest on a processor, for every attack alike
BOX_SLACK = 1e-6  # libraries clip in float32


class BudgetSpentError(Exception):
    """Every sample has had its passes: the attack ends here."""


class Budgeted(nn.Module):
    """`model` under attack around x (B, C, H, W) with labels y (B,), untargeted.

    nearest (B,) float64: the least distance, in `norm`, of an image in the box that was shown within the sample's
    budget and is not taken for y; inf without one. forwards, backwards (B,) int64: passes so far. budget: forwards plus
    backwards of each sample; later images are answered and not noted. Raises BudgetSpentError when all have had it.

    Which sample an image belongs to: the rows that our core attends to, or the batch's order if it is whole, or else
    the nearest x in l2. A wrong guess cannot invent an example: whatever is noted is one, at the distance noted.
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, *, norm: float, budget: int) -> None:
        super().__init__()
        self.model, self.x, self.y, self.norm, self.budget = model, x, y, norm, budget
        self.nearest = torch.full((len(x),), torch.inf, dtype=torch.float64)
        self.forwards, self.backwards = torch.zeros_like(y), torch.zeros_like(y)

    def forward(self, z: Tensor) -> Tensor:
        if bool((self._spent() >= self.budget).all()):
            raise BudgetSpentError
        rows = self._rows(z)
        logits = torch.cat([self.model(part) for part in torch.split(z, PIECE)])
        self._note(z, logits, rows)
        self.forwards.index_add_(0, rows, torch.ones_like(rows))
        if logits.requires_grad:
            logits.register_hook(self._charge(rows))  # type: ignore[no-untyped-call]
        return logits

    def note_result(self, x_adv: Tensor) -> None:
        """Count what the attack returned as well, (B, ...), for samples that are within their budget."""
        with torch.no_grad():
            logits = torch.cat([self.model(part) for part in torch.split(x_adv, PIECE)])
        self._note(x_adv, logits, torch.arange(len(x_adv)))

    def _spent(self) -> Tensor:
        return self.forwards + self.backwards

    def _charge(self, rows: Tensor) -> Callable[[Tensor], None]:
        def charge(grad: Tensor) -> None:
            self.backwards.index_add_(0, rows, torch.ones_like(rows))

        return charge

    def _rows(self, z: Tensor) -> Tensor:
        rows = attended_rows()
        if rows is not None and len(rows) == len(z):
            return rows
        if len(z) == len(self.x):
            return torch.arange(len(z))
        return torch.cdist(z.detach().flatten(1), self.x.flatten(1)).argmin(1)

    def _note(self, z: Tensor, logits: Tensor, rows: Tensor) -> None:
        """Lower `nearest` where z (A, ...) is an example of the samples at `rows` (A,)."""
        z, logits = z.detach(), logits.detach()
        flat = z.flatten(1)
        inside = torch.isfinite(flat).all(1) & (flat >= -BOX_SLACK).all(1) & (flat <= 1 + BOX_SLACK).all(1)
        fooled = (logits.argmax(1) != self.y[rows]) & torch.isfinite(logits).all(1)
        counts = (inside & fooled & (self._spent()[rows] < self.budget)).nonzero()[:, 0]
        # Back into the box, as every attack would have to hand it over: only rounding is taken away.
        delta = flat[counts].clamp(0, 1).double() - self.x[rows[counts]].flatten(1).double()
        self.nearest.scatter_reduce_(0, rows[counts], LENGTHS[self.norm](delta), "amin")

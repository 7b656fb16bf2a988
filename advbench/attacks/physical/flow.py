"""Spatially transformed images: each pixel moves a little. Xiao et al. 2018, arXiv:1801.02612 (stAdv)."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.attacks.arguments import at_least_one, at_least_zero, positive
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.keep import Kept, keep_strongest, when_reached
from advbench.core.losses import margin_loss
from advbench.core.objectives import Objective, misclassify
from advbench.core.projections import Project, within
from advbench.core.step_rules import adam, cosine
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel

_FLAT = 1e-8  # pixels squared: where neighbours move alike, the length of their difference has no slope


@attack(norms=(inf,), access="gradient", paper="arXiv:1801.02612", unbounded=True, structured=True, cost=(101, 100))
def flow(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    smoothness: float = 0.05,
    steps: int = 100,
    step_size: float = 0.2,
    early_stop: bool = False,
) -> Tensor:
    """x_adv: x seen through a field of displacements, one (down, across) for each pixel, all channels alike.

    Minimised is the lead of y in logits (of the best other, if `targeted`), down to 0, plus smoothness times the sum
    over all pixels and their four neighbours of the length, in pixels, by which their displacements differ (0.05 as in
    the paper). Returned is the smoothest field that fools, else that of the lowest loss. Adam from no displacement,
    with steps of step_size pixels that fall to a tenth along half a cosine: the paper's L-BFGS, tried without its line
    search, fooled fewer images in as many steps. early_stop: leave a sample alone at its first success, however rough.
    Bilinear; beyond the edge the edge goes on.
    The norm only measures: without a radius the smoothness is the limit, with one the image is projected into the ball
    before the model sees it. `draws` is not used.
    Raises ConfigError if steps < 1, step_size <= 0 or smoothness < 0.
    """
    seen = _Lens(x, within(threat, x))
    weight = at_least_zero("smoothness", smoothness)
    with frozen(model):
        kept = descend(
            x.new_zeros(len(x), 2, *x.shape[2:]),
            _through(seen, misclassify(model, y, targeted=targeted, loss=margin_loss), weight),
            step=adam(positive("step_size", step_size), schedule=cosine(1.0, 0.1)),
            steps=at_least_one("steps", steps),
            keep=keep_strongest,
            stop=when_reached if early_stop else _reached_at_once,
        )
    rows = torch.arange(len(x), device=x.device)
    return seen.project(seen(kept.z, rows), rows)


class _Lens:
    """The images x (B, C, H, W) through displacements; without any, each image is itself to the last bit."""

    def __init__(self, x: Tensor, project: Project) -> None:
        self.x, self.project = x, project
        height, width = x.shape[2:]
        down = torch.arange(height, dtype=x.dtype, device=x.device) + 0.5
        right = torch.arange(width, dtype=x.dtype, device=x.device) + 0.5
        self.down, self.right = torch.meshgrid(down, right, indexing="ij")
        # grid_sample rounds positions: what it makes of an image at rest is taken off again.
        self.rest = x - self._sample(x, x.new_zeros(len(x), 2, height, width))

    def __call__(self, z: Tensor, rows: Tensor) -> Tensor:
        """The images of `rows` (A,) through z (A, 2, H, W), in pixels down and across, in ball and box."""
        moved = self._sample(self.x[rows], z) + self.rest[rows]
        # The slope is that of the move alone: at black and white pixels the box would hide it.
        return moved + (self.project(moved, rows) - moved).detach()

    def _sample(self, x: Tensor, z: Tensor) -> Tensor:
        height, width = x.shape[2:]
        across, along = 2.0 * (self.right + z[:, 1]) / width - 1.0, 2.0 * (self.down + z[:, 0]) / height - 1.0
        grid = torch.stack([across, along], -1)
        return functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _through(seen: _Lens, objective: Objective, weight: float) -> Objective:
    def smooth(z: Tensor, rows: Tensor) -> Evaluation:
        loss, reached = objective(seen(z, rows), rows)
        return Evaluation(loss.clamp_min(0.0) + weight * _roughness(z), reached)

    return smooth


def _roughness(z: Tensor) -> Tensor:
    """How much neighbours in z (A, 2, H, W) disagree, (A,): every pair is counted from both sides, as in the paper."""
    pairs = [(z.diff(dim=side).square().sum(1) + _FLAT).sqrt().flatten(1).sum(1) for side in (2, 3)]
    return 2.0 * (pairs[0] + pairs[1])


def _reached_at_once(kept: Kept) -> Tensor:
    """The model errs at x itself: nothing can be smoother."""
    return kept.reached & (kept.z == 0).flatten(1).all(1)

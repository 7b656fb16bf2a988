"""Hue, saturation, brightness and contrast by gradient. Hsiung et al. 2023, arXiv:2202.04235 (component attacks)."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero, positive
from advbench.core.colour import hsv_to_rgb, rgb_to_hsv
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import attending, frozen
from advbench.core.keep import keep_better, keep_strongest, nothing_kept
from advbench.core.losses import margin_loss
from advbench.core.objectives import Objective, misclassify
from advbench.core.projections import into_box, within
from advbench.core.step_rules import cosine, steepest
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel


@attack(norms=(inf,), access="gradient", paper="arXiv:2202.04235", unbounded=True, structured=True, cost=(55, 50))
def semantic(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    hue: float = 0.5,
    saturation: float = 0.3,
    brightness: float = 0.2,
    contrast: float = 0.3,
    steps: int = 10,
    step_size: float = 1.0,
    restarts: int = 5,
) -> Tensor:
    """x_adv: x with four numbers changed for the whole image, the setting of the largest margin loss on the path.

    hue: the largest turn either way, as a share of the colour circle. saturation, contrast: the factors go from
    1 - value to 1 + value; contrast is about the mean of the image. brightness: the largest offset, as a share of the
    box. The defaults are those of the paper. Images without three channels have brightness and contrast only.
    Each run takes `steps` steps along the gradient's sign in the four numbers, the first of step_size times the limits,
    falling to nothing along half a cosine: from x first, then from `restarts` - 1 random settings.
    The norm only measures: without a radius the four limits count, with one the image is projected into the ball before
    the model sees it. Raises ConfigError if steps or restarts < 1, step_size <= 0 or a limit is negative.
    """
    limits = {"hue": hue, "saturation": saturation, "brightness": brightness, "contrast": contrast}
    scale = x.new_tensor([at_least_zero(name, value) for name, value in limits.items()])
    at_least_one("steps", steps), at_least_one("restarts", restarts)
    step = steepest(inf, positive("step_size", step_size), schedule=cosine(1.0, 0.0))
    lamp = _Lamp(x, threat, scale)
    kept = nothing_kept(x.new_zeros(len(x), 4))
    with frozen(model):
        for run in range(restarts):
            left = (~kept.reached).nonzero()[:, 0]
            if not len(left):
                break
            start = kept.z[left] * 0.0 if run == 0 else 2.0 * draws.rows(left).uniform((4,), "setting", run).to(x) - 1.0
            with attending(left):
                found = descend(
                    start,
                    _lit(lamp, left, misclassify(model, y[left], targeted=targeted, loss=margin_loss)),
                    step=step,
                    steps=steps,
                    project=into_box(-1.0, 1.0),
                    keep=keep_strongest,
                )
            kept = keep_better(kept, found.z, Evaluation(found.loss, found.reached), left, keep_strongest)
    rows = torch.arange(len(x), device=x.device)
    return lamp.project(lamp(kept.z, rows), rows)


class _Lamp:
    """The images x (B, C, H, W) in another light; settings of zero leave each as it is, to the last bit."""

    def __init__(self, x: Tensor, threat: ThreatModel, scale: Tensor) -> None:
        self.x, self.scale, self.low, self.width = x, scale, threat.low, threat.high - threat.low
        self.project = within(threat, x)
        self.rest = x - self._shine(x, x.new_zeros(len(x), 4))

    def __call__(self, z: Tensor, rows: Tensor) -> Tensor:
        """The images of `rows` (A,) with settings z (A, 4) in [-1, 1], in ball and box."""
        lit = self._shine(self.x[rows], z) + self.rest[rows]
        # The slope is that of the light alone: where pixels are cut off, the others still show where to go.
        return lit + (self.project(lit, rows) - lit).detach()

    def _shine(self, x: Tensor, z: Tensor) -> Tensor:
        hue, saturation, brightness, contrast = (self.scale * z)[..., None, None].unbind(1)  # (A, 1, 1) each
        image = (x - self.low) / self.width
        if x.shape[1] == 3:
            old = rgb_to_hsv(image)
            coloured = (old[:, 1] * (1.0 + saturation)).clamp(0.0, 1.0)
            image = hsv_to_rgb(torch.stack([old[:, 0] + hue, coloured, old[:, 2]], 1))
        mean = image.mean((1, 2, 3), keepdim=True)
        image = mean + (image - mean) * (1.0 + contrast[:, None]) + brightness[:, None]
        return self.low + self.width * image


def _lit(lamp: _Lamp, left: Tensor, objective: Objective) -> Objective:
    return lambda z, rows: objective(lamp(z, left[rows]), rows)

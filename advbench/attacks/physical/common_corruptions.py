"""Noise, blur, weather and digital corruptions. Hendrycks and Dietterich 2019, arXiv:1903.12261."""

from __future__ import annotations

from math import inf
from typing import Literal

import torch
from torch import Tensor, nn

from advbench.attacks.physical.corruption.kinds import KINDS, corrupt
from advbench.core.draws import Draws
from advbench.core.gradients import frozen, labels_at
from advbench.core.keep import Kept
from advbench.core.losses import margin_loss
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.core.search import search
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel

Kind = Literal[
    "worst",
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
]


@attack(norms=(inf,), access="scores", paper="arXiv:1903.12261", unbounded=True, structured=True, cost=(16, 0))
def common_corruptions(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    kind: Kind = "worst",
    severity: int = 3,
) -> Tensor:
    """x_adv: x corrupted, at a severity in 1 .. 5 with the published constants (see `corruption.severities`).

    kind "worst": the first of the 15 that fools, else the one of the largest margin loss. A single kind asks the model
    for nothing but its class at x, where a sample that errs already is left alone: the robust accuracy over all kinds
    and severities is then what the paper reports.
    Frost is a drawn pattern instead of photographs and glass_blur looks pixels up instead of swapping them; the others
    follow the published definition, with a random number generator and an interpolation of our own.
    The norm only measures: without a radius the severity is the limit, with one each image is projected into the ball
    before the model sees it. Raises ConfigError if kind is unknown or severity is not in 1 .. 5.
    """
    if kind != "worst" and kind not in KINDS:
        raise ConfigError(f"kind must be worst or one of {', '.join(KINDS)}, got {kind!r}")
    if severity not in range(1, 6):
        raise ConfigError(f"severity must be in 1 .. 5, got {severity}")
    project, width = within(threat, x), threat.high - threat.low

    def corrupted(rows: Tensor, name: str) -> Tensor:
        image = corrupt((x[rows] - threat.low) / width, draws.rows(rows), name, severity)
        return project(threat.low + width * image, rows)

    def propose(kept: Kept, rows: Tensor, i: int) -> Tensor:
        return corrupted(rows, list(KINDS)[i])

    with frozen(model):
        if kind == "worst":
            objective = misclassify(model, y, targeted=targeted, loss=margin_loss)
            return search(x, objective, propose=propose, steps=len(KINDS)).z
        rows = torch.arange(len(x), device=x.device)
        left = rows[(labels_at(model, x, rows) == y) != targeted]
    return x.index_copy(0, left, corrupted(left, kind)) if len(left) else x.clone()

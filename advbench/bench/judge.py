"""Success is decided here, never by the attack: distance, box and prediction measured again on what it returned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench.core.losses import margin
from advbench.core.norms import LENGTHS
from advbench.models.predict import predict
from advbench.types import ThreatModel

# What rounding in float32 may add to a radius or to the box. x + delta is rounded in every component, by up to 3e-8 up
# or down: these errors add up in l1, at random, so that their sum grows with the square root of the size.
RELATIVE_TOLERANCE = 1e-6
ABSOLUTE_TOLERANCE = 1e-7


@dataclass(frozen=True, eq=False)
class Verdict:
    """What x_adv (B, C, H, W) is worth. `reached`: the goal is met and x_adv is admissible."""

    x_adv: Tensor
    adv_pred: Tensor  # (B,) int64
    margin_adv: Tensor  # (B,) float32
    distances: dict[float, Tensor]  # norm -> (B,) float64
    in_ball: Tensor  # (B,) bool
    in_box: Tensor  # (B,) bool
    reached: Tensor  # (B,) bool

    def take(self, rows: Tensor) -> Verdict:
        """The verdict on the samples at `rows` (A,)."""
        return Verdict(
            x_adv=self.x_adv[rows],
            adv_pred=self.adv_pred[rows],
            margin_adv=self.margin_adv[rows],
            distances={norm: distance[rows] for norm, distance in self.distances.items()},
            in_ball=self.in_ball[rows],
            in_box=self.in_box[rows],
            reached=self.reached[rows],
        )

    def replaced(self, rows: Tensor, other: Verdict) -> Verdict:
        """This verdict with that on the samples at `rows` (A,) taken from `other` (A,)."""
        return Verdict(
            x_adv=self.x_adv.index_copy(0, rows, other.x_adv),
            adv_pred=self.adv_pred.index_copy(0, rows, other.adv_pred),
            margin_adv=self.margin_adv.index_copy(0, rows, other.margin_adv),
            distances={norm: old.index_copy(0, rows, other.distances[norm]) for norm, old in self.distances.items()},
            in_ball=self.in_ball.index_copy(0, rows, other.in_ball),
            in_box=self.in_box.index_copy(0, rows, other.in_box),
            reached=self.reached.index_copy(0, rows, other.reached),
        )


def judge(
    model: nn.Module,
    x: Tensor,
    x_adv: Tensor,
    *,
    label: Tensor,
    target: Tensor,
    threat: ThreatModel,
    batch: int = 128,
) -> Verdict:
    """Judge x_adv against x (both (B, C, H, W)) by the untouched float32 model.

    label (B,); target (B,) is the class to reach, or -1 to leave the label. A point that is not finite counts as
    outside of box and ball and is replaced by x; the prediction there is the clean one.
    """
    finite = torch.isfinite(x_adv).flatten(1).all(1)
    point = torch.where(finite.reshape(-1, 1, 1, 1), x_adv, x)
    delta = (point.double() - x.double()).flatten(1)
    distances = {norm: length(delta) for norm, length in LENGTHS.items()}
    flat = point.flatten(1)
    slack = ABSOLUTE_TOLERANCE
    in_box = finite & ((flat >= threat.low - slack) & (flat <= threat.high + slack)).all(1)
    in_ball = finite & inside(distances[threat.norm], threat, size=flat.shape[1])
    logits = predict(model, point, batch=batch)
    adv_pred = logits.argmax(1)
    # A prediction that is not a number is no evidence of robustness, nor of a class that was to be reached.
    broken = ~torch.isfinite(logits).all(1)
    goal = torch.where(target < 0, (adv_pred != label) | broken, (adv_pred == target) & ~broken)
    return Verdict(
        x_adv=point,
        adv_pred=adv_pred,
        margin_adv=margin(logits, label),
        distances=distances,
        in_ball=in_ball,
        in_box=in_box,
        reached=goal & in_ball & in_box,
    )


def inside(distance: Tensor, threat: ThreatModel, *, size: int) -> Tensor:
    """Is each distance (B,) float64 of images with `size` components within the radius, up to rounding?"""
    return torch.isfinite(distance) if threat.eps is None else distance <= limit(threat, size=size)


def limit(threat: ThreatModel, *, size: int) -> float:
    """The largest distance that counts as inside: the radius, and what rounding of `size` components may add to it."""
    rounding = ABSOLUTE_TOLERANCE * (math.sqrt(size) if threat.norm == 1.0 else 1.0)
    return threat.radius * (1.0 + RELATIVE_TOLERANCE) + rounding

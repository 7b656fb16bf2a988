"""Objectives of fooling images: not only to be taken for something, but with certainty."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.core.objectives import Objective
from advbench.types import ConfigError, Evaluation


def confident(model: nn.Module, y: Tensor, *, targeted: bool, confidence: float) -> Objective:
    """Raise the probability of y (B,), or of the likeliest other class unless `targeted`; the loss is -log of it.

    reached: the model predicts such a class with at least `confidence`. Raises ConfigError unless that is in [0, 1).
    """
    if not 0 <= confidence < 1:
        raise ConfigError(f"confidence must be in [0, 1), got {confidence}")

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        logits, labels = model(z), y[rows]
        scores = logits.log_softmax(1)
        if targeted:
            best = scores.gather(1, labels[:, None])[:, 0]
        else:
            best = scores.scatter(1, labels[:, None], -torch.inf).amax(1)
        goal = (logits.argmax(1) == labels) == targeted
        return Evaluation(-best, goal & (best.detach().exp() >= confidence))

    return objective


def noise_in_box(like: Tensor, u: Tensor, low: float, high: float) -> Tensor:
    """Uniform u in [0, 1) as images like `like`, in [low, high]."""
    return low + (high - low) * u.to(like)

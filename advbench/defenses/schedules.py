"""How the learning rate moves over a training, and what turns gradients into steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn
from torch.optim import Optimizer

# (parameters, learning rate, weight decay, momentum) -> optimizer
MakeOptimizer = Callable[[Iterable[nn.Parameter], float, float, float], Optimizer]
_WARM_UP = 0.3  # share of a one-cycle training in which the rate rises (arXiv:1708.07120 leaves it open)
_FIRST = 0.04  # the rate it starts from, as a share of the largest


def constant(progress: float) -> float:
    """1 at every moment."""
    return 1.0


def cosine(progress: float) -> float:
    """Half a cosine from 1 down to 0 (arXiv:1608.03983, without restarts)."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def one_cycle(progress: float) -> float:
    """Up from 0.04 to 1 in the first 0.3 of the training, then down to 0, both along half a cosine."""
    if progress < _WARM_UP:
        return 1.0 - (1.0 - _FIRST) * cosine(progress / _WARM_UP)
    return cosine((progress - _WARM_UP) / (1.0 - _WARM_UP))


def _adam(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float) -> Optimizer:
    return torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay)


def _sgd(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float) -> Optimizer:
    return torch.optim.SGD(parameters, lr=lr, weight_decay=weight_decay, momentum=momentum)


# progress in [0, 1) -> factor of the largest learning rate
SCHEDULES: Mapping[str, Callable[[float], float]] = {"constant": constant, "cosine": cosine, "one_cycle": one_cycle}
OPTIMIZERS: Mapping[str, MakeOptimizer] = {"adam": _adam, "sgd": _sgd}

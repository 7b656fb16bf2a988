"""Step rules: pairs of pure functions. `init(z)` makes the state, `update(grad, state, progress)` move and new state.

A state is a tuple of tensors with one entry per row (A, ...), so that it can follow the rows when some leave the loop.
`progress` runs from 0 (first step) towards 1. Every rule moves against the gradient, since everything is minimised.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from advbench.core.curvature import Curvature, newton_like, no_curvature, remembered
from advbench.core.norms import lengths, per_sample

State = tuple[Tensor, ...]
Schedule = Callable[[float], float]


class StepRule(NamedTuple):
    """What `descend` needs to know about an optimiser."""

    init: Callable[[Tensor], State]
    update: Callable[[Tensor, State, float], tuple[Tensor, State]]


def steepest(norm: float, size: float, *, schedule: Schedule | None = None) -> StepRule:
    """The move of length `size` in `norm` that lowers the linearised loss most; nothing where the gradient is zero.

    linf: sign of the gradient. l2: its direction. l1: the whole step on the largest component. l0: round(size)
    components, each by its own gradient.
    """
    direction = _DIRECTIONS[norm]
    return _stateless(lambda grad, progress: -_scaled(size, schedule, progress) * direction(grad, size))


def sparse_steepest(quantile: float, size: float) -> StepRule:
    """An l1 step of length `size` shared by the share 1 - quantile of components with the largest gradient.

    Tramer and Boneh 2019, arXiv:1904.13000, section 4.2: one component at a time is too slow on images.
    """

    def move(grad: Tensor, progress: float) -> Tensor:
        flat = grad.flatten(1)
        count = max(1, round((1.0 - quantile) * flat.shape[1]))
        top = flat.abs().topk(count, dim=1)
        chosen = torch.zeros_like(flat).scatter(1, top.indices, (top.values > 0).to(flat.dtype)) * flat.sign()
        share = chosen.abs().sum(1, keepdim=True).clamp_min(1.0)
        return -size * (chosen / share).reshape(grad.shape)

    return _stateless(move)


def plain(size: float, *, schedule: Schedule | None = None) -> StepRule:
    """Gradient descent: -size * gradient (SGD without momentum)."""
    return _stateless(lambda grad, progress: -_scaled(size, schedule, progress) * grad)


def momentum(norm: float, size: float, *, decay: float = 1.0, schedule: Schedule | None = None) -> StepRule:
    """`steepest` along g = decay * g + grad / mean|grad| (Dong et al. 2018, arXiv:1710.06081, equation 6)."""
    direction = _DIRECTIONS[norm]

    def update(grad: Tensor, state: State, progress: float) -> tuple[Tensor, State]:
        mean = grad.flatten(1).abs().mean(1)
        scale = torch.where(mean > 0, mean, torch.ones_like(mean))
        velocity = decay * state[0] + grad / torch.as_tensor(per_sample(scale, grad))
        return -_scaled(size, schedule, progress) * direction(velocity, size), (velocity,)

    return StepRule(lambda z: (torch.zeros_like(z),), update)


def adam(
    size: float,
    *,
    decay: tuple[float, float] = (0.9, 0.999),
    damping: float = 1e-8,
    schedule: Schedule | None = None,
) -> StepRule:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1), each component on its own."""

    def update(grad: Tensor, state: State, progress: float) -> tuple[Tensor, State]:
        count = state[2] + 1.0
        mean = decay[0] * state[0] + (1.0 - decay[0]) * grad
        square = decay[1] * state[1] + (1.0 - decay[1]) * grad.square()
        unbiased = mean / torch.as_tensor(per_sample(1.0 - decay[0] ** count, grad))
        spread = (square / torch.as_tensor(per_sample(1.0 - decay[1] ** count, grad))).sqrt()
        return -_scaled(size, schedule, progress) * unbiased / (spread + damping), (mean, square, count)

    return StepRule(lambda z: (torch.zeros_like(z), torch.zeros_like(z), z.new_zeros(len(z))), update)


def lbfgs(size: float = 1.0, *, memory: int = 10) -> StepRule:
    """L-BFGS without line search, each sample with its own memory (Nocedal and Wright 2006, algorithm 7.4).

    The first move has l1 length at most `size`. A pair with too little curvature is not remembered.
    """

    def init(z: Tensor) -> State:
        return (torch.zeros_like(z), torch.zeros_like(z), *sum(no_curvature(z, memory), ()))

    def update(grad: Tensor, state: State, progress: float) -> tuple[Tensor, State]:
        (before, last), places = state[:2], state[2:]
        old = Curvature(*(places[i * memory : (i + 1) * memory] for i in range(3)))
        known = remembered(old, before, grad - last)
        direction = newton_like(known, grad).flatten(1)
        first = (known.inverse[-1] == 0)[:, None]
        short = (1.0 / direction.abs().sum(1, keepdim=True).clamp_min(torch.finfo(grad.dtype).tiny)).clamp_max(1.0)
        move = (-size * torch.where(first, short, 1.0) * direction).reshape(grad.shape)
        return move, (move, grad, *sum(known, ()))

    return StepRule(init, update)


def cosine(first: float, last: float) -> Schedule:
    """A factor that falls from `first` to `last` along half a cosine."""
    return lambda progress: last + 0.5 * (first - last) * (1.0 + math.cos(math.pi * progress))


def _stateless(move: Callable[[Tensor, float], Tensor]) -> StepRule:
    return StepRule(lambda z: (), lambda grad, state, progress: (move(grad, progress), state))


def _scaled(size: float, schedule: Schedule | None, progress: float) -> float:
    return size if schedule is None else size * schedule(progress)


def _sign(grad: Tensor, size: float) -> Tensor:
    return grad.sign()


def _unit(grad: Tensor, size: float) -> Tensor:
    length = lengths(grad, 2.0)
    safe = torch.where(length > 0, length, torch.ones_like(length))
    return grad / torch.as_tensor(per_sample(safe, grad))


def _one_component(grad: Tensor, size: float) -> Tensor:
    flat = grad.flatten(1)
    index = flat.abs().argmax(1, keepdim=True)
    return torch.zeros_like(flat).scatter(1, index, flat.gather(1, index).sign()).reshape(grad.shape)


def _few_components(grad: Tensor, size: float) -> Tensor:
    flat = grad.flatten(1)
    index = flat.abs().topk(min(max(1, round(size)), flat.shape[1]), dim=1).indices
    return torch.zeros_like(flat).scatter(1, index, flat.gather(1, index) / max(size, 1.0)).reshape(grad.shape)


# Direction of steepest ascent of length 1 in each norm, for the gradient (A, ...) and the step size.
_DIRECTIONS: dict[float, Callable[[Tensor, float], Tensor]] = {
    0.0: _few_components,
    1.0: _one_component,
    2.0: _unit,
    math.inf: _sign,
}

"""Random perturbations of every norm: on the sphere and in the ball, before the box is applied."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from advbench.core.draws import Counter, Draws
from advbench.core.norms import lengths, per_sample
from advbench.core.projections import within
from advbench.types import ThreatModel


def on_sphere(x: Tensor, threat: ThreatModel, draws: Draws, counter: Counter = 0) -> Tensor:
    """delta like x (B, ...), uniform on the threat's sphere: |delta| = eps in its norm.

    l2 and l1: independent components of density exp(-|g|^p), divided by their norm. linf: the cube's corners, the
    strongest noise of that norm. l0: floor(eps) components moved to a random end of the box.
    Raises ConfigError if the threat has no radius.
    """
    eps = threat.radius
    if threat.norm == 0:
        return _flips(x, threat, draws, counter, torch.full((len(x),), eps, device=x.device))
    g = _DIRECTIONS[threat.norm](draws, tuple(x.shape[1:]), counter)
    return (g * torch.as_tensor(per_sample(eps / _positive(lengths(g, threat.norm)), x))).to(x.dtype)


def in_ball(x: Tensor, threat: ThreatModel, draws: Draws, counter: Counter = 0) -> Tensor:
    """delta like x (B, ...), uniform in the threat's ball; l0: a random number of flips up to floor(eps).

    l2 and l1: g / (sum |g|^p + E)^(1/p) with E exponential (Barthe et al. 2005, doi:10.1214/009117904000000874).
    Raises ConfigError if the threat has no radius.
    """
    eps, shape = threat.radius, tuple(x.shape[1:])
    if threat.norm == 0:
        count = draws.integers(int(eps) + 1, (), "ball", counter).to(x.device)
        return _flips(x, threat, draws, counter, count)
    if threat.norm == math.inf:
        return (eps * (2.0 * draws.uniform(shape, "ball", counter) - 1.0)).to(x.dtype)
    p = threat.norm
    g = _DIRECTIONS[p](draws, shape, counter)
    exponential = -torch.log1p(-draws.uniform((), "ball", counter))  # (B,)
    power = g.flatten(1).abs().pow(p).sum(1) + exponential
    return (g * torch.as_tensor(per_sample(eps / _positive(power.pow(1.0 / p)), x))).to(x.dtype)


def random_start(x: Tensor, threat: ThreatModel, draws: Draws, counter: Counter = 0) -> Tensor:
    """A random admissible point near x (B, ...): uniform in the ball, then into the box."""
    z = x + in_ball(x, threat, draws, counter)
    return within(threat, x)(z, torch.arange(len(x), device=x.device))


def _positive(length: Tensor) -> Tensor:
    return length.clamp_min(torch.finfo(length.dtype).tiny)


def _gaussian(draws: Draws, shape: tuple[int, ...], counter: Counter) -> Tensor:
    return draws.normal(shape, "direction", counter) * math.sqrt(0.5)  # density exp(-g^2)


def _laplace(draws: Draws, shape: tuple[int, ...], counter: Counter) -> Tensor:
    size = -torch.log1p(-draws.uniform(shape, "direction", counter))
    return size * draws.signs(shape, "direction sign", counter)


def _corner(draws: Draws, shape: tuple[int, ...], counter: Counter) -> Tensor:
    return draws.signs(shape, "direction", counter)


def _flips(x: Tensor, threat: ThreatModel, draws: Draws, counter: Counter, count: Tensor) -> Tensor:
    """`count` (B,) random components of x sent to a random end of the box."""
    shape = tuple(x.shape[1:])
    rank = draws.uniform(shape, "direction", counter).flatten(1).argsort(dim=1, stable=True).argsort(1)
    low, high = (x.new_full((), end) for end in (threat.low, threat.high))
    ends = torch.where(draws.signs(shape, "direction sign", counter) > 0, high, low)
    chosen = (rank < count.floor().reshape(-1, 1)).reshape(x.shape)
    return torch.where(chosen, ends - x, torch.zeros_like(x))


_DIRECTIONS: dict[float, Callable[[Draws, tuple[int, ...], Counter], Tensor]] = {
    1.0: _laplace,
    2.0: _gaussian,
    math.inf: _corner,
}

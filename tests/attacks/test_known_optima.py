"""White-box minimum-norm attacks against nets that are not linear, whose nearest examples are known all the same."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import pytest
import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.registry import ATTACKS, AttackInfo, Entry
from advbench.types import ThreatModel, norm_name

# jsma promises nothing: it only raises components, in pairs, and no more than a seventh of them.
NEAREST = [
    entry for entry in ATTACKS if entry.info.minimum_norm and entry.info.access == "gradient" and entry.info.ratio
]
CASES = [
    pytest.param(entry, norm, id=f"{entry.name}-{norm_name(norm)}") for entry in NEAREST for norm in entry.info.norms
]


class Ball(nn.Module):
    """Class 0 inside the Euclidean ball around the grey image, class 1 outside."""

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, x: Tensor) -> Tensor:
        inside = self.radius**2 - (x - 0.5).flatten(1).square().sum(1)
        return torch.stack([inside, torch.zeros_like(inside)], 1)

    def distance(self, x: Tensor, norm: float) -> Tensor:
        """The nearest way out (B,), where the box does not bind: by the symmetry of the ball, in closed form."""
        a = (x - 0.5).flatten(1).double().abs()
        missing = self.radius**2 - a.square().sum(1)  # what the squared length lacks
        if norm == 2:
            return self.radius - a.square().sum(1).sqrt()
        if norm == inf:  # every component moves outwards by t
            return (-a.sum(1) + (a.sum(1).square() + a.shape[1] * missing).sqrt()) / a.shape[1]
        if norm == 1:  # the largest component alone moves
            return (missing + a.amax(1).square()).sqrt() - a.amax(1)
        gains = (0.25 - a.square()).sort(1, descending=True).values.cumsum(1)  # each component to its far end
        return ((gains < missing[:, None]).sum(1) + 1).double()


@dataclass(frozen=True)
class Plane:
    """A two-layer net of two inputs, and the nearest wrong point of a fine grid over its whole domain."""

    model: nn.Module
    x: Tensor  # (B, 1, 1, 2)
    y: Tensor
    spacing: float

    def distance(self, norm: float) -> Tensor:
        """(B,) float64, too large by at most the spacing (times the norm of (1, 1))."""
        ticks = torch.arange(0.0, 1.0 + self.spacing / 2, self.spacing)
        points = torch.cartesian_prod(ticks, ticks)
        with torch.no_grad():
            classes = torch.cat([self.model(part.reshape(-1, 1, 1, 2)).argmax(1) for part in points.split(1 << 16)])
        if norm == 0:
            return torch.stack([self._components(x, y, ticks) for x, y in zip(self.x, self.y, strict=True)])
        return torch.stack(
            [lengths(points[classes != y] - x.flatten(), norm).min() for x, y in zip(self.x, self.y, strict=True)]
        ).double()

    def _components(self, x: Tensor, y: Tensor, ticks: Tensor) -> Tensor:
        """One, if a point on one of the two lines through x is wrong; else two."""
        lines = x.flatten().repeat(2, len(ticks), 1)
        lines[0, :, 0], lines[1, :, 1] = ticks, ticks
        with torch.no_grad():
            wrong = self.model(lines.reshape(-1, 1, 1, 2)).argmax(1) != y
        return torch.tensor(1.0 if bool(wrong.any()) else 2.0).double()


def _ball_samples(radius: float) -> tuple[Ball, Tensor]:
    generator = torch.Generator().manual_seed(3)
    way = torch.randn(6, 12, generator=generator)
    length = radius * (0.3 + 0.5 * torch.rand(6, 1, generator=generator))
    x = 0.5 + (way / way.norm(dim=1, keepdim=True) * length).clamp(-0.45, 0.45)
    return Ball(radius), x.reshape(6, 3, 2, 2)


def _plane() -> Plane:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = nn.Sequential(nn.Flatten(), nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 3)).eval()
        with torch.no_grad():
            model[1].weight.mul_(6.0)
            model[1].bias.uniform_(-3.0, 3.0)
            x = torch.rand(40, 1, 1, 2)
            y = model(x).argmax(1)
    return Plane(model, x, y, spacing=0.002)


def _found(entry: Entry[AttackInfo], model: nn.Module, x: Tensor, y: Tensor, norm: float) -> Tensor:
    """Distances (B,); inf where there is no example."""
    x_adv = entry.function(model, x, y, ThreatModel(norm, None), draws=Draws(0, torch.arange(len(x))))
    assert isinstance(x_adv, Tensor)
    return torch.where(model(x_adv).argmax(1) != y, lengths(x_adv.double() - x.double(), norm), inf)


@pytest.mark.slow
@pytest.mark.parametrize(("entry", "norm"), CASES)
def test_the_nearest_way_out_of_a_ball_is_found(entry: Entry[AttackInfo], norm: float) -> None:
    model, x = _ball_samples(0.9 if norm == 0 else 0.25)
    optimum = model.distance(x, norm)
    found = _found(entry, model, x, torch.zeros(len(x), dtype=torch.int64), norm)
    assert bool((found >= optimum * (1 - 1e-4) - 1e-6).all()), f"{found} beats the optimum {optimum}"
    # The slope at x does not tell how much room a component has: in l0 a local method may need one more.
    allowed = optimum + 1 if norm == 0 else 1.05 * optimum + 1e-6
    assert bool((found <= allowed).all()), f"found {found}, optimum {optimum}"


@pytest.mark.slow
@pytest.mark.parametrize(("entry", "norm"), CASES)
def test_the_nearest_point_of_a_two_layer_net_is_found(entry: Entry[AttackInfo], norm: float) -> None:
    """Not for every sample: a local method may run to another face of the boundary."""
    plane = _plane()
    optimum = plane.distance(norm)
    found = _found(entry, plane.model, plane.x, plane.y, norm)
    blur = 0.0 if norm == 0 else 2.0 * plane.spacing
    assert bool((found >= optimum - blur).all()), "a point nearer than any of the grid"
    share = float((found <= 1.05 * optimum + 1e-6).double().mean())
    assert share >= 0.75, f"the nearest point was found for {share:.1%} of the samples"

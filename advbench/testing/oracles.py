"""Problems whose answer is known: linear models, where the nearest adversarial example has a closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.norms import dual, lengths


class Linear(nn.Module):
    """Logits W x + b of images x (B, C, H, W): a boundary is a hyperplane, so every distance to it is known.

    weight: (K, D), bias: (K,). The sums are made in float64 and one sample at a time, so that a sample's logits do not
    depend on the batch around it; they come back in the dtype of x.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.double()), nn.Parameter(bias.double())

    def forward(self, x: Tensor) -> Tensor:
        return self.exact(x).to(x.dtype)

    def exact(self, x: Tensor) -> Tensor:
        """The logits (B, K) in float64."""
        return (x.flatten(1).double()[:, None] * self.weight).sum(2) + self.bias

    def distance(self, x: Tensor, y: Tensor, norm: float) -> Tensor:
        """Distance (B,) float64 from x to the nearest point of another class than y; 0 where x is not classified as y.

        For norms 1, 2 and inf it is the least over the other classes of margin / |w_y - w_other| in the dual norm; the
        box is left out, since `linear_problem` makes it inactive at that point. For norm 0 it is the least number of
        components that together lower a margin to 0 when each goes to its better end of [0, 1]. inf with one class.
        """
        with torch.no_grad():
            logits = self.exact(x)
            gaps = (logits.gather(1, y[:, None]) - logits).clamp_min(0.0)  # (B, K)
            slopes = self.weight[y][:, None] - self.weight  # (B, K, D)
            if norm == 0:
                per_class = _components_needed(gaps, slopes, x.flatten(1).double()[:, None])
            else:
                per_class = gaps / lengths(slopes.flatten(0, 1), dual(norm)).reshape(gaps.shape)
            itself = torch.arange(gaps.shape[1], device=y.device) == y[:, None]
            return per_class.masked_fill(itself, math.inf).amin(1)


def _components_needed(gaps: Tensor, slopes: Tensor, x: Tensor) -> Tensor:
    """How many components of x (B, 1, D) bring a margin gaps (B, K) to 0; inf where all of them do not."""
    gains = torch.where(slopes > 0, slopes * x, slopes * (x - 1.0))  # (B, K, D) each component's best contribution
    together = gains.sort(2, descending=True).values.cumsum(2)
    count = (together < gaps[..., None]).sum(2) + (gaps > 0)
    return torch.where(together[..., -1] >= gaps, count.double(), math.inf)


@dataclass(frozen=True, eq=False)
class LinearProblem:
    """Images x (B, C, H, W) that `model` classifies as y (B,), with the randomness of their attack."""

    model: Linear
    x: Tensor
    y: Tensor
    draws: Draws

    def distance(self, norm: float) -> Tensor:
        """Closed-form distance (B,) float64 of each sample to the boundary."""
        return self.model.distance(self.x, self.y, norm)

    def median_radius(self, norm: float) -> float:
        """A radius with which an optimal attack fools about half of the samples; 0.1 where none can be fooled."""
        distance = self.distance(norm)
        return float(distance.median()) if bool(distance.isfinite().all()) else 0.1


def linear_problem(shape: tuple[int, ...], classes: int, batch: int, seed: int) -> LinearProblem:
    """A random linear problem in [0, 1] whose box is inactive near the boundary.

    All classes tie at the grey image. Each sample lies on a random ray from it, far enough out for its l1 distance to
    the boundary to be between 0.05 and 0.25 where that leaves every component within 0.1 of grey, else nearer. So each
    nearest adversarial example, even the l1 one that changes a single component, lies well inside the box.
    """
    generator = torch.Generator().manual_seed(seed)
    size = math.prod(shape)
    weight = torch.randn(classes, size, generator=generator, dtype=torch.float64)
    model = Linear(weight, -0.5 * weight.sum(1))
    ray = 0.1 * (2.0 * torch.rand(batch, size, generator=generator, dtype=torch.float64) - 1.0)
    y = model.exact(0.5 + ray).argmax(1)
    wanted = 0.05 + 0.2 * torch.rand(batch, generator=generator, dtype=torch.float64)
    # Margins grow in proportion along a ray, so one division brings each sample to its distance.
    scale = (wanted / model.distance(0.5 + ray, y, 1.0)).minimum(0.1 / ray.abs().amax(1))
    x = (0.5 + ray * torch.where(scale > 0, scale, 1.0)[:, None]).float().reshape(batch, *shape)
    ids = torch.randperm(10 * batch + 10, generator=generator)[:batch]
    return LinearProblem(model, x, model(x).argmax(1), Draws(seed, ids))

"""Infidelity: does a map foretell how the score changes when the image does? Yeh et al. 2019, arXiv:1901.09392."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advbench.core.draws import Counter, Draws
from advbench.core.gradients import frozen
from advbench.core.scoring import all_rows, scores_at, turns
from advbench.core.targets import Explained, as_target

# (x (B, C, H, W), draws, counter) -> I like x: what is taken away from x
Perturbation = Callable[[Tensor, Draws, Counter], Tensor]


def noise(deviation: float = 0.2) -> Perturbation:
    """Gaussian noise of this standard deviation in input units (0.2: a fifth of the range of an image)."""
    return lambda x, draws, counter: deviation * draws.normal(tuple(x.shape[1:]), "infidelity noise", counter).to(x)


def square(side: int, baseline: float = 0.5) -> Perturbation:
    """x - baseline on a square of `side` pixels anywhere inside the image, 0 elsewhere: what hiding it takes away."""

    def perturbation(x: Tensor, draws: Draws, counter: Counter) -> Tensor:
        inside = torch.ones_like(x[:, :1], dtype=torch.bool)
        for dim, name in ((2, "row"), (3, "column")):
            size = x.shape[dim]
            start = draws.integers(max(1, size - side + 1), (), f"infidelity {name}", counter)[:, None]
            place = torch.arange(size, device=x.device)
            span = (place >= start) & (place < start + side)  # (B, size)
            inside = inside & (span[:, None, :, None] if dim == 2 else span[:, None, None, :])
        return torch.where(inside, x - baseline, 0.0)

    return perturbation


def infidelity(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    heat: Tensor,
    *,
    draws: Draws | None = None,
    perturbation: Perturbation | None = None,
    samples: int = 100,
    scaled: bool = False,
) -> Tensor:
    """(B,) float64, at least 0: mean over I of (I . heat - (score(x) - score(x - I)))^2, in squared units of the score.

    Definition 2.1 of the paper. heat (B, C, H, W) is taken with its signs; a map (B, 1, H, W) is shared equally among
    the channels. y: classes (B,), meaning their raw scores, or a target. perturbation: how I is drawn (Gaussian noise
    of 0.2). samples: how many I per image. scaled: multiply each map by the number that is best for it, so that maps
    in other units than score per input unit can be compared; at most the mean squared change of the score then.
    Raises ValueError if samples < 1 or heat does not fit x.
    """
    if samples < 1:
        raise ValueError(f"infidelity: samples must be at least 1, got {samples}")
    if heat.shape not in {x.shape, (len(x), 1, *x.shape[2:])}:
        raise ValueError(f"infidelity: a map {tuple(heat.shape)} does not fit images {tuple(x.shape)}")
    draws = Draws(0, all_rows(x)) if draws is None else draws
    perturb = noise() if perturbation is None else perturbation
    x, share = x.detach(), x.shape[1] // heat.shape[1]
    weight = (heat.detach().double() / share).expand_as(x)
    with frozen(model):
        target = as_target(y)
        score = scores_at(model, x, target, all_rows(x)).double()
        foretold, happened = [], []
        for turn in turns(samples, len(x)):
            taken = torch.stack([perturb(x, draws, i) for i in turn])  # (S, B, C, H, W)
            left = scores_at(model, (x - taken).flatten(0, 1), target, all_rows(x).repeat(len(turn)))
            foretold.append((taken.double() * weight).flatten(2).sum(2))
            happened.append(score - left.double().reshape(len(turn), len(x)))
    guess, change = torch.cat(foretold), torch.cat(happened)  # (samples, B)
    if scaled:
        power = guess.square().sum(0)
        guess = guess * torch.where(power > 0, (guess * change).sum(0) / torch.where(power > 0, power, 1.0), 0.0)
    return (guess - change).square().mean(0)

"""Extremal perturbation: the smooth mask of a given area that shows the most. Fong et al. 2019, arXiv:1910.08485."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.blank import blank
from advbench.core.draws import Draws
from advbench.core.gradients import backprop, frozen, in_pieces
from advbench.core.scoring import all_rows, fitting_piece, score_with_graph
from advbench.core.targets import Explained, Target, as_target
from advbench.registry import attribution
from advbench.types import ConfigError, Evaluation

# Lengths for images of 224 pixels, as in the paper; other images in proportion.
_SIDE, _STEP, _SIGMA, _BLUR = 224, 7, 21, 20
_REACH = 8  # lattice steps within which a bump counts: 2.7 times its spread
_TEMPERATURE = 1 / 20  # of the smooth maximum, section 3.2
_GROWTH = 1.0035  # of the area term per step, in 800 steps; shorter runs grow as much in all
_STEPS = 800
_MOMENTUM = 0.9


@attribution(paper="arXiv:1910.08485")
def extremal_perturbation(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    *,
    draws: Draws | None = None,
    areas: Sequence[float] = (0.1,),
    steps: int = _STEPS,
    step_size: float = 0.01,
    weight: float = 300.0,
) -> Tensor:
    """Mask (B, 1, H, W) in [0, 1], the mean over `areas`: 1 where the image shows, 0 where its blurred copy does.

    For each area a the mask that raises score(mask x + (1 - mask) blur) - weight |sorted mask - r_a|^2 / (H W), r_a
    being a share a of ones and zeros else (equations 4 and 5). The mask is the smooth maximum, at temperature 1/20, of
    Gaussian bumps on a lattice (equation 7; spread 21 and lattice step 7 pixels of 224, between them bilinear), all 0.5
    at first. Gradient ascent with momentum 0.9 over `steps` steps of `step_size`, while the weight grows 16-fold.
    areas: shares of the image in (0, 1); several show what is needed first. step_size, weight: for raw scores, as the
    authors use them; a probability wants a smaller weight. One forward and backward pass per image, step and area.
    `draws` is not used: nothing is random. Raises ConfigError for parameters out of range.
    """
    if not areas or not all(0.0 < area < 1.0 for area in areas):
        raise ConfigError(f"extremal_perturbation: areas must be shares in (0, 1), got {list(areas)}")
    if steps < 1 or step_size <= 0 or weight < 0:
        raise ConfigError(
            f"extremal_perturbation: needs steps >= 1, step_size > 0, weight >= 0, got {steps}, {step_size}, {weight}"
        )
    with frozen(model), in_pieces(fitting_piece(x)):
        hidden = blank(x, "blur", _BLUR / _SIDE * max(x.shape[2:]))
        blend = _Blend(model, x.detach(), hidden, as_target(y), steps, step_size, weight)
        found = [_best_mask(blend, area) for area in areas]
    return torch.stack(found).mean(0)


class _Blend(NamedTuple):
    """x and its blurred copy, both (B, C, H, W), and what is asked of a mask between them."""

    model: nn.Module
    x: Tensor
    hidden: Tensor
    target: Target
    steps: int
    step_size: float
    weight: float


def _best_mask(blend: _Blend, area: float) -> Tensor:
    """(B, 1, H, W): the mask after the last step."""
    x, shape = blend.x, (int(blend.x.shape[2]), int(blend.x.shape[3]))
    wanted = _sorted_mask(area, shape, x)
    bumps = torch.full((len(x), 1, *_lattice_size(shape)), 0.5, dtype=x.dtype, device=x.device)
    velocity = torch.zeros_like(bumps)
    # The first step follows the score alone: sorting a mask of equal values would prefer pixels by their place.
    weight = 0.0

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        mask = smooth_mask(z, shape)
        score = score_with_graph(blend.model, torch.lerp(blend.hidden[rows], x[rows], mask), blend.target, rows)
        excess = (mask.flatten(1).sort(1).values - wanted).square().mean(1)
        return Evaluation(weight * excess - score, torch.zeros_like(rows, dtype=torch.bool))

    for step in range(blend.steps):
        _, grad = backprop(objective, bumps, all_rows(x))
        # As with dampening: the velocity is a running mean of the gradients, so the step size keeps its meaning.
        velocity = _MOMENTUM * velocity + (1.0 - _MOMENTUM) * grad
        bumps = (bumps - blend.step_size * velocity).clamp(0.0, 1.0)
        weight = blend.weight * _GROWTH ** (_STEPS * step / blend.steps)
    return smooth_mask(bumps, shape)


def smooth_mask(bumps: Tensor, shape: tuple[int, int]) -> Tensor:
    """Mask (B, 1, H, W) in [0, 1] of the heights of Gaussian bumps (B, 1, h + 16, w + 16): h x w of them lie over the
    image and 8 around it on every side, or else its border would differ from its middle."""
    spread = _SIGMA / _STEP  # in lattice steps
    place = torch.arange(-_REACH, _REACH + 1, dtype=bumps.dtype, device=bumps.device)
    kernel = torch.exp(-0.5 * (place[:, None].square() + place.square()) / spread**2).flatten()
    # Each lattice point sees the bumps around it, lowered with their distance.
    seen = functional.unfold(bumps, 2 * _REACH + 1) * kernel[:, None]  # (B, K, h w)
    largest = (seen * (seen / _TEMPERATURE).softmax(1)).sum(1)
    over = (bumps.shape[2] - 2 * _REACH, bumps.shape[3] - 2 * _REACH)
    return functional.interpolate(largest.reshape(-1, 1, *over), size=shape, mode="bilinear")


def _lattice_size(shape: tuple[int, int]) -> tuple[int, int]:
    step = _STEP / _SIDE * max(shape)
    return max(1, round(shape[0] / step)) + 2 * _REACH, max(1, round(shape[1] / step)) + 2 * _REACH


def _sorted_mask(area: float, shape: tuple[int, int], like: Tensor) -> Tensor:
    """(H W,): zeros, and ones for the share `area` at the end."""
    pixels = shape[0] * shape[1]
    ones = max(1, round(area * pixels))
    return (torch.arange(pixels, device=like.device) >= pixels - ones).to(like.dtype)

"""One pixel attack: differential evolution over places and colours. Su et al. 2017, arXiv:1710.08864."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import positive
from advbench.attacks.score.random_search import enough_queries, look_at
from advbench.core.draws import Draws
from advbench.core.draws_ahead import below
from advbench.core.gradients import evaluate, frozen
from advbench.core.keep import keep_better, keep_strongest
from advbench.core.losses import margin_loss
from advbench.core.objectives import Objective, misclassify
from advbench.registry import attack
from advbench.types import ConfigError, Evaluation, ThreatModel

_PROBES = 2**22  # components of the images that are made at a time


@attack(norms=(0,), access="scores", paper="arXiv:1710.08864", nested=True, structured=True, cost=(40401, 0))
def one_pixel(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 40_401,
    population: int = 400,
    differential_weight: float = 0.5,
) -> Tensor:
    """x_adv: the best member of a population of sets of floor(eps / C) pixels, each with a place and a colour.

    eps counts components here: a whole pixel of an RGB image takes 3, so eps = 3 is one pixel and eps < 3 changes
    nothing. A child is a + differential_weight * (b - c) of three different random members, without crossover, and
    replaces its parent if the margin is lower (section 3.3). Places start uniform, colours normal about grey, as in the
    paper.
    queries: most forward passes of one sample: one for x, `population` for the start and for each generation; the
    default is 100 generations. A sample leaves after the generation in which a member fools the model.
    Raises ConfigError if threat.eps is None, population < 4, queries <= population or differential_weight <= 0.
    """
    if population < 4:
        raise ConfigError(f"population must be at least 4, a parent and three others, got {population}")
    enough_queries(queries, 1 + population, "one for x and one for each member of the first population")
    positive("differential_weight", differential_weight)
    pixels = min(int(threat.radius) // x.shape[1], prod(x.shape[2:]))
    objective = misclassify(model, y, targeted=targeted, loss=margin_loss)
    with frozen(model):
        kept = look_at(x, objective)
        rows = (~kept.reached).nonzero()[:, 0]
        generations = (queries - 1) // population if pixels else 0
        members = _first(draws.rows(rows), population, pixels, x)
        losses = x.new_full((len(rows), population), torch.inf)
        for generation in range(generations):
            if not len(rows):
                break
            children = members
            if generation:
                children = _children(members, draws.rows(rows), generation, differential_weight)
            asked = _asked(objective, x, rows, children, threat)
            best = torch.where(asked.reached | ~asked.reached.any(1, keepdim=True), asked.loss, torch.inf).argmin(1)
            each = torch.arange(len(rows), device=x.device)
            z = _painted(x[rows], children[each, best][:, None], threat)[:, 0]
            fooled = asked.reached.any(1)
            kept = keep_better(kept, z, Evaluation(asked.loss[each, best], fooled), rows, keep_strongest)
            better = asked.loss <= losses
            members = torch.where(better[..., None, None], children, members)[~fooled]
            losses, rows = torch.where(better, asked.loss, losses)[~fooled], rows[~fooled]
    return kept.z


def _first(draws: Draws, population: int, pixels: int, x: Tensor) -> Tensor:
    """Members (A, P, pixels, 2 + C): places down and across in [0, 1), then colours, 0 for low and 1 for high."""
    channels = x.shape[1]
    places = draws.uniform((population, pixels, 2), "first places")
    colours = 0.5 + 0.5 * draws.normal((population, pixels, channels), "first colours")
    return torch.cat([places, colours.clamp(0.0, 1.0)], 3).to(x.dtype)


def _children(members: Tensor, draws: Draws, generation: int, weight: float) -> Tensor:
    """A child for each member, made of three different others; what leaves its range goes back to the range's end."""
    count, population = members.shape[:2]
    words = draws.words(3 * population, "parents", generation).reshape(count, population, 3)
    others = _three_of(population - 1, words) + 1 + torch.arange(population, device=words.device)[:, None]
    a, b, c = members[torch.arange(count, device=words.device)[:, None, None], others % population].unbind(2)
    return (a + weight * (b - c)).clamp(0.0, 1.0)


def _three_of(limit: int, words: Tensor) -> Tensor:
    """Three different numbers of 0 .. limit - 1 in random order, from words (..., 3): each such triple as likely."""
    first, second, third = (below(limit - i, words[..., i]) for i in range(3))
    second = second + (second >= first)  # the number at this place among those that are left
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    third = third + (third >= low)
    return torch.stack([first, second, third + (third >= high)], -1)


def _painted(x: Tensor, members: Tensor, threat: ThreatModel) -> Tensor:
    """Images (A, P, C, H, W): x (A, C, H, W) with the pixels of each member (A, P, pixels, 2 + C)."""
    channels, height, width = x.shape[1:]
    flat = x.flatten(2)[:, None].repeat(1, members.shape[1], 1, 1)  # (A, P, C, H * W)
    rows, columns = ((members[..., i] * side).long().clamp_max(side - 1) for i, side in enumerate((height, width)))
    colours = threat.low + (threat.high - threat.low) * members[..., 2:]
    # One pixel after the other, so that of two at one place the last one counts.
    for place, colour in zip((rows * width + columns).unbind(2), colours.unbind(2), strict=True):
        flat.scatter_(3, place[..., None, None].expand(-1, -1, channels, 1), colour[..., None])
    return flat.reshape(*members.shape[:2], *x.shape[1:])


def _asked(objective: Objective, x: Tensor, rows: Tensor, members: Tensor, threat: ThreatModel) -> Evaluation:
    """Loss and success (A, P) of all members: one query each."""
    population = members.shape[1]
    at_once = max(1, _PROBES // (population * prod(x.shape[1:])))
    answers = []
    for some, part in zip(torch.split(rows, at_once), torch.split(members, at_once), strict=True):
        images = _painted(x[some], part, threat).flatten(0, 1)
        answers.append(evaluate(objective, images, some.repeat_interleave(population)))
    loss = torch.cat([answer.loss for answer in answers]).nan_to_num(nan=torch.inf)
    return Evaluation(
        loss.reshape(-1, population), torch.cat([answer.reached for answer in answers]).reshape(-1, population)
    )

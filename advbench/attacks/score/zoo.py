"""Zeroth order optimisation: Adam on single coordinates. Chen et al. 2017, arXiv:1708.03999."""

from __future__ import annotations

from math import inf, prod

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.score.random_search import enough_queries, look_at
from advbench.core.draws import Draws
from advbench.core.draws_ahead import one_of_each_part
from advbench.core.gradients import evaluate, frozen
from advbench.core.keep import Kept, keep_better, keep_nearest, near_enough, nearest_found
from advbench.core.losses import margin_loss
from advbench.core.objectives import Objective, misclassify
from advbench.core.regula_falsi import pull_back
from advbench.registry import attack
from advbench.types import ThreatModel

_PROBES = 2**22  # components of the points that are made at a time
_DECAY = (0.9, 0.999)  # of Adam: algorithm 2
_STEPS_BACK = 5  # of regula falsi along the segment to x, in the end


@attack(norms=(2,), access="scores", paper="arXiv:1708.03999", minimum_norm=True, cost=(50000, 0))
def zoo(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    queries: int = 50_000,
    coordinates: int = 128,
    search_steps: int = 1,
    c: float = 1.0,
    step_size: float = 0.02,
    probe: float = 1e-4,
) -> Tensor:
    """x_adv: the nearest example on paths that lower |delta|^2 + c * max(margin, 0), x itself if there is none.

    A step asks how the margin changes with each of `coordinates` random components, `probe` up and down, and moves
    these by Adam (algorithm 2). Where the model is fooled the margin has no slope: no component is asked about. After a
    path c goes down if it found an example, by bisection, else up, ten times as long as none was found (section 4.1).
    In the end, and not in the paper, five queries look for a nearer example on the way back to x.
    queries: most forward passes of one sample, shared among search_steps paths; the paper's 9 paths of 3,000 steps take
    7 million. step_size: Adam's, in input units; twice the paper's, for shorter paths.
    With threat.eps a sample leaves at an example that near. Raises ConfigError if coordinates or search_steps < 1,
    queries do not suffice for two steps of each path, or c, step_size or probe is not positive.
    """
    for name, value in (("c", c), ("step_size", step_size), ("probe", probe)):
        positive(name, value)
    size = prod(x.shape[1:])
    width = min(at_least_one("coordinates", coordinates), max(1, size))
    step, other = 2 * width + 1, 1 + _STEPS_BACK
    # What a step moves is looked at by the next one of its path.
    least = other + at_least_one("search_steps", search_steps) * 2 * step
    enough_queries(queries, least, f"{other} for x and the way back and 2 * {step} for two steps of each path")
    steps = (queries - other) // search_steps // step
    objective = misclassify(model, y, targeted=targeted, loss=margin_loss)
    low, high, weight = (x.new_full((len(x),), value) for value in (0.0, inf, c))
    with frozen(model):
        kept = clean = look_at(x, objective)
        for search in range(search_steps):
            path = _Path(x, threat, width, probe, step_size)
            rows = (~near_enough(kept, x, threat)).nonzero()[:, 0]
            found = torch.zeros_like(kept.reached)
            for turn in range(steps):
                if not len(rows):
                    break
                words = draws.rows(rows).words(width, f"coordinates {search}", turn)
                kept, reached = path.take(objective, rows, weight, one_of_each_part(size, width, words), kept)
                found[rows] |= reached
                rows = rows[~near_enough(Kept(*(part[rows] for part in kept)), x[rows], threat)]
            low, high = torch.where(found, low, weight), torch.where(found, weight, high)
            weight = torch.where(high.isinf(), 10.0 * weight, 0.5 * (low + high))
        kept = pull_back(objective, x, clean.loss, kept, threat=threat, steps=_STEPS_BACK)
    return nearest_found(kept, x, threat)


class _Path:
    """The points of one path from x (B, ...), and Adam's memory of each component: two averages and a count."""

    def __init__(self, x: Tensor, threat: ThreatModel, width: int, probe: float, step_size: float) -> None:
        self.x, self.z, self.threat = x, x.clone(), threat
        self.width, self.probe, self.step_size = width, probe, step_size
        self.memory = x.new_zeros(3, *x.flatten(1).shape)
        self.keep = keep_nearest(x, threat.norm)

    def take(
        self, objective: Objective, rows: Tensor, weight: Tensor, index: Tensor, kept: Kept
    ) -> tuple[Kept, Tensor]:
        """Look at the points of `rows` (A,), then move their components index (A, width)."""
        z = self.z[rows]
        answer = evaluate(objective, z, rows)
        kept = keep_better(kept, z, answer, rows, self.keep)
        slope = z.new_zeros(index.shape)
        at_work = (~answer.reached).nonzero()[:, 0]
        if len(at_work):
            for some in torch.split(at_work, max(1, _PROBES // (2 * self.width * z[0].numel()))):
                slope[some] = self._slope(objective, z[some], rows[some], index[some])
        delta = (z - self.x[rows]).flatten(1).gather(1, index)
        self.z[rows] = self._moved(z, rows, index, 2.0 * delta + weight[rows, None] * slope)
        return kept, answer.reached

    def _slope(self, objective: Objective, z: Tensor, rows: Tensor, index: Tensor) -> Tensor:
        """Symmetric difference quotients (A, width) of the margin, cut off at 0, in the box."""
        up = torch.zeros(*index.shape, z[0].numel(), dtype=z.dtype, device=z.device)
        up.scatter_(2, index[..., None], self.probe)
        centre = z.flatten(1)[:, None]
        probes = torch.cat([centre + up, centre - up], 1).clamp(self.threat.low, self.threat.high)  # (A, 2 width, D)
        moved = (probes[:, : self.width] - probes[:, self.width :]).gather(2, index[..., None])[..., 0]
        images = probes.flatten(0, 1).reshape(-1, *z.shape[1:])
        loss = evaluate(objective, images, rows.repeat_interleave(2 * self.width)).loss.clamp_min(0.0)
        above, below = loss.reshape(-1, 2, self.width).unbind(1)
        return ((above - below) / moved).to(z.dtype).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)

    def _moved(self, z: Tensor, rows: Tensor, index: Tensor, grad: Tensor) -> Tensor:
        mean, square, count = (part[rows].gather(1, index) for part in self.memory)
        count = count + 1.0
        mean = _DECAY[0] * mean + (1.0 - _DECAY[0]) * grad
        square = _DECAY[1] * square + (1.0 - _DECAY[1]) * grad.square()
        for part, value in zip(self.memory, (mean, square, count), strict=True):
            part[rows] = part[rows].scatter(1, index, value)
        step = mean / (1.0 - _DECAY[0] ** count) / ((square / (1.0 - _DECAY[1] ** count)).sqrt() + 1e-8)
        moved = z.flatten(1).scatter_add(1, index, -self.step_size * step).reshape(z.shape)
        return moved.clamp(self.threat.low, self.threat.high)

"""One attack under test: how the laws call it, and how they complain."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from advbench.core.norms import lengths
from advbench.registry import AttackInfo
from advbench.testing.oracles import LinearProblem, linear_problem
from advbench.types import ThreatModel, norm_name

Attack = Callable[..., Tensor]
Params = Callable[[nn.Module], Mapping[str, object]]


@dataclass(frozen=True, eq=False)
class Trial:
    """An attack, the promises it makes and the size of the problems it is tried on."""

    name: str
    attack: Attack
    info: AttackInfo
    params: Params
    ratio: float | None  # the attack succeeds wherever eps is at least ratio times the closed-form distance
    control: bool  # nothing is promised about where it goes, but it may look at the victim's answers
    can_target: bool
    can_start: bool
    norm: float
    shape: tuple[int, ...]
    classes: int
    batch: int
    seed: int

    def problem(self, classes: int | None = None, batch: int | None = None) -> LinearProblem:
        """A linear problem of this trial's size; with two classes (say) instead of its own where asked."""
        return linear_problem(
            self.shape, self.classes if classes is None else classes, self.batch if batch is None else batch, self.seed
        )

    def with_images(self, problem: LinearProblem, x: Tensor) -> LinearProblem:
        """The same problem with other images (B, C, H, W) and the labels that the model gives them."""
        return replace(problem, x=x, y=problem.model(x).argmax(1))

    def large_radius(self) -> float:
        """A radius that takes a good part of the box."""
        size = math.prod(self.shape)
        return {0.0: size // 2, 1.0: 0.1 * size, 2.0: 0.2 * math.sqrt(size), math.inf: 0.3}[self.norm]

    def threats(self, radius: float) -> list[ThreatModel]:
        """The threat of `radius`, and the one without a radius where the attack accepts it."""
        threat = ThreatModel(self.norm, radius)
        return [threat] if self.info.needs_radius else [threat, threat.at(None)]

    def run(
        self,
        problem: LinearProblem,
        threat: ThreatModel,
        *,
        model: nn.Module | None = None,
        params_for: nn.Module | None = None,
        targeted: bool = False,
        x_start: Tensor | None = None,
    ) -> Tensor:
        """x_adv for `problem`, or for the same images on another `model`, with the parameters that fit `params_for`.

        x_start: where to begin, for an attack that can be told.
        """
        victim = problem.model if model is None else model
        params = self.params(victim if params_for is None else params_for)
        told: dict[str, object] = {"targeted": targeted} if self.can_target else {}
        if x_start is not None:
            told["x_start"] = x_start
        return self.attack(victim, problem.x, problem.y, threat, draws=problem.draws, **told, **params)

    def claim(self, law: str, holds: Tensor | bool, found: str) -> None:
        """Raise AssertionError, naming the attack, the norm and the law, unless `holds` everywhere."""
        if not bool(torch.as_tensor(holds).all()):
            raise AssertionError(f"{self.name} in {norm_name(self.norm)} breaks the law {law!r}: {found}")


def slack(x: Tensor, threat: ThreatModel) -> float:
    """What rounding may add to a distance: 1e-6 of eps, and half a unit in the last place of 1 for each component."""
    if threat.eps is None or threat.norm == 0:
        return 0.0
    rounding = torch.full_like(x[:1], 0.5 * torch.finfo(x.dtype).eps, dtype=torch.float64)
    return 1e-6 * threat.eps + (float(lengths(rounding, threat.norm)[0]) if len(x) else 0.0)


def distances(x: Tensor, x_adv: Tensor, norm: float) -> Tensor:
    """Length (B,) float64 of x_adv - x."""
    return lengths(x_adv.double() - x.double(), norm)


def part(problem: LinearProblem, index: Tensor) -> LinearProblem:
    """The samples at `index` (positions) of the problem, each with its own randomness."""
    return replace(problem, x=problem.x[index], y=problem.y[index], draws=problem.draws.rows(index))


def numbers(values: Tensor) -> str:
    """The values as a short list for a message."""
    return "[" + ", ".join(f"{value:.6g}" for value in values.detach().double().flatten()[:8].tolist()) + "]"

"""Push one inner layer further the way another attack moved it. Huang et al. 2019, arXiv:1907.10823."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one
from advbench.attacks.gradient.mi_fgsm import mi_fgsm
from advbench.attacks.inner_attack import inner_attack
from advbench.core.activations import record
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import attending, frozen, labels_at, logits_at
from advbench.core.keep import when_reached
from advbench.core.objectives import Objective
from advbench.core.projections import within
from advbench.core.stand_in import network_behind
from advbench.core.step_rules import steepest
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel


@attack(norms=(2, inf), access="gradient", paper="arXiv:1907.10823", cost=(24, 20))
def intermediate_level(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    layer: str | None = None,
    via: Callable[..., Tensor] = mi_fgsm,
    steps: int = 10,
    early_stop: bool = True,
) -> Tensor:
    """x_adv whose `layer` has moved as far as it can in the direction in which `via`'s example moved it.

    The loss is the dot product of the two movements (ILAP, section 3.1 of the paper); `via` is an attack with its
    parameters filled in, run to its end. layer: a name as in `named_modules`; by default the convolution in the middle
    of them, rounded up (without one, a linear layer; without that, the logits). `steps` steps of length 2 eps / steps
    from x. early_stop: stop at the first iterate that is adversarial, return via's example where only that is, and x
    itself where that meets the goal already; without it (`transfer` turns it off) the last iterate is returned, or the
    last that was adversarial.
    Raises ConfigError if threat.eps is None, steps < 1, no layer has this name, or `via` cannot have this norm or goal
    or attacks all samples together.
    """
    size = 2.0 * threat.radius / at_least_one("steps", steps)
    guided_by = inner_attack(via, threat, targeted=targeted, early_stop=False)
    x_adv, left = x.clone(), torch.arange(len(x), device=x.device)
    with frozen(model), _read(model, layer) as both:
        if early_stop:
            left = ((labels_at(model, x, left) == y) != targeted).nonzero()[:, 0]
        origin, goal, rows = x[left], y[left], torch.arange(len(left), device=x.device)
        with attending(left):
            guide = guided_by(model, origin, goal, threat, draws=draws.rows(left))
            (_, start), (logits, end) = (_split(logits_at(both, z, rows), both) for z in (origin, guide))
            found = descend(
                origin,
                _along(both, end - start, start, goal, targeted),
                step=steepest(threat.norm, size),
                steps=steps,
                project=within(threat, origin),
                stop=when_reached if early_stop else None,
            )
        fallback = early_stop & ~found.reached & ((logits.argmax(1) == goal) == targeted)
        x_adv[left] = torch.where(fallback.reshape(-1, *[1] * (x.dim() - 1)), guide, found.z)
    return x_adv


class _Both(nn.Module):
    """Logits and the flattened output of a layer side by side, (A, K + F), from one pass."""

    def __init__(self, model: nn.Module, layer: str, outputs: dict[str, Tensor]) -> None:
        super().__init__()
        self.model, self.layer, self.outputs = model, layer, outputs
        self.classes, self.size = 0, 0

    def forward(self, z: Tensor) -> Tensor:
        self.outputs.clear()
        logits: Tensor = self.model(z)
        self.classes = logits.shape[1]
        if not self.layer:
            return torch.cat([logits, logits], 1)
        inner = self.outputs.get(self.layer)
        if inner is None:  # the victim's budget is spent: it was not asked
            return torch.cat([logits, logits.new_zeros(len(z), self.size)], 1)
        inner = inner.flatten(1)[: len(z)]  # the model may have filled up the batch
        self.size = inner.shape[1]
        return torch.cat([logits, inner], 1)


def _split(answer: Tensor, both: _Both) -> tuple[Tensor, Tensor]:
    """The logits (A, K) and the layer's output (A, F)."""
    return answer[:, : both.classes], answer[:, both.classes :]


@contextmanager
def _read(model: nn.Module, layer: str | None) -> Iterator[_Both]:
    network = network_behind(model)
    name = _middle(network) if layer is None else layer
    with record(network, [name] if name else []) as outputs:
        yield _Both(model, name, outputs)


def _middle(network: nn.Module) -> str:
    """The middle one of the convolutions, or else of the linear layers; "" without any."""
    for kind in (nn.Conv2d, nn.Linear):
        names: list[str] = [name for name, module in network.named_modules() if isinstance(module, kind) and name]
        if names:
            return names[len(names) // 2]
    return ""


def _along(both: _Both, direction: Tensor, start: Tensor, y: Tensor, targeted: bool) -> Objective:
    """Move the layer from `start` (B, F) along `direction` (B, F). reached: the prediction is where it should be."""

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        logits, inner = _split(both(z), both)
        progress = ((inner - start[rows]) * direction[rows]).sum(1)
        return Evaluation(-progress, (logits.argmax(1) == y[rows]) == targeted)

    return objective

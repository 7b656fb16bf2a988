"""Each law of `check_attack` catches an attack that breaks it, and a sound attack passes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advbench.attacks.gradient.fgsm import fgsm
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.registry import AttackInfo
from advbench.testing import Linear, check_attack
from advbench.types import ConfigError, ThreatModel

INFO = AttackInfo(norms=(inf,), access="gradient")
Attack = Callable[..., Tensor]


def honest(
    model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, targeted: bool = False
) -> Tensor:
    return fgsm(model, x, y, threat, draws=draws, targeted=targeted)


def spoiled(spoil: Callable[[Tensor, Tensor, ThreatModel], Tensor]) -> Attack:
    """fgsm whose result is changed by spoil(x_adv, x, threat)."""

    def attack(
        model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, targeted: bool = False
    ) -> Tensor:
        return spoil(honest(model, x, y, threat, draws=draws, targeted=targeted), x, threat)

    return attack


def careless(act: Callable[[nn.Module, Tensor], object]) -> Attack:
    """fgsm that does act(model, x) first."""

    def attack(
        model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, targeted: bool = False
    ) -> Tensor:
        act(model, x)
        return honest(model, x, y, threat, draws=draws, targeted=targeted)

    return attack


def without_finally(
    model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, targeted: bool = False
) -> Tensor:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    x_adv = honest(model, x, y, threat, draws=draws, targeted=targeted)
    for module, training in modes:
        module.training = training
    return x_adv


def batch_normalised(
    model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, targeted: bool = False
) -> Tensor:
    delta = honest(model, x, y, threat, draws=draws, targeted=targeted) - x
    return x + delta * torch.linspace(0.5, 1.0, len(x), dtype=x.dtype).reshape(-1, 1, 1, 1)


def without_guard(
    model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, targeted: bool = False
) -> Tensor:
    leaf = x.clone().requires_grad_(True)
    with frozen(model):
        loss = nn.functional.cross_entropy(model(leaf), y, reduction="sum") * (-1.0 if targeted else 1.0)
    (grad,) = torch.autograd.grad(loss, leaf)
    direction = grad / grad.abs().flatten(1).amax(1).reshape(-1, 1, 1, 1)
    return (x + (threat.eps or 0.0) * direction).clamp(0.0, 1.0)


def clairvoyant(
    model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, targeted: bool = False
) -> Tensor:
    """Shifts the model instead of the image: an example nearer than any can be."""
    if isinstance(model, Linear) and len(y):
        with torch.no_grad():
            model.bias.copy_(torch.where(torch.arange(len(model.bias)) == y[:1], -100.0, 0.0))
    return x.clone()


def put_right(
    model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, targeted: bool = False
) -> Tensor:
    """Helps samples that are wrong."""
    with torch.no_grad(), frozen(model):
        wrong = model(x).argmax(1) != y
    away = honest(model, x, y, threat, draws=draws, targeted=targeted)
    back = honest(model, x, y, threat, draws=draws, targeted=not targeted)
    return away if targeted else torch.where(wrong.reshape(-1, 1, 1, 1), back, away)


def ignores_target(
    model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, targeted: bool = False
) -> Tensor:
    return honest(model, x, y, threat, draws=draws)


def write_into(model: nn.Module, x: Tensor) -> None:
    if len(x):
        x[0] = 0.5


def want_gradient(x_adv: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    x.requires_grad_(True)
    return x_adv.detach()


def train_it(model: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.001)


def takes_any_step(
    model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, scale: float = 1.0, steps: int = 1
) -> Tensor:
    return honest(model, x, y, threat, draws=draws)


BROKEN: dict[str, tuple[Attack, str]] = {
    "leaves the ball": (spoiled(lambda z, x, threat: x + 1.01 * (z - x)), "ball"),
    "leaves the box": (spoiled(lambda z, x, threat: z - 2.0 * (z == 0.0)), "box"),
    "NaN": (without_guard, "finite"),
    "other dtype": (spoiled(lambda z, x, threat: z.float()), "shape, dtype, device"),
    "drops a sample": (spoiled(lambda z, x, threat: z[:-1]), "shape, dtype, device"),
    "keeps a graph": (spoiled(lambda z, x, threat: z.requires_grad_(True)), "no graph"),
    "moves at eps 0": (spoiled(lambda z, x, threat: z if threat.eps else z.nextafter(1.0 - z)), "eps = 0"),
    "global randomness": (
        spoiled(lambda z, x, threat: torch.where(torch.rand_like(z) < 0.5, z, x)),
        "determinism",
    ),
    "batch": (batch_normalised, "independence"),
    "writes into x": (careless(write_into), "arguments"),
    "x wants a gradient": (spoiled(want_gradient), "arguments"),
    "left in eval mode": (careless(lambda model, x: model.eval()), "mode of"),
    "left in eval mode if it raises": (without_finally, "mode of"),
    "parameters frozen": (careless(lambda model, x: model.requires_grad_(False)), "requires_grad of"),
    "gradients cleared": (careless(lambda model, x: model.zero_grad()), "gradient of"),
    "hook left": (careless(lambda model, x: model.register_forward_pre_hook(lambda *_: None)), "hooks of"),
    "weights changed": (careless(train_it), "value of"),
    "seeded torch": (careless(lambda model, x: torch.manual_seed(len(x))), "random state of torch"),
    "seeded numpy": (careless(lambda model, x: np.random.seed(len(x))), "random state of numpy"),
    "seeded python": (careless(lambda model, x: random.seed(len(x))), "random state of python"),
    "beats the optimum": (clairvoyant, "optimum"),
    "too weak for its ratio": (spoiled(lambda z, x, threat: x + 0.5 * (z - x)), "ratio"),
    "ignores the target": (ignores_target, "targeted"),
    "weaker than noise": (spoiled(lambda z, x, threat: x), "ratio"),
    "puts right": (put_right, "already wrong"),
    "accepts NaN": (takes_any_step, "impossible numbers.*scale=nan"),
}


@pytest.fixture(autouse=True)
def _global_state_restored() -> Iterator[None]:
    numbers, choices = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        yield
    np.random.set_state(numbers)
    random.setstate(choices)


def test_a_sound_attack_passes() -> None:
    check_attack(honest, info=replace(INFO, ratio=1.0))


@pytest.mark.parametrize(("attack", "law"), BROKEN.values(), ids=BROKEN)
def test_a_broken_law_is_named(attack: Attack, law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        check_attack(attack, info=replace(INFO, ratio=1.0))


def test_an_attack_weaker_than_noise_is_caught_without_a_ratio() -> None:
    with pytest.raises(AssertionError, match="random control"):
        check_attack(spoiled(lambda z, x, threat: x.clone()), info=INFO)


def test_an_attack_that_changes_a_label_it_says_it_keeps_is_caught() -> None:
    with pytest.raises(AssertionError, match="label kept"):
        check_attack(honest, info=replace(INFO, keeps_label=True))


def test_an_attack_that_keeps_the_label_need_not_beat_noise() -> None:
    check_attack(spoiled(lambda z, x, threat: x.clone()), info=replace(INFO, keeps_label=True))


@pytest.mark.parametrize("access", ["scores", "decision"])
def test_a_gradient_that_was_not_declared_is_caught(access: str) -> None:
    with pytest.raises(AssertionError, match="gradient was taken"):
        check_attack(honest, info=AttackInfo(norms=(inf,), access=access))  # type: ignore[arg-type]


def test_scores_where_decisions_were_declared_are_caught() -> None:
    with pytest.raises(AssertionError, match="more than decisions"):
        check_attack(by_scores, info=AttackInfo(norms=(inf,), access="decision"))


def test_a_victim_asked_where_nothing_was_declared_is_caught() -> None:
    with pytest.raises(AssertionError, match="victim was called"):
        check_attack(by_scores, info=AttackInfo(norms=(inf,), access="none"))


def test_an_attack_that_nobody_declared_is_refused() -> None:
    with pytest.raises(ConfigError, match="not registered"):
        check_attack(honest)


def by_scores(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws) -> Tensor:
    """The better of two opposite corners, by the score: no gradient, no dependence on the batch, already wrong kept."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            delta = (threat.eps or 0.0) * draws.signs(tuple(x.shape[1:]), "corner").to(x.dtype)
            ends = [(x + sign * delta).clamp(0.0, 1.0) for sign in (0.0, 1.0, -1.0)]
            score = torch.stack([model(end).gather(1, y[:, None])[:, 0] for end in ends])
            best = score.argmin(0)
            return torch.stack(ends)[best, torch.arange(len(x))]
    finally:
        for module, training in modes:
            module.training = training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attack": "pgd"}, "check_attack takes an attack's function, not its name; got 'pgd'"),
        ({"info": "linf"}, "info must be AttackInfo or None, got 'linf'"),
        ({"shape": (3, 4)}, "shape must be a list of an integer, an integer, an integer"),
        ({"batch": 0}, "batch must be a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_attack(**({"attack": fgsm} | arguments))  # type: ignore[arg-type]

"""An attack inside another one gets the goal if it can have one, and is refused what it cannot do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advbench.attacks.ensemble.auto import auto
from advbench.attacks.gradient.apgd_t import apgd_t
from advbench.attacks.gradient.bpda import bpda
from advbench.attacks.gradient.jsma import jsma
from advbench.attacks.minimum_norm.carlini_wagner import carlini_wagner
from advbench.attacks.physical.universal import universal
from advbench.attacks.transfer.intermediate_level import intermediate_level
from advbench.attacks.transfer.transfer import transfer
from advbench.bench.config import load_matrix
from advbench.bench.matrix import expand
from advbench.controls.gaussian import gaussian
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import conv_net, images

LINF = ThreatModel(inf, 0.05)
Attack = Callable[..., Tensor]


def outer_attacks(model: nn.Module) -> dict[str, Attack]:
    """The attacks that have another one inside, as attacks on `model`."""
    return {
        "bpda": partial(bpda, module="0.1"),
        "transfer": partial(transfer, substitute=model),
        "intermediate_level": intermediate_level,
    }


OUTER = sorted(outer_attacks(nn.Identity()))


@pytest.mark.parametrize("name", OUTER)
def test_an_attack_without_a_target_may_be_inside(name: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 8)
    outer = outer_attacks(model)[name]
    for via in (partial(auto, steps=5, queries=20), partial(apgd_t, steps=5)):
        x_adv = outer(model, x, y, LINF, draws=draws, via=via)
        assert bool((model(x_adv).argmax(1) != y).any())
    with pytest.raises(ConfigError, match="via: apgd_t cannot be targeted"):
        outer(model, x, y, LINF, draws=draws, via=partial(apgd_t, steps=5), targeted=True)


@pytest.mark.parametrize("name", OUTER)
def test_what_cannot_be_inside_is_refused(name: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    run = partial(outer_attacks(model)[name], model, x, y, draws=draws)
    with pytest.raises(ConfigError, match="via: jsma does not work in linf; it has: l0"):
        run(LINF, via=partial(jsma, theta=0.5))
    with pytest.raises(ConfigError, match="via: universal attacks all samples of a call as one set"):
        run(LINF, via=universal)
    if name != "intermediate_level":
        with pytest.raises(ConfigError, match="via: carlini_wagner does not work in l1; it has: l0, l2, linf"):
            run(ThreatModel(1, 0.5), via=carlini_wagner)
        with pytest.raises(ConfigError, match="via: gaussian does not work in l1; it has: l2"):
            run(ThreatModel(1, 0.5), via=gaussian)


@pytest.mark.parametrize("name", OUTER)
@pytest.mark.parametrize("targeted", [False, True])
def test_a_function_that_nobody_registered_is_given_the_goal(name: str, targeted: bool) -> None:
    seen: list[object] = []

    def own(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, **params: object) -> Tensor:
        seen.append(params["targeted"])
        return x.clone()

    model = conv_net()
    x, y, draws = images(model, 2)
    goal = (y + 1) % 4 if targeted else y
    outer_attacks(model)[name](model, x, goal, LINF, draws=draws, via=own, targeted=targeted)
    assert seen == [targeted]


@pytest.mark.parametrize("name", OUTER)
def test_a_plan_refuses_it(name: str, tmp_path: Path) -> None:
    given = {"bpda": "module: net.1, ", "transfer": "substitute: twin, ", "intermediate_level": ""}[name]
    lines = ("schema: 1", "question: q", "data: {name: digits, count: 8}", "models: [mlp]")
    text = "\n".join(
        [*lines, "threats: [{norm: inf, eps: [0.1]}]", f"attacks: [{{{name}: {{{given}via: universal}}}}]"]
    )
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"m.yaml:6: {name}: via: universal attacks all samples"):
        expand(load_matrix(tmp_path / "m.yaml"))


def test_without_a_target_the_example_is_that_of_the_attack_alone() -> None:
    model = conv_net()
    x, y, draws = images(model, 8)
    alone = auto(model, x, y, LINF, draws=draws, steps=5, queries=20)
    inside = bpda(
        nn.Sequential(nn.Identity(), model), x, y, LINF, draws=draws, module="0", via=partial(auto, steps=5, queries=20)
    )
    assert torch.equal(inside, alone)

"""same_start: the peer is handed the very noise that ours starts from."""

from __future__ import annotations

import math
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from advbench.attacks.gradient.apgd import apgd
from advbench.attacks.gradient.apgd_t import apgd_t
from advbench.attacks.gradient.auto_pgd_loop import auto_pgd
from advbench.attacks.gradient.runners_up_loop import leave_towards
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.losses import runners_up, targeted_dlr
from advbench.types import ThreatModel
from benchmarks.peers import same_start
from benchmarks.peers.compare import Subjects
from benchmarks.peers.rivals import Attack
from tests.attacks.small_nets import conv_net, images


@pytest.mark.parametrize("norm", [2.0, math.inf])
def test_a_peer_that_draws_as_autoattack_does_has_our_verdicts(norm: float, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def published(parts: tuple[str, ...], norm: float, eps: float) -> Attack:
        """Its random start, then our steps."""

        def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            asked.append(parts)
            noise = 2 * torch.rand(x.shape, device=x.device) - 1 if norm == math.inf else torch.randn(x.shape)
            length = noise.flatten(1).norm(norm, dim=1).reshape(-1, 1, 1, 1)
            threat, draws = ThreatModel(norm, eps), Draws(0, torch.arange(len(x)))
            return apgd(model, x, y, threat, draws=draws, loss="dlr", steps=5, x_start=x + eps * noise / length)

        return attack

    monkeypatch.setattr(same_start, "autoattack", published)
    monkeypatch.setattr(same_start, "apgd", lambda *given, **settings: apgd(*given, **settings, steps=5))
    model = conv_net()
    x, y, _ = images(model, 24)
    ours, theirs = same_start.holding(Subjects("net", model, x, y, len(x)), ThreatModel(norm, 0.1), "dlr")
    assert asked == [("apgd-dlr",)]
    assert torch.equal(ours, theirs)
    assert 0 < int(ours.sum()) < len(x)


starts: list[bytes] = []  # that AutoAttack was handed


class _Published:
    """AutoAttack's run towards one class, with our steps: from the start that it is handed, never one of its own."""

    def __init__(self, model: nn.Module, eps: float, norm: float) -> None:
        self.model, self.threat, self.target = model, ThreatModel(norm, eps), torch.empty(0)

    def attack_single_run(self, x: Tensor, y: Tensor, x_init: Tensor | None = None) -> Tensor:
        assert x_init is not None
        starts.extend(image.numpy().tobytes() for image in x_init)
        goal, draws = leave_towards(self.model, y, self.target, targeted_dlr), Draws(1, torch.arange(len(x)))
        settings = {"steps": 5, "rho": 0.75, "early_stop": True}
        return auto_pgd(x, goal, self.threat, draws=draws, x_start=x_init, **settings).z  # type: ignore[arg-type]


@pytest.mark.parametrize(("norm", "eps"), [(2.0, 0.1), (math.inf, 0.01)])
def test_towards_each_class_it_starts_where_ours_does(norm: float, eps: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def published(parts: tuple[str, ...], norm: float, eps: float) -> Attack:
        def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            x_adv, run = x.clone(), _Published(model, eps, norm)
            for turn in range(3):  # the net has four classes
                with frozen(model), torch.no_grad():
                    left = (model(x_adv).argmax(1) == y).nonzero()[:, 0]
                    run.target = runners_up(model(x[left]), y[left], 3)[:, turn]
                    x_adv[left] = run.attack_single_run(x[left], y[left])
            return x_adv

        assert parts == ("apgd-t",)
        return attack

    module = ModuleType("autoattack.autopgd_base")
    module.APGDAttack = _Published  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "autoattack", ModuleType("autoattack"))
    monkeypatch.setitem(sys.modules, "autoattack.autopgd_base", module)
    monkeypatch.setattr(same_start, "autoattack", published)
    monkeypatch.setattr(same_start, "apgd_t", lambda *given, **settings: apgd_t(*given, **settings, steps=5))
    model = conv_net()
    x, y, _ = images(model, 24)
    starts.clear()
    seen: set[bytes] = set()  # by the model, until AutoAttack begins
    look = model.register_forward_pre_hook(
        lambda _, asked: None if starts else seen.update(image.numpy().tobytes() for image in asked[0].detach())
    )
    ours, theirs = same_start.holding_towards(Subjects("net", model, x, y, len(x)), ThreatModel(norm, eps))
    look.remove()
    assert len(starts) > len(x) // 2
    assert seen.issuperset(starts)
    assert torch.equal(ours, theirs)
    assert 0 < int(ours.sum()) < len(x)


def test_noise_of_another_shape_is_refused() -> None:
    with same_start._drawing(torch.zeros(2, 3)):
        assert torch.equal(torch.randn((2, 3)), torch.zeros(2, 3))
        assert torch.equal(torch.rand(2, 3), torch.full((2, 3), 0.5))
        with pytest.raises(AssertionError, match="asked for noise"):
            torch.randn(3, 2)

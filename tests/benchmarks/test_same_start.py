"""same_start: the peer is handed the very noise that ours starts from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from advbench.attacks.gradient.apgd import apgd
from advbench.core.draws import Draws
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


def test_noise_of_another_shape_is_refused() -> None:
    with same_start._drawing(torch.zeros(2, 3)):
        assert torch.equal(torch.randn((2, 3)), torch.zeros(2, 3))
        assert torch.equal(torch.rand(2, 3), torch.full((2, 3), 0.5))
        with pytest.raises(AssertionError, match="asked for noise"):
            torch.randn(3, 2)

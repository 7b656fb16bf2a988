"""newton_fool steps as its paper says, keeps its direction where probabilities saturate, and ends on the boundary."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from advbench.attacks.minimum_norm.newton_fool import newton_fool
from advbench.core.norms import lengths
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes

THREAT = ThreatModel(2.0, None)


def by_the_paper(model: nn.Module, image: Tensor, label: int, steps: int, eta: float) -> Tensor:
    """One sample (1, C, H, W) in float64: d = -delta g / |g|^2 with delta = min(eta |x0| |g|, p - 0.99 / K)."""
    z = image.clone()
    for _ in range(steps):
        leaf = z.clone().requires_grad_(True)
        probabilities = model(leaf).softmax(1)[0]
        if int(probabilities.argmax()) != label:
            return z
        (g,) = torch.autograd.grad(probabilities[label], leaf)
        p = float(probabilities[label].detach())
        delta = min(eta * float(image.norm() * g.norm()), p - 0.99 / len(probabilities))
        z = (z - delta * g / g.norm() ** 2).clamp(0.0, 1.0)
    return z if int(model(z).argmax()) != label else image


@pytest.mark.parametrize("eta", [0.003, 0.01, 0.3])
def test_it_equals_the_paper_step_by_step(eta: float) -> None:
    model = conv_net().double()
    x, y, draws = images(conv_net(), 8)
    x = x.double()
    found = newton_fool(model, x, y, THREAT, draws=draws, steps=30, eta=eta, last_eta=eta, search_steps=0)
    expected = torch.cat([by_the_paper(model, x[i : i + 1], int(y[i]), 31, eta) for i in range(len(x))])
    assert bool((expected != x).any())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


@settings(max_examples=15)
@given(shapes(largest=3), seeds())
def test_two_classes_fall_at_the_closed_form_distance(shape: tuple[int, int, int], seed: int) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    x_adv = newton_fool(problem.model, problem.x, problem.y, THREAT, draws=problem.draws)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    found = lengths(x_adv.double() - problem.x.double(), 2.0)
    assert bool((found <= 1.005 * problem.distance(2.0) + 1e-6).all())


class Confident(nn.Module):
    """The logits of `model`, 1000 times as large: every probability is 0 or 1 in float32."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor) -> Tensor:
        logits: Tensor = self.model(z)
        return 1e3 * logits


def test_confidence_does_not_stop_it() -> None:
    model = conv_net()
    x, y, draws = images(model, 16)
    x_adv = newton_fool(Confident(model), x, y, THREAT, draws=draws)
    assert bool((model(x_adv).argmax(1) != y).all())


def test_a_black_image_is_attacked_too() -> None:
    model = conv_net()
    x = torch.zeros(1, 1, 6, 6)
    y, draws = model(x).argmax(1), images(model, 1)[2]
    assert bool((model(newton_fool(model, x, y, THREAT, draws=draws, steps=300)).argmax(1) != y).all())


def test_who_makes_no_headway_takes_longer_steps() -> None:
    """20 steps of |x| / 10,000 are too short for every sample; growing ones are not."""
    model = conv_net()
    x, y, draws = images(model, 16)
    short = newton_fool(model, x, y, THREAT, draws=draws, steps=20, eta=1e-4, last_eta=1e-4)
    assert torch.equal(short, x)
    longer = newton_fool(model, x, y, THREAT, draws=draws, steps=20, eta=1e-4)
    assert bool((model(longer).argmax(1) != y).all())


def test_passes_of_a_sample_that_holds() -> None:
    """x, then one for each step and the last look."""
    model = conv_net()
    x, y, draws = images(model, 4)
    counting = Counting(model, len(x))
    newton_fool(counting, x, y, THREAT, draws=draws, steps=5, eta=1e-6, last_eta=1e-6)
    assert counting.passes.tolist() == [7, 7, 7, 7]


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        newton_fool(model, x, y, THREAT, draws=draws, steps=0)
    with pytest.raises(ConfigError, match="eta must be positive"):
        newton_fool(model, x, y, THREAT, draws=draws, eta=0.0)
    with pytest.raises(ConfigError, match=r"at least eta = 0\.1, got 0\.05"):
        newton_fool(model, x, y, THREAT, draws=draws, eta=0.1, last_eta=0.05)

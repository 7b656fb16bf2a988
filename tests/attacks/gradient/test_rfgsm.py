"""rfgsm: half of eps at random, the rest along the gradient's sign."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from advbench.attacks.gradient.fgsm import fgsm
from advbench.attacks.gradient.rfgsm import rfgsm
from advbench.core.norms import lengths
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes


@given(shapes(largest=4), seeds(), st.floats(0.0, 1.0))
def test_on_a_linear_model_every_component_has_moved_by_eps_or_by_the_difference(
    shape: tuple[int, int, int], seed: int, noise: float
) -> None:
    problem = linear_problem(shape, 3, 1, seed)
    threat = ThreatModel(inf, 1e-4)  # nothing changes class on the way
    moved = (rfgsm(problem.model, problem.x, problem.y, threat, draws=problem.draws, noise=noise) - problem.x).abs()
    both = torch.tensor([1e-4, abs(1.0 - 2.0 * noise) * 1e-4])
    assert bool(((moved.reshape(-1, 1) - both).abs() < 1e-7).any(1).all())


def test_it_is_one_step_from_a_random_corner() -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    eps = 0.02
    x = x.clamp(eps, 1.0 - eps)  # the box holds nothing back
    y = model(x).argmax(1)
    found = rfgsm(model, x, y, ThreatModel(inf, eps), draws=draws)
    start = x + eps / 2 * draws.signs(tuple(x.shape[1:]), "start")
    leaf = start.clone().requires_grad_(True)
    loss = nn.functional.cross_entropy(model(leaf), y, reduction="sum")
    expected = start + eps / 2 * torch.autograd.grad(loss, leaf)[0].sign()
    lost = (model(start).argmax(1) != y) & (model(expected).argmax(1) == y)
    assert torch.allclose(found[~lost], expected[~lost], atol=1e-6)
    assert lengths(found - x, inf).tolist() == pytest.approx([eps] * 24, rel=1e-3)


def test_without_noise_it_is_fgsm() -> None:
    model = conv_net()
    x, y, draws = images(model)
    threat = ThreatModel(inf, 0.03)
    assert torch.equal(rfgsm(model, x, y, threat, draws=draws, noise=0.0), fgsm(model, x, y, threat, draws=draws))


def test_it_sees_past_a_flat_place_where_fgsm_stands_still() -> None:
    class Flat(nn.Module):
        """Class 1 is 10 times the first pixel behind, but within 0.05 of grey nothing depends on the image."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            pixel = x[:, 0, 0, 0] - 0.5
            rise = 10.0 * torch.where(pixel.abs() < 0.05, torch.zeros_like(pixel), pixel.abs())
            return torch.stack([torch.ones_like(rise), rise], 1)

    x, y, draws = torch.full((8, 1, 2, 2), 0.5), torch.zeros(8, dtype=torch.int64), images(conv_net(), 8)[2]
    threat = ThreatModel(inf, 0.12)
    assert bool((Flat()(fgsm(Flat(), x, y, threat, draws=draws)).argmax(1) == 0).all())
    assert bool((Flat()(rfgsm(Flat(), x, y, threat, draws=draws)).argmax(1) == 1).all())


@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_a_sample_that_is_wrong_stays_wrong_for_one_pass_more(noise: float) -> None:
    model = Linear(torch.tensor([[0.0] * 4, [4.0, -4.0, 4.0, -4.0]]), torch.tensor([0.0, 0.1]))
    x, draws = torch.full((32, 1, 2, 2), 0.5), images(conv_net(), 32)[2]
    for label, passes in ((0, 3), (1, 2)):
        counting, y = Counting(model, 32), torch.full((32,), label)
        x_adv = rfgsm(counting, x, y, ThreatModel(inf, 0.1 if label == 0 else 1e-3), draws=draws, noise=noise)
        assert bool((model(x_adv).argmax(1) == 1).all())
        assert bool((counting.passes == passes).all())


@pytest.mark.parametrize("noise", [-0.1, 1.5])
def test_impossible_settings_are_refused(noise: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=r"noise must be in \[0, 1\]"):
        rfgsm(model, x, y, ThreatModel(inf, 0.1), draws=draws, noise=noise)
    with pytest.raises(ConfigError, match="needs a radius"):
        rfgsm(model, x, y, ThreatModel(inf, None), draws=draws)

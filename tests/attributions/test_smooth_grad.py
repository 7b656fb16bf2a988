"""smooth_grad is the mean gradient under noise of the stated size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attributions.gradient import gradient
from advbench.attributions.smooth_grad import smooth_grad
from advbench.core.draws import Draws
from advbench.core.gradients import in_pieces
from advbench.testing import linear_problem
from advbench.types import ConfigError
from tests.attacks.small_nets import conv_net, images
from tests.strategies import seeds, shapes


@given(shapes(largest=4), seeds(), st.floats(0.0, 2.0))
def test_on_a_linear_model_noise_changes_nothing(shape: tuple[int, int, int], seed: int, noise: float) -> None:
    problem = linear_problem(shape, 3, 4, seed)
    heat = smooth_grad(problem.model, problem.x, problem.y, noise=noise, samples=5)
    assert torch.allclose(heat, gradient(problem.model, problem.x, problem.y), atol=1e-5)


def test_without_noise_it_is_the_gradient() -> None:
    x, y, draws = images(conv_net(), 6)
    assert torch.equal(smooth_grad(conv_net(), x, y, draws=draws, noise=0.0), gradient(conv_net(), x, y))


class Halved(nn.Module):
    """Half the sum of squares: its gradient is the image itself, so the map shows the mean of the noisy copies."""

    def forward(self, z: Tensor) -> Tensor:
        return 0.5 * z.flatten(1).square().sum(1, keepdim=True)


@pytest.mark.parametrize("noise", [0.1, 0.15])
def test_the_noise_is_a_share_of_each_samples_own_range_and_not_clipped(noise: float) -> None:
    """A sample of range 1, one of 0.2, one of a single value; squares show the variance, means that none is cut."""
    x = torch.zeros(3, 1, 40, 50)
    x[0, :, :20], x[1, :, :20], x[2] = 1.0, 0.2, 1.0
    zeros = torch.zeros(3, dtype=torch.int64)
    mean = smooth_grad(Halved(), x, zeros, noise=noise, samples=16)
    spread = (smooth_grad(Halved(), x, zeros, noise=noise, samples=16, squared=True) - mean.square()).mean((1, 2, 3))
    expected = (noise * torch.tensor([1.0, 0.2, 0.0])).square()
    assert torch.allclose(spread, expected, rtol=0.03, atol=1e-8)
    # Copies come in pairs of opposite noise: their mean is the image.
    assert torch.allclose(mean, x, atol=1e-6)


def test_four_times_as_many_samples_halve_the_scatter() -> None:
    x, y, _ = images(conv_net(), 2)

    def scatter(samples: int) -> float:
        maps = [
            smooth_grad(conv_net(), x, y, draws=Draws(seed, torch.arange(2)), samples=samples) for seed in range(40)
        ]
        return float(torch.stack(maps).std(0).mean())

    assert scatter(4) / scatter(16) == pytest.approx(2.0, rel=0.15)


def test_draws_decide_and_neither_batch_nor_pieces_matter() -> None:
    x, y, draws = images(conv_net(), 5)
    whole = smooth_grad(conv_net(), x, y, draws=draws)
    assert torch.equal(smooth_grad(conv_net(), x, y, draws=draws), whole)
    assert not torch.allclose(smooth_grad(conv_net(), x, y, draws=Draws(9, torch.arange(5))), whole)
    row = torch.tensor([3])
    assert torch.allclose(smooth_grad(conv_net(), x[row], y[row], draws=draws.rows(row)), whole[row], atol=1e-5)
    for size in (1, 4, 11):
        with in_pieces(size):
            assert torch.allclose(smooth_grad(conv_net(), x, y, draws=draws), whole, atol=1e-5)
    assert smooth_grad(conv_net(), x[:0], y[:0]).shape == (0, 1, 6, 6)


@pytest.mark.parametrize("wrong", [{"noise": -0.1}, {"noise": float("nan")}, {"noise": float("inf")}, {"samples": 0}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    x, y, _ = images(conv_net(), 2)
    with pytest.raises(ConfigError, match="noise must be finite and not negative and samples at least 1"):
        smooth_grad(conv_net(), x, y, **wrong)  # type: ignore[arg-type]

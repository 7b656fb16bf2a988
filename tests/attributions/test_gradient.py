"""gradient is the derivative of whatever score is asked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from advbench.attributions.gradient import gradient
from advbench.core.gradients import in_pieces
from advbench.core.targets import log_probability, logit, of_output, parse_target, plus, probability, times, unit
from advbench.testing import linear_problem
from advbench.types import ConfigError
from tests.attacks.small_nets import conv_net, images
from tests.strategies import seeds, shapes


def double_net() -> tuple[nn.Module, Tensor, Tensor]:
    return conv_net().double(), images(conv_net(), 3)[0].double(), torch.tensor([0, 1, 3])


@given(shapes(largest=4), seeds())
def test_on_a_linear_model_it_is_the_weight_of_the_class(shape: tuple[int, int, int], seed: int) -> None:
    problem = linear_problem(shape, 3, 4, seed)
    for y in (problem.y, (problem.y + 1) % 3):
        expected = problem.model.weight[y].reshape(problem.x.shape).float()
        assert torch.allclose(gradient(problem.model, problem.x, y), expected)


def test_it_is_the_slope_that_finite_differences_find() -> None:
    model, x, y = double_net()
    heat = gradient(model, x, y)
    for direction in torch.randn(5, *x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)):
        ahead, behind = model(x + 1e-6 * direction), model(x - 1e-6 * direction)
        slope = ((ahead - behind) / 2e-6).gather(1, y[:, None])[:, 0]
        assert torch.allclose((heat * direction).flatten(1).sum(1), slope, rtol=1e-4, atol=1e-6)


def test_a_log_probability_subtracts_what_the_classes_gain_on_average() -> None:
    model, x, y = double_net()
    chances = model(x).softmax(1).detach()
    mean = sum(chances[:, k, None, None, None] * gradient(model, x, logit(k)) for k in range(4))
    torch.testing.assert_close(gradient(model, x, log_probability(y)), gradient(model, x, y) - mean, rtol=1e-10, atol=0)
    chance = chances.gather(1, y[:, None])[:, :, None, None]
    torch.testing.assert_close(gradient(model, x, probability(y)), chance * (gradient(model, x, y) - mean))


def test_targets_that_mean_the_same_give_the_same() -> None:
    model, x, y = double_net()
    same = torch.full_like(y, 2)
    expected = gradient(model, x, same)
    for target in (logit(2), of_output(lambda output: output[:, 2]), parse_target("class:2"), unit("1", 2)):
        torch.testing.assert_close(gradient(model, x, target), expected)
    difference = plus(logit(2), times(-0.5, logit(0)))
    torch.testing.assert_close(gradient(model, x, difference), expected - 0.5 * gradient(model, x, torch.zeros_like(y)))


def test_the_size_of_the_pieces_does_not_matter() -> None:
    model, x, y = conv_net(), *images(conv_net(), 7)[:2]
    whole = gradient(model, x, y)
    for size in (1, 3, 100):
        with in_pieces(size):
            assert torch.allclose(gradient(model, x, y), whole, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1])
def test_few_samples_odd_sizes_and_a_caller_without_gradients(count: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    x = torch.rand(count, 3, 7, 10)
    with torch.no_grad():
        heat = gradient(model, x, torch.zeros(count, dtype=torch.int64))
    assert heat.shape == x.shape
    assert heat.is_contiguous()


class Viewing(nn.Module):
    """A network that flattens with `view`, which only the usual order of memory allows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 4 * 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.conv(x).tanh()
        scores: Tensor = self.head(maps.view(len(x), -1))
        return scores


def test_a_network_that_flattens_with_view_is_served() -> None:
    model, x, y = Viewing(), torch.rand(2, 3, 6, 7), torch.tensor([0, 2])
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(model(leaf).gather(1, y[:, None]).sum(), leaf)
    torch.testing.assert_close(gradient(model, x, y), expected)


def test_a_class_or_a_unit_that_is_none_is_refused() -> None:
    model, x, _ = double_net()
    with pytest.raises(ConfigError, match=r"classes are 0 \.\. 3"):
        gradient(model, x, logit(4))
    with pytest.raises(ConfigError, match=r"channels are 0 \.\. 7"):
        gradient(model, x, unit("0.0", 8))


def test_a_dead_score_gives_zeros_and_no_nan() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU())
    with torch.no_grad():
        model[1].weight.fill_(-1.0)  # type: ignore[operator]
        model[1].bias.fill_(-1.0)  # type: ignore[operator]
    assert torch.equal(gradient(model, torch.rand(2, 1, 2, 2), torch.tensor([0, 1])), torch.zeros(2, 1, 2, 2))

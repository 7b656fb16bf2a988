"""saliency is the gradient of the raw score."""

from __future__ import annotations

import torch
from hypothesis import given
from torch import nn

from advbench.attributions.saliency import saliency
from advbench.testing import linear_problem
from tests.attacks.small_nets import conv_net, images
from tests.strategies import seeds, shapes


@given(shapes(largest=4), seeds())
def test_on_a_linear_model_it_is_the_weight_of_the_class(shape: tuple[int, int, int], seed: int) -> None:
    problem = linear_problem(shape, 3, 4, seed)
    for y in (problem.y, (problem.y + 1) % 3):
        expected = problem.model.weight[y].reshape(problem.x.shape).float()
        assert torch.allclose(saliency(problem.model, problem.x, y), expected)


def test_it_is_the_slope_that_finite_differences_find() -> None:
    model = conv_net().double()
    x = images(conv_net(), 3)[0].double()
    y = torch.tensor([0, 1, 3])
    heat = saliency(model, x, y)
    for direction in torch.randn(5, *x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)):
        ahead, behind = model(x + 1e-6 * direction), model(x - 1e-6 * direction)
        slope = ((ahead - behind) / 2e-6).gather(1, y[:, None])[:, 0]
        assert torch.allclose((heat * direction).flatten(1).sum(1), slope, rtol=1e-4, atol=1e-6)


def test_a_dead_score_gives_zeros_and_no_nan() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU())
    with torch.no_grad():
        model[1].weight.fill_(-1.0)  # type: ignore[operator, union-attr]
        model[1].bias.fill_(-1.0)  # type: ignore[operator, union-attr]
    assert torch.equal(saliency(model, torch.rand(2, 1, 2, 2), torch.tensor([0, 1])), torch.zeros(2, 1, 2, 2))

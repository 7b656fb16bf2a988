"""saliency is the absolute gradient, largest over the channels."""

from __future__ import annotations

import torch
from hypothesis import given
from torch import nn

from advbench.attributions.gradient import gradient
from advbench.attributions.saliency import saliency
from advbench.core.targets import log_probability
from advbench.testing import linear_problem
from tests.attacks.small_nets import conv_net, images
from tests.strategies import seeds, shapes


@given(shapes(largest=4), seeds())
def test_on_a_linear_model_it_is_the_largest_weight_of_the_class(shape: tuple[int, int, int], seed: int) -> None:
    problem = linear_problem(shape, 3, 4, seed)
    for y in (problem.y, (problem.y + 1) % 3):
        weights = problem.model.weight[y].reshape(problem.x.shape).float()
        assert torch.allclose(saliency(problem.model, problem.x, y), weights.abs().max(1, keepdim=True).values)


def test_it_follows_the_target() -> None:
    x, y, _ = images(conv_net(), 4)
    target = log_probability(y)
    assert torch.equal(saliency(conv_net(), x, target), gradient(conv_net(), x, target).abs())


def test_by_hand() -> None:
    """Two pixels of two channels: |-3| beats |1|, and 2 beats 0."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[-3.0, 2.0, 1.0, 0.0]]))  # type: ignore[operator]
    heat = saliency(model, torch.rand(1, 2, 1, 2), torch.tensor([0]))
    assert torch.equal(heat, torch.tensor([[[[3.0, 2.0]]]]))

"""Receptive fields equal arithmetic and the support of a positive linear net's gradient; branches and borders count."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advbench.core.receptive_field import Box, Unit, receptive_fields, transparent_outputs
from advbench.types import ConfigError
from tests.features.feature_nets import Fire, Shortcut, ladder

Step = tuple[int, int, int, bool]  # kernel, stride, padding, is it a pool


def steps() -> st.SearchStrategy[list[Step]]:
    one = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 1), st.booleans()).filter(
        lambda step: 2 * step[2] <= step[0]
    )
    return st.lists(one, min_size=1, max_size=4)


def chain(plan: list[Step]) -> nn.Sequential:
    return nn.Sequential(*(nn.MaxPool2d(k, s, p) if pool else nn.Conv2d(2, 2, k, s, p) for k, s, p, pool in plan))


def by_arithmetic(plan: list[Step], index: int, size: int) -> tuple[int, int]:
    """The unit's first and last pixel plus one: walked back layer by layer, clipped at every border on the way."""
    sizes = [size]
    for kernel, stride, padding, _ in plan:
        sizes.append((sizes[-1] + 2 * padding - kernel) // stride + 1)
    low = high = index
    for (kernel, stride, padding, _), limit in zip(plan[::-1], sizes[-2::-1], strict=True):
        low, high = max(low * stride - padding, 0), min(high * stride - padding + kernel - 1, limit - 1)
    return low, high + 1


@settings(max_examples=60, deadline=None)
@given(steps(), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_chain_has_the_field_of_arithmetic(plan: list[Step], row: int, column: int) -> None:
    size = 40
    height = size
    for kernel, stride, padding, _ in plan:
        height = (height + 2 * padding - kernel) // stride + 1
    if height < 1:
        return
    # Without gaps: a stride above its kernel skips pixels, which the box of the support need not see at its edge.
    row, column = row % height, column % height
    (box,) = receptive_fields(chain(plan), str(len(plan) - 1), [Unit(None, row, column)], (2, size, size))
    top, bottom = by_arithmetic(plan, row, size)
    left, right = by_arithmetic(plan, column, size)
    assert box == Box(top, left, bottom, right)


def test_it_is_the_support_of_the_gradient_of_a_positive_linear_net() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AvgPool2d(3, 2), nn.Conv2d(4, 5, 3, padding=1)).double()
    for parameter in net.parameters():
        parameter.data.abs_().add_(0.1)
    x = torch.rand(1, 3, 23, 31, dtype=torch.float64, requires_grad=True)
    output = net(x)
    (grad,) = torch.autograd.grad(output[0, 2, 1, 3], x)
    rows, columns = grad[0].abs().sum((0, 2)).nonzero()[:, 0], grad[0].abs().sum((0, 1)).nonzero()[:, 0]
    expected = Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    assert receptive_fields(net.float(), "2", [Unit(2, 1, 3)], (3, 23, 31)) == [expected]


def test_branches_of_one_layer_have_their_own_fields() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 3), Fire())
    assert receptive_fields(net, "1", [Unit(0, 4, 5), Unit(3, 4, 5), Unit(None, 4, 5)], (3, 16, 16)) == [
        Box(4, 5, 7, 8),
        Box(3, 4, 8, 9),
        Box(3, 4, 8, 9),
    ]


def test_a_shortcut_leaves_the_longer_path_visible() -> None:
    net = nn.Sequential(Shortcut(), Shortcut())
    assert receptive_fields(net, "1", [Unit(1, 8, 8), Unit(1, 0, 15)], (3, 16, 16)) == [
        Box(6, 6, 11, 11),
        Box(0, 13, 3, 16),
    ]


@pytest.mark.parametrize(
    ("layer", "shape", "field"),
    [
        (nn.GroupNorm(1, 3), (3, 9, 9), Box(0, 0, 9, 9)),
        (nn.BatchNorm2d(3), (3, 9, 9), Box(3, 3, 6, 6)),
        (nn.Softmax(1), (3, 9, 9), Box(3, 3, 6, 6)),
        (nn.GELU(), (3, 9, 9), Box(3, 3, 6, 6)),
    ],
    ids=["group norm", "batch norm", "softmax over channels", "gelu"],
)
def test_norms_and_activations(layer: nn.Module, shape: tuple[int, int, int], field: Box) -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), layer).eval()
    assert receptive_fields(net, "1", [Unit(0, 4, 4)], shape) == [field]


def test_a_dead_or_zero_network_has_the_field_of_its_architecture() -> None:
    net = ladder()
    for parameter in net.parameters():
        parameter.data.zero_()
    assert receptive_fields(net, "3", [Unit(0, 1, 1)], (3, 19, 19)) == [Box(0, 0, 15, 15)]


def test_the_model_is_left_alone() -> None:
    net = ladder().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        receptive_fields(net, "3", [Unit(0, 1, 1)], (3, 19, 19))
        transparent_outputs(net, (3, 19, 19))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in net.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize(
    ("layer", "unit", "message"),
    [("7", Unit(0, 0, 0), "no rows and columns"), ("3", Unit(8, 0, 0), "no unit"), ("3", Unit(0, 4, 0), "no unit")],
)
def test_what_has_no_field_is_refused(layer: str, unit: Unit, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        receptive_fields(ladder(), layer, [unit], (3, 19, 19))

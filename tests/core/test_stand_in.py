"""A module keeps its forward pass and gets another gradient, for as long as asked."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from advbench.core.stand_in import hard_tanh_step, network_behind, sigmoid_step, standing_in
from advbench.models.prepare import prepare
from advbench.models.watch import Watched
from advbench.types import ConfigError
from tests.strategies import images


class Step(nn.Module):
    """1 where z >= 0.5, else 0: no gradient."""

    def forward(self, z: Tensor) -> Tensor:
        return (z >= 0.5).to(z.dtype)


class Both(nn.Module):
    """The first of two inputs, in place."""

    def forward(self, z: Tensor, other: Tensor) -> Tensor:
        return z.mul_(other)


def net(x: Tensor) -> nn.Sequential:
    """A step, then a linear layer with fixed weights."""
    model = nn.Sequential(Step(), nn.Flatten(), nn.Linear(x[0].numel(), 3))
    with torch.no_grad():
        model[2].weight.copy_(torch.linspace(-1.0, 1.0, model[2].weight.numel()).reshape(3, -1))
    return model.eval()


def gradient(model: nn.Module, x: Tensor) -> Tensor:
    """Of the sum of the first logit."""
    leaf = x.clone().requires_grad_(True)
    score = model(leaf)[:, 0].sum() + 0.0 * leaf.sum()
    return torch.autograd.grad(score, leaf)[0]


@given(images(), st.sampled_from(("identity", "sigmoid", "hard tanh")))
def test_the_forward_pass_is_exact_and_the_backward_pass_is_the_stand_ins(x: Tensor, kind: str) -> None:
    model, stand_in = net(x), {"sigmoid": sigmoid_step(0.5, 4.0), "hard tanh": hard_tanh_step(0.5, 4.0)}.get(kind)
    expected, weight = model(x).detach(), model[2].weight[0].detach().reshape(x[:1].shape)
    slope = torch.ones_like(x)
    if kind == "sigmoid":
        value = torch.sigmoid(4.0 * (x - 0.5))
        slope = 4.0 * value * (1.0 - value)
    elif kind == "hard tanh":
        slope = 4.0 * ((x - 0.5).abs() <= 0.25)
    with standing_in(model, "0", *([] if stand_in is None else [stand_in])):
        assert torch.equal(model(x), expected)
        assert torch.equal(model(x.clone().requires_grad_(True)), expected)
        assert_close(gradient(model, x), slope * weight)
        with torch.no_grad():
            assert torch.equal(model(x), expected)


@given(images())
def test_nothing_is_left_behind(x: Tensor) -> None:
    model = net(x)
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    with suppress(RuntimeError), standing_in(model, "0"), standing_in(model, "0", sigmoid_step(0.5, 1.0)):
        raise RuntimeError("anything")
    assert {name: dict(vars(module)) for name, module in model.named_modules()} == before
    assert not gradient(model, x).any()


def test_the_inner_of_two_stand_ins_counts_and_the_outer_comes_back() -> None:
    x = torch.full((1, 1, 1, 2), 0.5)
    model = net(x)
    with standing_in(model, "0"):
        plain = gradient(model, x)
        with standing_in(model, "0", lambda z: 3.0 * z):
            assert_close(gradient(model, x), 3.0 * plain)
        assert torch.equal(gradient(model, x), plain)
    assert not gradient(model, x).any()


def test_a_module_of_two_inputs_that_writes_into_the_first() -> None:
    model = Holder()
    x = torch.tensor([[2.0, 3.0]], requires_grad=True)
    with standing_in(model, "both"):
        out = model(x)
        assert out.tolist() == [[20.0, 30.0]]
        (grad,) = torch.autograd.grad(out.sum(), x)
    assert grad.tolist() == [[1.0, 1.0]]
    assert x.tolist() == [[2.0, 3.0]]


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.both = Both()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.both(x.clone(), 10.0 * torch.ones_like(x))
        return out


def test_names_are_those_of_the_network_behind_the_benchmarks_own_wrappers() -> None:
    x = torch.rand(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    model = net(x)
    watched = Watched(prepare(model, x), model(x).argmax(1))
    assert isinstance(network_behind(watched), nn.Sequential)
    assert network_behind(model) is model
    with standing_in(watched, "0"):
        inside = gradient(watched, x)
    with standing_in(model, "0"):
        assert_close(inside, gradient(model, x))
    assert not gradient(watched, x).any()


@pytest.mark.parametrize(("name", "message"), [("1x", "did you mean '1'"), ("", "modules: 0, 1, 2"), ("conv", "Seq")])
def test_an_unknown_name_lists_the_modules(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message), standing_in(net(torch.zeros(1, 1, 2, 2)), name):
        pass


def test_a_stand_in_of_another_size_is_refused() -> None:
    x = torch.zeros(1, 1, 2, 2)
    model = net(x)
    with (
        standing_in(model, "0"),
        standing_in(model, "2"),
        pytest.raises(ConfigError, match=r"'2' gives \(4,\) per sample, the module \(3,\)"),
    ):
        model(x.requires_grad_(True))

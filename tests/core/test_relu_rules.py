"""relu_rule: every ReLU follows the rule, however it is called, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.relu_rules import ReluRule, deconvolution, derivative, guided, relu_rule
from advbench.testing.witness import state_of, untidy_network
from advbench.types import ConfigError
from tests.strategies import seeds

UNBOUNDED: dict[str, Callable[[Tensor], Tensor]] = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "functional.relu": functional.relu,
    "functional.relu in place": lambda z: functional.relu(z, inplace=True),
    "functional.relu_": functional.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "method": lambda z: z.relu(),
    "method in place": lambda z: z.relu_(),
    "by keyword": lambda z: functional.relu(input=z),
    "clamp": lambda z: z.clamp(0),
    "clamp by keyword": lambda z: torch.clamp(z, min=0.0),
    "clamp in place": lambda z: z.clamp_(min=0),
    "clip": lambda z: z.clip(min=0, max=None),
    "clamp_min": lambda z: z.clamp_min(0),
    "clamp_min by keyword": lambda z: torch.clamp_min(z, min=0.0),
    "clamp_min in place": lambda z: torch.clamp_min_(z, 0.0),
    "clamp by a tensor": lambda z: z.clamp(min=torch.tensor(0.0)),
    "functional.threshold": lambda z: functional.threshold(z, 0, 0),
    "functional.threshold in place": lambda z: functional.threshold(z, 0.0, 0.0, inplace=True),
    "functional.threshold_": lambda z: functional.threshold_(z, 0.0, 0.0),
    "nn.Threshold": nn.Threshold(0.0, 0.0),
    "torch.maximum": lambda z: torch.maximum(z, torch.zeros_like(z)),
    "torch.maximum of zeros": lambda z: torch.maximum(torch.zeros(1), z),
    "torch.max": lambda z: torch.max(z, torch.tensor(0)),
    "maximum by keyword": lambda z: z.maximum(other=torch.zeros_like(z)),
}
CAPPED: dict[str, Callable[[Tensor], Tensor]] = {
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.ReLU6(inplace=True),
    "functional.relu6": functional.relu6,
    "hardtanh": lambda z: functional.hardtanh(z, 0.0, 6.0),
    "hardtanh by keyword": lambda z: functional.hardtanh(z, min_val=0.0, max_val=6.0, inplace=True),
    "nn.Hardtanh": nn.Hardtanh(0.0, 6.0),
}
RULES: tuple[ReluRule, ...] = (derivative, deconvolution, guided)


def down(call: Callable[[Tensor], Tensor], rule: ReluRule, x: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
    """What the call gives at x, and what of the signal comes down."""
    leaf = x.clone().requires_grad_()
    with relu_rule(rule, "test"):
        functional.relu(leaf)  # one that is called for sure, beside what is looked at
        y = call(leaf * 1.0)
    (passed,) = torch.autograd.grad(y, leaf, signal)
    return y.detach(), passed


def drawn(seed: int) -> tuple[Tensor, Tensor]:
    maker = torch.Generator().manual_seed(seed)
    x = (8.0 * torch.randn(5, 4, generator=maker)).round() / 2.0  # zeros and sixes occur
    return x, torch.randn(5, 4, generator=maker)


@pytest.mark.parametrize("rule", RULES)
@given(seed=seeds())
def test_every_call_of_a_relu_follows_the_rule(rule: ReluRule, seed: int) -> None:
    x, signal = drawn(seed)
    for name, call in UNBOUNDED.items():
        y, passed = down(call, rule, x, signal)
        assert torch.equal(y, x.clamp_min(0.0)), name
        assert torch.equal(passed, rule(signal, x > 0)), name


@pytest.mark.parametrize("rule", RULES)
@given(seed=seeds())
def test_a_relu_with_a_ceiling_is_open_between_its_ends(rule: ReluRule, seed: int) -> None:
    x, signal = drawn(seed)
    for name, call in CAPPED.items():
        y, passed = down(call, rule, x, signal)
        assert torch.equal(y, x.clamp(0.0, 6.0)), name
        assert torch.equal(passed, rule(signal, (x > 0) & (x < 6))), name


def test_a_hard_tanh_with_another_floor_is_left_alone() -> None:
    x, signal = drawn(0)
    for call in (functional.hardtanh, nn.Hardtanh(-2.0, 3.0)):
        leaf = x.clone().requires_grad_()
        (expected,) = torch.autograd.grad(call(leaf * 1.0), leaf, signal)
        assert torch.equal(down(call, guided, x, signal)[1], expected)


NO_RELU: dict[str, Callable[[Tensor], Tensor]] = {
    "clamp into a box": lambda z: z.clamp(0, 1),
    "clamp from above": lambda z: z.clamp(max=0),
    "clamp from above, by place": lambda z: z.clamp(None, 0),
    "another floor": lambda z: z.clamp(min=-1.0),
    "kept from 0": lambda z: z / z.norm(dim=1, keepdim=True).clamp_min(1e-12),
    "floors by place": lambda z: z.clamp(min=torch.tensor([0.0, 1.0, 0.0, 0.0])),
    "another threshold": lambda z: functional.threshold(z, 0.5, 0.0),
    "another value": lambda z: functional.threshold(z, 0.0, -1.0),
    "maxout": lambda z: torch.maximum(z, 0.0 * z),
    "a maximum with numbers": lambda z: torch.maximum(z, torch.arange(4.0)),
    "the largest of all": lambda z: z.max(),
    "the largest in a dimension": lambda z: z.max(0).values,
    "the largest by keyword": lambda z: torch.max(z, dim=0).values,
    "a row beside zeros": lambda z: torch.maximum(z[0], torch.zeros(5, 4)),
}


@pytest.mark.parametrize("name", NO_RELU)
def test_what_only_looks_like_a_relu_is_left_alone(name: str) -> None:
    call, leaf = NO_RELU[name], drawn(0)[0].requires_grad_()
    expected = call(leaf * 1.0)
    signal = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    (derived,) = torch.autograd.grad(expected, leaf, signal)
    y, passed = down(call, guided, leaf.detach(), signal)
    assert torch.equal(y, expected)
    assert torch.equal(passed, derived)
    with pytest.raises(ConfigError, match="this model calls none"), relu_rule(guided, "test"):
        call(leaf * 1.0)


def test_a_weight_that_is_kept_positive_is_no_activation() -> None:
    layer = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(ConfigError, match="this model calls none"), relu_rule(guided, "test"):
        functional.linear(torch.ones(1, 2, requires_grad=True), layer.weight.clamp(min=0))


def test_a_module_used_twice_follows_the_rule_twice() -> None:
    """Signal -1 through two ReLUs with a change of sign between: each of them looks at what arrives there."""
    relu = nn.ReLU()
    x, signal = torch.tensor([2.0]), torch.tensor([-1.0])
    assert down(lambda z: relu(3.0 - relu(z)), derivative, x, signal)[1].tolist() == [1.0]
    assert down(lambda z: relu(3.0 - relu(z)), guided, x, signal)[1].tolist() == [0.0]
    assert down(lambda z: relu(3.0 - relu(z)), guided, x, -signal)[1].tolist() == [0.0]
    assert down(lambda z: relu(3.0 + relu(z)), guided, x, -signal)[1].tolist() == [1.0]


def test_the_derivative_is_backpropagation() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.ReLU(inplace=True))
    x, _ = drawn(3)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(model(leaf).sum(), leaf)
    passed = down(model, derivative, x, torch.ones(5, 3))[1]
    assert torch.equal(passed, expected)


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (nn.GELU(), "GELU"),
        (nn.SiLU(), "SiLU"),
        (nn.Mish(), "Mish"),
        (nn.Hardswish(), "Hardswish"),
        (nn.ELU(), "ELU"),
        (nn.SELU(), "SELU"),
        (nn.CELU(), "CELU"),
        (nn.LeakyReLU(), "LeakyReLU"),
        (nn.PReLU(), "PReLU"),
        (nn.Softplus(), "Softplus"),
    ],
)
def test_other_activations_are_refused_by_name(activation: nn.Module, name: str) -> None:
    told = f"guided_backprop is .* uses {name}; gradient"
    with pytest.raises(ConfigError, match=told), relu_rule(guided, "guided_backprop"):
        activation(torch.ones(2))


@pytest.mark.parametrize("call", [torch.tanh, nn.Sigmoid(), nn.Linear(2, 2), nn.Hardtanh(-1.0, 1.0)])
def test_a_block_without_a_relu_is_refused(call: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ConfigError, match=r"this model calls none.*; gradient"), relu_rule(guided, "guided_backprop"):
        call(torch.ones(2))


def test_a_break_is_told_as_it_is_and_not_as_a_lack_of_relus() -> None:
    with pytest.raises(KeyboardInterrupt), relu_rule(guided, "test"):
        raise KeyboardInterrupt


def test_nothing_is_left_behind_also_after_exceptions() -> None:
    model = untidy_network((4,), 3).eval()
    before = state_of(model)
    x, signal = drawn(1)

    def fail(error: type[BaseException]) -> None:
        with relu_rule(guided, "test"):
            nn.Sequential(model, nn.ReLU())(x)
            raise error

    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error):
            fail(error)
        leaf = x.clone().requires_grad_()
        (passed,) = torch.autograd.grad(functional.relu(leaf), leaf, signal)
        assert torch.equal(passed, signal * (x > 0))
        nn.GELU()(x)
    assert state_of(model) == before


def test_rules_nest_and_the_inner_one_holds_inside() -> None:
    x, signal = torch.tensor([-1.0]), torch.tensor([2.0])
    with relu_rule(deconvolution, "outer"):
        assert down(functional.relu, guided, x, signal)[1].tolist() == [0.0]
        leaf = x.clone().requires_grad_()
        (passed,) = torch.autograd.grad(functional.relu(leaf), leaf, signal)
    assert passed.tolist() == [2.0]

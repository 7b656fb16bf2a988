"""A prepared model computes the same, for each sample the same in whatever batch, and leaves the original alone."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.activations import record
from advbench.core.stand_in import network_behind
from advbench.models.predict import predict
from advbench.models.prepare import Prepared, prepare


class _Block(nn.Module):
    """A residual block in pre-activation order with one foldable pair, written as a forward of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.conv, self.after = nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.after(self.conv(torch.relu(self.before(x)))))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), _Block(), nn.Flatten(), nn.Linear(216, 4))
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
                nn.init.uniform_(module.weight, 0.5, 2.0)
        return net.eval()


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.rand(70, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def _gradient(model: nn.Module, x: Tensor) -> Tensor:
    z = x.clone().requires_grad_(True)
    return torch.autograd.grad(model(z).square().sum(), z)[0]


def test_logits_and_gradients_are_those_of_the_model(net: nn.Module, x: Tensor) -> None:
    fast = prepare(net, x)
    torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(_gradient(fast, x), _gradient(net, x), rtol=1e-3, atol=1e-4)


def test_every_batch_norm_behind_a_convolution_is_folded_and_no_other(net: nn.Module, x: Tensor) -> None:
    kinds = [type(module) for module in prepare(net, x).modules()]
    assert kinds.count(nn.BatchNorm2d) == 1  # the one before a convolution stays
    assert kinds.count(nn.Identity) == 2


def test_a_convolution_used_twice_is_not_folded(x: Tensor) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return (self.norm(self.conv(x)) + self.conv(x)).flatten(1)

    model = Twice().eval()
    fast = prepare(model, x)
    assert any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    torch.testing.assert_close(fast(x), model(x))


def test_a_model_that_cannot_be_traced_is_prepared_all_the_same(x: Tensor) -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return (self.norm(x) if float(x.sum()) > 0 else x).flatten(1)

    model = Branching().eval()
    torch.testing.assert_close(prepare(model, x)(x), model(x))


@settings(max_examples=20)
@given(st.lists(st.integers(0, 69), min_size=1, max_size=70))
def test_a_sample_gets_the_same_bits_in_every_batch(net: nn.Module, x: Tensor, picked: list[int]) -> None:
    fast = prepare(net, x)
    assert torch.equal(fast(x[picked]), fast(x)[picked])
    assert torch.equal(_gradient(fast, x[picked]), _gradient(fast, x)[picked])
    assert torch.equal(predict(net, x[picked], batch=5), predict(net, x)[picked])


def test_the_original_is_untouched(net: nn.Module, x: Tensor) -> None:
    model = copy.deepcopy(net).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prepare(model, x, precision="bfloat16")(x)
    predict(model, x)
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_reduced_precision_is_close_and_comes_back_as_float32(net: nn.Module, x: Tensor) -> None:
    low = prepare(net, x, precision="bfloat16")(x)
    assert low.dtype == torch.float32
    assert not torch.equal(low, net(x))
    torch.testing.assert_close(low, net(x), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("kept", "limit"), [(True, 96 * 2**20), (False, 32 * 2**20)])
def test_the_micro_batch_follows_the_size_of_the_activations(
    x: Tensor, monkeypatch: pytest.MonkeyPatch, kept: bool, limit: int
) -> None:
    monkeypatch.setattr("advbench.models.prepare.keep_freed_memory", lambda: kept)
    small = prepare(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten()), x)
    large = prepare(nn.Sequential(nn.Conv2d(3, 400, 1), nn.Flatten()), x)
    assert small.micro_batch % 8 == large.micro_batch % 8 == 0
    assert small.micro_batch == limit // (2 * 4 * 4 * 64) // 8 * 8  # of (conv + flatten) float32 activations
    assert large.micro_batch == small.micro_batch // 100 // 8 * 8
    assert prepare(small, x, micro_batch=3).micro_batch == 3


def test_no_samples_are_fine(net: nn.Module, x: Tensor) -> None:
    fast = prepare(net, x[:0])
    assert isinstance(fast, Prepared)
    assert predict(net, x[:0]).shape == (0, 4)


def test_pools_go_before_relus_and_nothing_changes(x: Tensor) -> None:
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, padding=1), nn.Flatten(), nn.Linear(200, 5))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(*layers).eval()
    fast = prepare(model, x)
    kinds = [type(module) for module in fast.modules()]
    assert kinds.index(nn.MaxPool2d) < kinds.index(nn.ReLU)
    torch.testing.assert_close(fast(x), model(x))
    torch.testing.assert_close(_gradient(fast, x), _gradient(model, x))


def test_a_relu_may_not_overwrite_what_others_read(x: Tensor) -> None:
    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu, self.gate, self.last = nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Sigmoid(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return (y - 2 * self.relu(y) + self.last(self.gate(y))).flatten(1)

    model = Shortcut().eval()
    fast = prepare(model, x)
    torch.testing.assert_close(fast(x), model(x))
    torch.testing.assert_close(_gradient(fast, x), _gradient(model, x))


def test_a_layers_name_means_the_users_layer(net: nn.Module, x: Tensor) -> None:
    """Whoever looks inside finds what the model itself puts out under each name: no pool where a ReLU stood."""
    layers = (nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 5))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(*list(net.children())[:2], *layers).eval()
    fast = prepare(model, x)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    inside = network_behind(fast)
    names = [name for name, _ in model.named_modules() if name]
    with record(model, names) as expected, record(inside, names) as found:
        torch.testing.assert_close(fast(x[:8]), model(x[:8]))
        for name in names:
            torch.testing.assert_close(found[name], expected[name])
    assert not any(parameter.requires_grad for parameter in inside.parameters())
    assert not any(module.training for module in inside.modules())

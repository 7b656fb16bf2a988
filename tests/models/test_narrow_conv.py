"""The first convolution's gradient, block by block, is autograd's own."""

from __future__ import annotations

import copy

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.models.narrow_conv import NarrowConv2d, narrowed


def _conv(channels: int, kernel: int, padding: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    with torch.random.fork_rng():
        torch.manual_seed(channels + 10 * kernel + 100 * padding)
        return nn.Conv2d(channels, 5, kernel, stride, padding, bias=bias).requires_grad_(False).double()


def _gradient(net: nn.Module, x: Tensor, *, twice: bool = False) -> Tensor:
    leaf = x.clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(net(leaf).square().sum(), leaf, create_graph=twice)
    return torch.autograd.grad(grad.pow(3).sum(), leaf)[0] if twice else grad


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(6, 16), st.integers(6, 16)),
    window=st.tuples(st.integers(1, 6), st.integers(0, 5), st.integers(1, 5)),
    bias=st.booleans(),
    twice=st.booleans(),
)
def test_values_and_derivatives_are_those_of_the_convolution(
    shape: tuple[int, int, int], window: tuple[int, int, int], bias: bool, twice: bool
) -> None:
    kernel, padding, stride = window
    conv = _conv(shape[0], kernel, padding, stride=stride, bias=bias)
    narrow = narrowed(nn.Sequential(copy.deepcopy(conv)))
    assert isinstance(narrow[0], NarrowConv2d) == (padding < kernel)  # type: ignore[index]
    x = torch.rand(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(shape[1]))
    assert torch.equal(narrow(x), conv(x))
    torch.testing.assert_close(_gradient(narrow, x, twice=twice), _gradient(conv, x, twice=twice))


def test_one_weight_of_one_reaches_back_to_the_pixel_it_read() -> None:
    conv = _conv(1, 3, 1, bias=False)
    conv.weight.zero_()
    conv.weight[0, 0, 0, 0] = 1.0  # the output reads the pixel above and to the left
    x = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    leaf = x.requires_grad_(True)
    (grad,) = torch.autograd.grad(narrowed(nn.Sequential(conv))(leaf)[0, 0, 2, 3], leaf)
    assert grad.nonzero().tolist() == [[0, 0, 1, 2]]


def test_other_convolutions_stay_as_they_are() -> None:
    class Own(nn.Conv2d):
        pass

    others = [
        nn.Conv2d(5, 4, 3),
        nn.Conv2d(3, 4, 3, stride=(2, 1)),
        nn.Conv2d(3, 4, 3, dilation=2),
        nn.Conv2d(2, 4, 3, groups=2),
        nn.Conv2d(3, 4, (3, 1)),
        nn.Conv2d(3, 4, 3, padding="same"),
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
        nn.utils.spectral_norm(nn.Conv2d(3, 4, 3)),
        Own(3, 4, 3),
    ]
    assert [type(module) for module in narrowed(nn.Sequential(*others)).children()] == [
        type(module) for module in others
    ]


def test_no_numbers_are_drawn_and_hooks_stay() -> None:
    conv, calls = _conv(1, 3, 1), []
    conv.register_forward_hook(lambda *_: calls.append(1))
    state = torch.random.get_rng_state()
    net = narrowed(nn.Sequential(conv))
    assert torch.equal(torch.random.get_rng_state(), state)
    net(torch.zeros(1, 1, 8, 8, dtype=torch.float64))
    assert calls == [1]
    assert "shifted" not in dict(conv.named_buffers())

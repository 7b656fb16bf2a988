"""The padded convolution without a copy is the padded convolution."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from advbench.synthesis.rimmed_conv import RimmedConv, repad, rimmed
from tests.strategies import seeds

PADDINGS = ["reflect", "replicate", "circular"]


def twins(conv: nn.Conv2d, mode: str) -> tuple[nn.Conv2d, nn.Conv2d]:
    """torch's own way of padding, and ours."""
    plain = conv.double().requires_grad_(False)
    ours = copy.deepcopy(plain)
    plain.padding_mode = mode  # type: ignore[assignment]
    repad(ours, mode)
    return plain, ours


@given(st.sampled_from(PADDINGS), seeds(), st.integers(2, 6), st.integers(2, 6), st.booleans())
def test_values_and_gradients_are_those_of_torch(mode: str, seed: int, height: int, width: int, bias: bool) -> None:
    plain, _ = twins(nn.Conv2d(2, 3, 3, padding=1, bias=bias), mode)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 2, height, width, generator=generator, dtype=torch.float64).requires_grad_(True)
    signal = torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64)
    found, expected = rimmed(x, plain.weight, plain.bias, mode), plain(x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(out, x, signal)[0] for out in (found, expected)))


def test_three_pixels_by_hand() -> None:
    row = torch.tensor([1.0, 2.0, 4.0]).reshape(1, 1, 1, 3).expand(1, 1, 2, 3)
    # Each column three times (two rows and a reflected one); beside the 1 and the 4 stands the 2 again.
    assert rimmed(row, torch.ones(1, 1, 3, 3), None, "reflect")[0, 0].tolist() == [[15.0, 21.0, 24.0]] * 2


@pytest.mark.parametrize("side", [20, 120])
@pytest.mark.parametrize("padding", [1, "same"])
def test_small_and_large_maps_are_padded_as_by_torch(side: int, padding: int | str) -> None:
    plain, ours = twins(nn.Conv2d(2, 3, 3, padding=padding), "reflect")
    assert isinstance(ours, RimmedConv)
    x = torch.rand(1, 2, side, side, dtype=torch.float64)
    torch.testing.assert_close(ours(x), plain(x))


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(2, 3, 3, padding=1, stride=2),
        nn.Conv2d(2, 3, 5, padding=2),
        nn.Conv2d(2, 3, 3, padding=2, dilation=2),
        nn.Conv2d(2, 4, 3, padding=1, groups=2),
    ],
)
def test_other_convolutions_are_padded_by_torch(conv: nn.Conv2d) -> None:
    plain, ours = twins(conv, "reflect")
    x = torch.rand(1, 2, 7, 6, dtype=torch.float64)
    assert not isinstance(ours, RimmedConv)
    assert torch.equal(ours(x), plain(x))


def test_what_has_no_rim_and_what_is_too_small_stay_as_they_were() -> None:
    assert twins(nn.Conv2d(2, 3, 3), "reflect")[1].padding_mode == "zeros"
    single = torch.rand(1, 2, 1, 1, dtype=torch.float64)
    for mode in ("replicate", "circular"):
        plain, ours = twins(nn.Conv2d(2, 3, 3, padding=1), mode)
        assert torch.equal(ours(single), plain(single))
    with pytest.raises(RuntimeError, match=r"[Pp]adding"):
        twins(nn.Conv2d(2, 3, 3, padding=1), "reflect")[1](single)

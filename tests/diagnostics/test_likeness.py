"""The four numbers say how alike two maps are, whatever their scale and sign."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from advbench.diagnostics.likeness import likeness, strength


def maps(seed: int, channels: int = 1, batch: int = 3) -> Tensor:
    return torch.randn(batch, channels, 8, 9, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 99), st.floats(0.01, 100), st.sampled_from([-1.0, 1.0]))
def test_a_map_is_like_itself_at_any_scale_and_sign(seed: int, scale: float, sign: float) -> None:
    heat = maps(seed)
    found = likeness(heat, sign * scale * heat)
    for value in (found.overlap, found.correlation, found.structure):
        assert_close(value, torch.ones(3), atol=1e-5, rtol=0.0)
    assert_close(found.shift, torch.zeros(3), atol=1e-4, rtol=0.0)


@given(st.integers(0, 99))
def test_it_is_symmetric_and_in_range(seed: int) -> None:
    a, b = maps(seed), maps(seed + 100, channels=3)
    forth, back = likeness(a, b), likeness(b, a)
    for name in ("overlap", "correlation", "structure", "shift"):
        assert_close(getattr(forth, name), getattr(back, name))
    assert bool(((forth.overlap >= 0) & (forth.overlap <= 1)).all())
    assert bool((forth.correlation.abs() <= 1 + 1e-6).all())


def test_reversed_order_is_minus_one() -> None:
    heat = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4)
    assert_close(likeness(heat, 17.0 - heat).correlation, torch.tensor([-1.0]))


def test_an_example_by_hand() -> None:
    a, b = torch.zeros(2, 1, 1, 4, 5)
    a[..., 0, 0], a[..., 0, 1], b[..., 0, 1], b[..., 3, 0] = 2.0, 1.0, -3.0, 3.0
    found = likeness(a, b)  # a tenth of 20 pixels are 2: {00, 01} and {01, 30}
    assert_close(found.overlap, torch.tensor([0.5]))
    # Centres at (0, 1/3) and (1.5, 0.5).
    assert_close(found.shift, torch.tensor([(1.5**2 + (1.0 / 6.0) ** 2) ** 0.5]))


def test_strength_sums_magnitudes_over_channels() -> None:
    heat = torch.tensor([1.0, -2.0, 0.5]).reshape(1, 3, 1, 1)
    assert_close(strength(heat), torch.tensor([[[[3.5]]]]))


@given(st.integers(0, 99), st.floats(0.0, 9.0))
def test_two_blank_maps_are_not_alike(seed: int, level: float) -> None:
    # By ties, a map that is level shares all of its first places with any other: that is no survival.
    heat = maps(seed)
    blank = torch.full_like(heat, level)
    blank[1] = maps(seed + 100)[1]
    for found in (likeness(heat, blank), likeness(blank, heat), likeness(blank, blank)):
        for value in (found.overlap, found.correlation, found.structure, found.shift):
            assert value.isnan().tolist() == [True, False, True]


@pytest.mark.parametrize("share", [0.0, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        likeness(maps(0), maps(1), share=share)

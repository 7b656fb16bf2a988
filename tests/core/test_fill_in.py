"""Pixels filled in from their surroundings."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.core.fill_in import filled_in


@given(st.integers(1, 13), st.integers(1, 13), st.integers(0, 10**6), st.floats(0.0, 1.0))
def test_what_is_seen_stays_and_the_rest_lies_between(height: int, width: int, seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(3, 2, height, width, generator=generator, dtype=torch.float64)
    hidden = torch.rand(3, height, width, generator=generator) < share
    found = filled_in(x, hidden)
    assert torch.equal(found.movedim(1, -1)[~hidden], x.movedim(1, -1)[~hidden])
    for sample, gone, was in zip(found, hidden, x, strict=True):
        if bool(gone.all()):
            assert torch.equal(sample, torch.full_like(sample, 0.5))
        else:
            for channel, seen in zip(sample, was[:, ~gone], strict=True):
                assert float(channel.min()) >= float(seen.min()) - 1e-9
                assert float(channel.max()) <= float(seen.max()) + 1e-9


@given(st.floats(0.0, 1.0), st.integers(0, 1000))
def test_a_constant_image_is_filled_with_its_colour(value: float, seed: int) -> None:
    hidden = torch.rand(2, 9, 12, generator=torch.Generator().manual_seed(seed)) < 0.7
    hidden[:, 0, 0] = False
    assert torch.allclose(filled_in(torch.full((2, 3, 9, 12), value), hidden), torch.tensor(value), atol=1e-6)


def test_a_hole_in_a_smooth_image_can_hardly_be_seen() -> None:
    slope = torch.linspace(0, 1, 32).expand(1, 1, 32, 32)
    hidden = torch.zeros(1, 32, 32, dtype=torch.bool)
    hidden[:, 12:18, 12:18] = True
    assert float((filled_in(slope, hidden) - slope).abs().max()) < 0.12
    scattered = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0)) < 0.5
    assert float((filled_in(slope, scattered) - slope).abs().mean()) < 0.01


def test_each_sample_is_on_its_own() -> None:
    x = torch.rand(4, 3, 8, 8)
    hidden = torch.rand(4, 8, 8) < 0.5
    assert torch.equal(filled_in(x[2:3], hidden[2:3]), filled_in(x, hidden)[2:3])

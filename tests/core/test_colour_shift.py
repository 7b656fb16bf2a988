"""ColorShift can be undone, and draws anew for each sample, channel and look."""

from __future__ import annotations

import torch

from advbench.core.colour_shift import colour_shift, drawn_shift, shifted, unshifted
from advbench.core.draws import Draws

DRAWS = Draws(3, torch.arange(4))


def test_a_shift_is_undone() -> None:
    z = torch.rand(4, 3, 5, 6, dtype=torch.float64)
    shift = drawn_shift(z, DRAWS, 7)
    torch.testing.assert_close(unshifted(shifted(z, shift), shift), z)
    assert torch.equal(colour_shift()(z, DRAWS, 7), shifted(z, shift))
    assert torch.equal(colour_shift(0.0)(z, DRAWS, 7), z)


def test_samples_channels_and_looks_differ_and_stay_in_range() -> None:
    z = torch.zeros(4, 3, 2, 2)
    first, second = drawn_shift(z, DRAWS, 0, 0.5), drawn_shift(z, DRAWS, 1, 0.5)
    assert len(set(first.mean.flatten().tolist())) == len(set(first.deviation.flatten().tolist())) == 12
    assert not torch.equal(first.mean, second.mean)
    assert float(first.mean.abs().max()) <= 0.5
    assert float(first.deviation.log().abs().max()) <= 0.5 + 1e-6

"""shuffled_change: the same change, elsewhere."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.diagnostics.shuffled_change import shuffled_change
from advbench.types import NORMS
from tests.strategies import seeds


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), seeds())
def test_no_norm_changes_and_pixels_stay_whole(channels: int, height: int, width: int, seed: int) -> None:
    maker = torch.Generator().manual_seed(seed)
    x = 0.4 + 0.2 * torch.rand(4, channels, height, width, generator=maker, dtype=torch.float64)
    x_adv = x + 0.3 * (torch.rand(x.shape, generator=maker, dtype=torch.float64) - 0.5)
    before, draws = x_adv.clone(), Draws(seed, torch.arange(4))
    noisy = shuffled_change(x, x_adv, draws)
    for norm in NORMS:
        assert_close(lengths(noisy - x, norm), lengths(x_adv - x, norm))
    for i in range(4):
        pixels = [sorted(map(tuple, (z[i] - x[i]).flatten(1).T.round(decimals=9).tolist())) for z in (noisy, x_adv)]
        assert pixels[0] == pixels[1]
        row = torch.tensor([i])
        assert_close(shuffled_change(x[row], x_adv[row], draws.rows(row)), noisy[row])
    assert torch.equal(x_adv, before)


def test_it_stays_in_the_box_and_moves_what_it_can() -> None:
    x, x_adv = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    x[..., :4], x_adv[..., :4] = 1.0, 0.5
    noisy = shuffled_change(x, x_adv, Draws(0, torch.tensor([3])))
    assert bool(((noisy >= 0) & (noisy <= 1)).all())
    assert not torch.equal(noisy, x_adv)
    assert torch.equal(shuffled_change(x, x, Draws(0, torch.tensor([3]))), x)

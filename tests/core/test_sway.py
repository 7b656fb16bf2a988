"""A turn and a change of scale in one look are the two looks one after the other."""

from __future__ import annotations

import pytest
import torch

from advbench.core.draws import Draws
from advbench.core.sway import turned_and_scaled
from advbench.core.transforms import rotate, scale

DRAWS = Draws(1, torch.arange(3))


def test_each_alone_is_the_view_of_that_name() -> None:
    z = torch.rand(3, 2, 11, 14)
    torch.testing.assert_close(turned_and_scaled(20.0, 1.0, 1.0)(z, DRAWS, 4), rotate(20.0)(z, DRAWS, 4))
    torch.testing.assert_close(turned_and_scaled(0.0, 0.8, 1.3)(z, DRAWS, 4), scale(0.8, 1.3)(z, DRAWS, 4))
    with pytest.raises(ValueError, match="low"):
        turned_and_scaled(1.0, 0.0, 1.0)


def test_both_are_near_the_two_in_turn_on_a_smooth_picture() -> None:
    down, right = torch.meshgrid(torch.linspace(0, 3, 40), torch.linspace(0, 3, 40), indexing="ij")
    z = (0.5 + 0.3 * down.sin() * right.cos()).expand(3, 1, 40, 40)
    once = turned_and_scaled(15.0, 1.1, 1.3)(z, DRAWS, 2)
    twice = rotate(15.0)(scale(1.1, 1.3)(z, DRAWS, 2), DRAWS, 2)
    torch.testing.assert_close(once[..., 10:30, 10:30], twice[..., 10:30, 10:30], atol=0.01, rtol=0.0)

"""stretched gives a perturbation its length back inside the box, where the box has room."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.controls.best_draw import stretched
from advbench.core.norms import lengths
from advbench.types import ThreatModel
from tests.strategies import deltas_like, images


@st.composite
def images_and_deltas(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    x = draw(images())
    return x, draw(deltas_like(x))


@given(images_and_deltas(), st.sampled_from((1.0, 2.0)))
def test_the_length_inside_the_box_is_the_length_before_it_or_all_there_is(
    pair: tuple[Tensor, Tensor], norm: float
) -> None:
    x, delta = pair
    result = stretched(delta, x, ThreatModel(norm, 1.0)).double()
    inside = (x.double() + result).clamp(0.0, 1.0) - x.double()
    end = torch.where(delta > 0, 1.0 - x.double(), torch.where(delta < 0, -x.double(), 0.0))  # as far as it goes
    wanted, found, most = (lengths(d.double(), norm) for d in (delta, inside, end))
    assert bool(((found - torch.minimum(wanted, most)).abs() <= 1e-5 * (1.0 + wanted)).all())
    assert bool((result * delta >= delta.square() * (1.0 - 1e-6)).all())  # the same direction, never shorter


def test_one_sample_by_hand() -> None:
    x, delta = torch.tensor([[0.9, 0.5]]), torch.tensor([[0.3, 0.4]])
    # Length 0.5; the first component stops at 0.1, so the second needs sqrt(0.24): a factor of 1.2247.
    result = stretched(delta, x, ThreatModel(2, 0.5))
    assert torch.allclose(result, delta * 0.24**0.5 / 0.4)


@given(images_and_deltas(), st.sampled_from((0.0, float("inf"))))
def test_linf_and_l0_draws_stay_as_they_are(pair: tuple[Tensor, Tensor], norm: float) -> None:
    x, delta = pair
    assert torch.equal(stretched(delta, x, ThreatModel(norm, 1.0)), delta)

"""Bisection finds a crossing to each sample's own tolerance and asks no more than that needs."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from advbench.core.bisection import bisect, way_towards
from advbench.core.norms import lengths
from tests.strategies import norms, seeds


@given(seeds(), st.integers(1, 6))
def test_it_finds_a_threshold_as_finely_as_asked(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    threshold = torch.rand(count, generator=generator, dtype=torch.float64)
    relative = 10.0 ** -(1.0 + 8.0 * float(torch.rand(1, generator=generator)))
    rows = torch.randperm(20, generator=generator)[:count]
    asked = torch.zeros(20, dtype=torch.int64)
    where = {int(row): i for i, row in enumerate(rows)}

    def ask(z: Tensor, who: Tensor) -> Tensor:
        asked[who] += 1
        return z[:, 0] >= threshold[[where[int(row)] for row in who]]

    low, high = torch.zeros_like(threshold), torch.ones_like(threshold)
    t = bisect(ask, lambda t, at: t[:, None], rows, low=low, high=high, relative=relative)
    assert bool(((t >= threshold) & (t - threshold <= relative * t)).all())
    enough = [math.ceil(math.log2(1.0 / (relative * each))) for each in t.tolist()]
    assert all(few <= most for few, most in zip(asked[rows].tolist(), enough, strict=True))
    assert int(asked.sum()) == int(asked[rows].sum())
    assert float(low.max()) == 0.0
    assert float(high.min()) == 1.0


def test_it_stops_where_no_number_lies_between() -> None:
    one = torch.ones(1)
    t = bisect(
        lambda z, who: torch.ones(len(who), dtype=torch.bool),
        lambda t, at: t,
        torch.zeros(1, dtype=torch.int64),
        low=one,
        high=one + 1e-3,
        relative=0.0,
    )
    assert float(t) == math.nextafter(1.0, 2.0) or float(t) - 1.0 <= 1.2e-7


@given(seeds(), norms(1.0, 2.0, math.inf), st.floats(0.0, 1.0))
def test_a_way_leads_from_x_to_z_by_distance(seed: int, norm: float, part: float) -> None:
    x, z = torch.rand(2, 3, 1, 4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    way, whole, every = way_towards(z, x, norm), lengths(z - x, norm), torch.arange(3)
    assert_close(way(0.0 * whole, every), x)
    assert_close(way(whole, every), z)
    assert_close(lengths(way(part * whole, every) - x, norm), part * whole)
    assert_close(way(part * whole[1:2], every[1:2]), way(part * whole, every)[1:2])


def test_by_hand() -> None:
    x, z = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.8, 0.2]])
    half, only = torch.tensor([0.4]), torch.tensor([0])
    assert_close(way_towards(z, x, math.inf)(half, only), torch.tensor([[0.4, 0.2]]))
    assert_close(way_towards(z, x, 1.0)(half, only), torch.tensor([[0.32, 0.08]]))

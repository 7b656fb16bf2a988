"""ROAD: laws of the order, a planted truth, and that the mask cannot be read off the image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import in_pieces
from advbench.core.linear_imputation import linear_imputation
from advbench.core.targets import logit
from advbench.metrics.road import FRACTIONS, road


class Planted(nn.Module):
    """Logits (B, 2): how much the pixels of a 6 x 6 square differ from their mean, and 0."""

    def forward(self, x: Tensor) -> Tensor:
        part = x[:, :, 5:11, 6:12].flatten(1)
        value = 40.0 * part.var(1)
        return torch.stack([value, torch.zeros_like(value)], 1)


class Recorded(nn.Module):
    """Keeps the images that it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.clone())
        return x.flatten(1)[:, :2]


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.floats(0.02, 0.98), min_size=1, max_size=4))
def test_an_inverted_map_swaps_the_two_ways_and_the_gap_changes_sign(seed: int, fractions: list[float]) -> None:
    maker = torch.Generator().manual_seed(seed)
    heat = torch.stack([torch.randperm(256, generator=maker).double().reshape(1, 16, 16) for _ in range(4)])
    y = torch.tensor([0, 1, 1, 0])
    there, back = (road(Planted(), images(), y, sign * heat, fractions=fractions, noise=0.0) for sign in (1.0, -1.0))
    torch.testing.assert_close(there.most_first, back.least_first, rtol=0, atol=1e-9)
    torch.testing.assert_close(there.gap, -back.gap, rtol=0, atol=1e-9)
    assert bool(((there.most_first >= 0) & (there.most_first <= 1)).all())
    torch.testing.assert_close(there.gap, (there.least_first - there.most_first).mean(1))


def test_the_true_map_beats_a_random_one_and_that_beats_the_inverted_one() -> None:
    truth = torch.zeros(4, 1, 16, 16)
    truth[:, :, 5:11, 6:12] = 1.0
    noise = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    good, chance, bad = (road(Planted(), images(), logit(0), m).gap for m in (truth, noise, -truth))
    assert bool((good > 2.0 * chance.abs()).all())
    assert bool((bad < -2.0 * chance.abs()).all())


def test_what_goes_is_continued_from_the_rest_with_noise_of_the_said_strength() -> None:
    x, model, heat = images(2), Recorded(), torch.arange(512.0).reshape(2, 1, 16, 16)
    road(model, x, logit(0), heat, fractions=[0.25], noise=0.01)
    most, least = torch.cat(model.seen).split(2)
    hidden = torch.zeros(2, 16, 16, dtype=torch.bool)
    hidden[:, 12:] = True  # the last quarter has the largest values
    for rest, gone in ((most, hidden), (least, hidden.flip(1))):
        expected = linear_imputation(x, gone)
        away = (rest - expected).permute(0, 2, 3, 1)
        assert not away[~gone].any()
        assert 0.009 < float(away[gone].std()) < 0.011


def test_batch_and_pieces_do_not_matter_and_seeds_do() -> None:
    heat = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(2)).round(decimals=1)
    y, draws = torch.tensor([0, 1, 1, 0]), Draws(3, torch.arange(4))
    whole = road(Planted(), images(), y, heat, draws=draws)
    assert whole.fractions.tolist() == pytest.approx(FRACTIONS, abs=0.5 / 256)
    rows = torch.tensor([2])
    alone = road(Planted(), images()[rows], y[rows], heat[rows], draws=draws.rows(rows))
    torch.testing.assert_close(alone.most_first, whole.most_first[rows], rtol=0, atol=1e-6)
    with in_pieces(1):
        torch.testing.assert_close(road(Planted(), images(), y, heat, draws=draws).gap, whole.gap, rtol=0, atol=1e-6)
    other = road(Planted(), images(), y, heat, draws=Draws(4, torch.arange(4)))
    assert not torch.equal(other.gap, whole.gap)


def test_mistakes_are_told() -> None:
    heat = torch.zeros(4, 1, 16, 16)
    for fractions, noise in (([], 0.0), ([0.0], 0.0), ([1.0], 0.0), ([0.5], -1.0)):
        with pytest.raises(ValueError, match="road needs fractions"):
            road(Planted(), images(), logit(0), heat, fractions=fractions, noise=noise)
    with pytest.raises(ValueError, match="does not fit"):
        road(Planted(), images(), logit(0), heat[:2])

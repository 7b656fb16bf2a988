"""one_pixel: whole pixels, honest queries, and what a search over every pixel finds."""

from __future__ import annotations

from itertools import permutations
from math import inf

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.attacks.score.one_pixel import _children, _painted, _three_of, one_pixel
from advbench.core.draws import Draws
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds


@given(seeds(), st.sampled_from([1, 3]), st.integers(1, 3))
def test_members_are_painted_as_they_say(seed: int, channels: int, pixels: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2, channels, 3, 4, generator=generator)
    members = torch.rand(2, 5, pixels, 2 + channels, generator=generator)
    found = _painted(x, members, ThreatModel(0, 3, -1.0, 1.0))
    for i in range(2):
        for j in range(5):
            wanted = x[i].clone()
            for down, across, *colour in members[i, j].tolist():
                wanted[:, int(down * 3), int(across * 4)] = 2.0 * torch.tensor(colour) - 1.0
            assert torch.allclose(found[i, j], wanted, atol=1e-6)


@given(seeds())
def test_children_are_made_of_three_different_others(seed: int) -> None:
    members = torch.rand(2, 4, 1, 3, generator=torch.Generator().manual_seed(seed))
    children = _children(members, Draws(seed, torch.arange(2)), 1, 0.5)
    for i in range(2):
        for j in range(4):
            others = [k for k in range(4) if k != j]
            possible = [
                (members[i, a] + 0.5 * (members[i, b] - members[i, c])).clamp(0.0, 1.0)
                for a, b, c in permutations(others)
            ]
            assert min(float((children[i, j] - each).abs().max()) for each in possible) < 1e-6


def test_every_triple_of_different_others_is_as_likely() -> None:
    words = Draws(0, torch.arange(1)).words(3 * 60_000, "test").reshape(-1, 3)
    found = _three_of(4, words) @ torch.tensor([16, 4, 1])
    counts = torch.bincount(found, minlength=64)
    expected = torch.tensor([16 * a + 4 * b + c for a, b, c in permutations(range(4), 3)])
    assert int(counts[expected].sum()) == 60_000
    assert bool((counts[expected] - 2500).abs().lt(250).all())  # five standard deviations


@pytest.mark.slow
def test_it_finds_what_trying_every_pixel_finds() -> None:
    model = conv_net()
    x, y, draws = images(model, 40)
    x_adv = one_pixel(model, x, y, ThreatModel(0, 1), draws=draws, population=60, queries=1 + 60 * 20)
    fooled = model(x_adv).argmax(1) != y
    assert bool(((x_adv != x).flatten(1).sum(1) <= 1).all())
    possible = torch.zeros_like(fooled)
    for place in range(36):
        for value in torch.linspace(0.0, 1.0, 11).tolist():
            z = x.clone().flatten(1)
            z[:, place] = value
            possible |= model(z.reshape(x.shape)).argmax(1) != y
    missed = int((possible & ~fooled).sum())
    assert int(possible.sum()) >= 5
    assert missed <= 0.1 * int(possible.sum())


def test_queries_are_never_more_than_allowed() -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    y = torch.where(torch.arange(24) < 4, (y + 1) % 4, y)
    counting = Counting(model, len(x))
    x_adv = one_pixel(counting, x, y, ThreatModel(0, 1), draws=draws, population=10, queries=58)
    held = model(x_adv).argmax(1) == y
    assert torch.equal(x_adv[:4], x[:4])
    assert bool((counting.passes[:4] == 1).all())
    assert int(held.sum()) > 0
    assert bool((counting.passes[held] == 51).all())


def test_a_radius_below_one_pixel_changes_nothing() -> None:
    x = torch.rand(2, 3, 4, 4)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3))
    counting = Counting(model, 2)
    y = model(x).argmax(1)
    assert torch.equal(one_pixel(counting, x, y, ThreatModel(0, 2), draws=Draws(0, torch.arange(2))), x)
    assert counting.passes.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("threat", "options", "message"),
    [
        (ThreatModel(0, None), {}, "needs a radius"),
        (ThreatModel(0, 1), {"queries": 0}, "queries must be at least 401, "),
        (ThreatModel(0, 1), {"population": 3}, "population must be at least 4"),
        (ThreatModel(0, 1), {"differential_weight": inf * 0}, "differential_weight must be positive"),
    ],
)
def test_impossible_settings_are_refused(threat: ThreatModel, options: dict[str, float], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        one_pixel(model, x, y, threat, draws=draws, **options)  # type: ignore[arg-type]

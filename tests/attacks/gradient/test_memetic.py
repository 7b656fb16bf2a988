"""memetic: children are made of their parents, and what no single descent gets right is put together from many."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attacks.gradient.memetic import _children, _crowd, _Habitat, _Settings, _start, memetic
from advbench.attacks.gradient.pgd import pgd
from advbench.core.draws import Draws
from advbench.core.keep import Kept
from advbench.core.norms import lengths
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds


class Wells(nn.Module):
    """Two classes; every pixel has a shallow well at 0.4 and a deep one at 0.6, class 1 needs nearly all in the deep.

    The first logit is the sum over pixels of min(|v - 0.4| + 0.02, |v - 0.6|), less what two shallow wells leave.
    """

    def forward(self, x: Tensor) -> Tensor:
        depth = torch.minimum((x - 0.4).abs() + 0.02, (x - 0.6).abs()).flatten(1).sum(1) - 0.04
        return torch.stack([depth, torch.zeros_like(depth)], 1)


@settings(max_examples=25)
@given(seeds(), st.integers(2, 6), st.integers(1, 7), st.integers(1, 7))
def test_a_child_is_its_parent_cut_together_with_one_mate_of_the_same_sample(
    seed: int, population: int, height: int, width: int
) -> None:
    """Members are images of one grey each, so that a child's greys say where its parts come from."""
    home = _Habitat(nn.Identity(), ThreatModel(inf, 0.5), Draws(seed, torch.arange(3)))
    crowd = _crowd(torch.full((3, 2, height, width), 0.5), torch.zeros(3).long(), torch.ones(3, population), home.draws)
    grey = (torch.arange(3 * population) / (3 * population)).reshape(-1, 1, 1, 1)
    parents = _parents(grey.expand(-1, 2, height, width), seed)
    children = _children(home, crowd, parents, _Settings(population, 1, 1, 1, 0.0, 0.0), 0)
    for member, child in enumerate(children):
        others = {int(i) for i in (child.unique() * (3 * population)).round()} - {member}
        assert len(others) <= 1
        assert all(i // population == member // population for i in others)
    life = _Settings(population, 1, 1, 1, 1.0, 0.0)
    assert bool((_children(home, crowd, parents, life, 0) != children).flatten(1).any(1).all())


def test_mates_are_better_than_the_average_and_come_from_a_random_part() -> None:
    home = _Habitat(nn.Identity(), ThreatModel(inf, 0.5), Draws(0, torch.arange(2)))
    crowd = _crowd(torch.full((2, 1, 20, 20), 0.5), torch.zeros(2).long(), torch.ones(2, 200), home.draws)
    grey = (torch.arange(400) / 400).reshape(-1, 1, 1, 1)
    parents = _parents(grey.expand(-1, 1, 20, 20), 0)
    children = _children(home, crowd, parents, _Settings(200, 1, 1, 1, 0.0, 0.0), 0)
    foreign = children != grey
    mate = (torch.where(foreign, children, 0.0).flatten(1).amax(1) * 400).round().long()[foreign.flatten(1).any(1)]
    assert 0.25 < float(parents.loss[mate].mean()) < 0.4  # the lower of two uniform numbers: 1 / 3
    assert float(parents.loss.mean()) > 0.45
    assert 0.4 < float(foreign.double().mean()) < 0.6


@settings(max_examples=10)
@given(seeds(), st.sampled_from([2.0, inf]))
def test_children_stay_in_the_ball_and_in_the_box(seed: int, norm: float) -> None:
    x = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
    home = _Habitat(nn.Identity(), ThreatModel(norm, 0.3), Draws(seed, torch.arange(2)))
    crowd = _crowd(x, torch.zeros(2).long(), torch.ones(2, 4), home.draws)
    children = _children(home, crowd, _parents(_start(home, crowd), seed), _Settings(4, 1, 1, 1, 0.3, 0.0), 0)
    assert bool((lengths(children - crowd.x, norm) <= 0.3 * (1 + 1e-5)).all())
    assert 0.0 <= float(children.min()) <= float(children.max()) <= 1.0


def _parents(z: Tensor, seed: int) -> Kept:
    loss = torch.rand(len(z), generator=torch.Generator().manual_seed(seed))
    return Kept(z, loss, torch.zeros(len(z), dtype=torch.bool))


@pytest.mark.slow
def test_what_no_descent_gets_right_is_put_together() -> None:
    """Each of 64 pixels ends in the deep well with a chance of a half: 50 descents do not find all, crossover does."""
    model, threat = Wells(), ThreatModel(inf, 0.15)
    x, y, draws = torch.full((6, 1, 8, 8), 0.5), torch.zeros(6).long(), Draws(0, torch.arange(6))
    descents = pgd(model, x, y, threat, draws=draws, steps=60, restarts=50)
    assert bool((model(descents).argmax(1) == 0).all())
    found = memetic(model, x, y, threat, draws=draws, steps=40, child_steps=10, generations=60)
    assert bool((model(found).argmax(1) == 1).all())


@pytest.mark.parametrize("norm", [2.0, inf])
def test_passes_stop_when_a_sample_has_fallen(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 16)
    y = torch.where(torch.arange(16) < 3, (y + 1) % 4, y)
    counting = Counting(model, len(x))
    threat = ThreatModel(norm, {2.0: 0.1, inf: 0.02}[norm])
    life = {"population": 3, "generations": 2, "steps": 6, "child_steps": 4, "target_classes": 2, "settled": 0.0}
    x_adv = memetic(counting, x, y, threat, draws=draws, **life)
    held = model(x_adv).argmax(1) == y
    assert torch.equal(x_adv[:3], x[:3])
    assert bool((counting.passes[:3] == 1).all())
    assert 0 < int(held.sum()) < 13
    # x, six scouts of three steps, three members of six, twice three children of four; ends are looked at too.
    most = 1 + 6 * 4 + 3 * 7 + 2 * 3 * 5
    assert bool((counting.passes[held] == most).all())
    assert bool((counting.passes[~held] <= most).all())


def test_a_population_that_has_come_to_one_place_ends() -> None:
    """A single valley: every descent ends at its bottom, and no generation is needed to see that nobody gets lower."""
    model = Valley()
    x, y, draws = torch.full((4, 1, 3, 3), 0.5), torch.zeros(4).long(), Draws(0, torch.arange(4))
    costs = {}
    for settled in (0.0, 0.05):
        counting = Counting(model, len(x))
        x_adv = memetic(counting, x, y, ThreatModel(inf, 0.2), draws=draws, generations=5, settled=settled)
        assert bool((model(x_adv)[:, 0] < 1.001).all())
        costs[settled] = counting.passes
    assert bool((costs[0.05] == 1 + 3 * 61 + 16 * 121).all())
    assert bool((costs[0.0] > costs[0.05]).all())


class Valley(nn.Module):
    """Class 0 leads by 1 and the squared distance to an image of 0.55: class 1 is nowhere."""

    def forward(self, x: Tensor) -> Tensor:
        lead = 1.0 + (x - 0.55).square().flatten(1).sum(1)
        return torch.stack([lead, torch.zeros_like(lead)], 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"population": 1}, "population must be at least 2, got 1"),
        ({"generations": 0}, "generations must be at least 1"),
        ({"mutation": 1.5}, r"mutation must be in \[0, 1\], got 1.5"),
        ({"settled": -0.1}, "settled must not be negative"),
        ({"restarts": 0}, "restarts must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, float], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        memetic(model, x, y, ThreatModel(2, 1.0), draws=draws, **options)  # type: ignore[arg-type]

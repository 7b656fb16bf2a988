"""square: honest queries, squares anywhere, mass kept, and the optimum of small linear models."""

from __future__ import annotations

from functools import partial
from math import inf, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.attacks.score import mass_moves
from advbench.attacks.score.mass_moves import bump, moved_mass, tiled_bumps, tiles
from advbench.attacks.score.square import _share, square
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.testing import linear_problem
from advbench.testing.witness import Dead
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds

NORMS = (1.0, 2.0, inf)
RADII = {1.0: 0.5, 2.0: 0.5, inf: 0.05}


@pytest.mark.slow
@settings(max_examples=6)
@given(seeds(), st.sampled_from([(1, 2, 3), (1, 3, 3), (2, 2, 2), (1, 1, 1)]), st.booleans())
def test_on_linear_models_it_ends_in_the_best_corner(seed: int, shape: tuple[int, int, int], targeted: bool) -> None:
    problem = linear_problem(shape, 2, 2, seed)
    y = 1 - problem.y if targeted else problem.y
    for row in torch.arange(2).split(1):
        distance = float(problem.distance(inf)[row])
        for factor in (0.99, 1.02):
            x_adv = square(
                problem.model,
                problem.x[row],
                y[row],
                ThreatModel(inf, factor * distance + (factor - 1.0) * 1e-3),
                draws=problem.draws.rows(row),
                targeted=targeted,
                queries=400,
                rescale_schedule=True,
            )
            assert bool(problem.model(x_adv).argmax(1) != problem.y[row]) == (factor > 1.0)


@pytest.mark.parametrize("norm", NORMS)
def test_queries_are_what_a_sample_costs(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    y = torch.where(torch.arange(24) < 4, (y + 1) % 4, y)  # four that are wrong from the start
    counting = Counting(model, len(x))
    x_adv = square(counting, x, y, ThreatModel(norm, RADII[norm]), draws=draws, queries=20, restarts=3)
    held = model(x_adv).argmax(1) == y
    assert bool((counting.passes[:4] == 1).all())
    assert torch.equal(x_adv[:4], x[:4])
    assert 0 < int(held.sum()) < 20
    assert bool((counting.passes[held] == 1 + 3 * 19).all())
    assert bool((counting.passes[~held] < 1 + 3 * 19).all())


@pytest.mark.parametrize("norm", NORMS)
def test_more_queries_never_lose_an_example_and_find_more(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 48)
    few, many = (
        square(model, x, y, ThreatModel(norm, RADII[norm]), draws=draws, queries=queries) for queries in (4, 120)
    )
    fooled = model(few).argmax(1) != y
    assert torch.equal(few[fooled], many[fooled])
    assert int((model(many).argmax(1) != y).sum()) > int(fooled.sum())


@given(seeds(), st.sampled_from([(1, 4, 4), (3, 3, 5)]))
def test_no_query_repeats_the_best_point(seed: int, shape: tuple[int, int, int]) -> None:
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed)).round()  # black and white
    seen: list[Tensor] = []
    model = Dead(2)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    square(model, x, torch.zeros(2).long(), ThreatModel(inf, 0.1), draws=Draws(seed, torch.arange(2)), queries=12)
    start = seen[1]  # with all scores alike it stays the best
    for candidate in seen[2:]:
        changed = (candidate != start).flatten(2)
        assert bool(changed.flatten(1).any(1).all())
        assert bool(torch.isclose((candidate - x).abs(), torch.tensor(0.1)).logical_or(candidate == x).all())


def test_squares_reach_every_corner_of_a_rectangle() -> None:
    x = torch.full((1, 1, 3, 5), 0.5)
    seen: list[Tensor] = []
    model = Dead(2)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    square(
        model,
        x,
        torch.tensor([0]),
        ThreatModel(inf, 0.1),
        draws=Draws(0, torch.arange(1)),
        queries=300,
        p_init=4 / 15,
        rescale_schedule=False,
    )
    moved = torch.stack([(candidate != seen[1])[0, 0] for candidate in seen[2:]])
    assert bool(moved.any(0).all())
    assert moved[0].sum() <= 4
    assert bool((moved[60:].flatten(1).sum(1) == 1).all())  # p is below 1/15 there: single pixels


@given(seeds(), st.sampled_from([1.0, 2.0]), st.sampled_from([(1, 5, 5), (3, 6, 4)]), st.sampled_from([2, 3]))
def test_a_move_of_mass_is_the_one_of_the_paper(seed: int, p: float, shape: tuple[int, int, int], side: int) -> None:
    """Against loops over channels and pixels in float64."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    delta = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    eps = 1.1 * float(lengths(delta, p).max())
    words = Draws(seed, torch.arange(2)).words(5 + channels, "test")
    found = moved_mass(delta, words, side, eps, p)
    assert lengths(found, p).tolist() == pytest.approx([eps, eps])
    for i in range(2):
        top, left, top2, left2 = (
            int(word) * max(1, length - side) >> 32
            for word, length in zip(words[i, :4], (height, width, height, width), strict=True)
        )
        pattern = bump(side, p) if words[i, 4] >= 2**31 else bump(side, p).T
        lacking = (eps**p - float(delta[i].abs().pow(p).sum())) / channels
        for c in range(channels):
            ours = [(r, q) for r in range(top, top + side) for q in range(left, left + side)]
            theirs = [(r, q) for r in range(top2, top2 + side) for q in range(left2, left2 + side)]
            mass = sum(abs(float(delta[i, c][place])) ** p for place in {*ours, *theirs}) + lacking
            own = sum(abs(float(delta[i, c][place])) ** p for place in ours) ** (1 / p)
            sign = 1.0 if words[i, 5 + c] >= 2**31 else -1.0
            new = {(r, q): sign * float(pattern[r - top, q - left]) + float(delta[i, c, r, q]) / own for r, q in ours}
            length = sum(abs(value) ** p for value in new.values()) ** (1 / p)
            for r in range(height):
                for q in range(width):
                    wanted = 0.0 if (r, q) in theirs else float(delta[i, c, r, q])
                    wanted = new[r, q] / length * mass ** (1 / p) if (r, q) in new else wanted
                    assert float(found[i, c, r, q]) == pytest.approx(wanted, abs=1e-9)


def test_a_bump_of_three_by_three() -> None:
    shape = torch.tensor([[0.25, 1.25, 0.25], [-0.25, -0.25, -0.25], [-0.25, -1.25, -0.25]], dtype=torch.float64)
    assert torch.allclose(bump(3, 2.0), shape / shape.square().sum().sqrt())
    # 1 + 1/16 in the middle, 1/16 around it.
    steep = torch.tensor([[1.0, 17.0, 1.0], [-1.0, -1.0, -1.0], [-1.0, -17.0, -1.0]], dtype=torch.float64)
    assert torch.allclose(bump(3, 1.0), steep / 41.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_bump_is_copied_to_where_it_is_used_once(dtype: torch.dtype) -> None:
    mass_moves._bump_for.cache_clear()
    delta, words = torch.zeros(2, 1, 9, 9, dtype=dtype), Draws(0, torch.arange(2)).words(6, "test")
    first = moved_mass(delta, words, 5, 1.0, 2.0)
    assert mass_moves._bump_for.cache_info().misses == 1
    assert torch.equal(moved_mass(delta, words, 5, 1.0, 2.0), first)
    assert mass_moves._bump_for(5, 2.0, dtype, delta.device).dtype == dtype
    assert mass_moves._bump_for.cache_info().misses == 1


def test_the_start_is_five_by_five_bumps_in_the_middle() -> None:
    like = torch.zeros(3, 2, 16, 16, dtype=torch.float64)
    assert tiles(16, 16) == 25
    start = tiled_bumps(like, Draws(0, torch.arange(3)).words(75, "test"), 2.0)
    assert bool((start[..., -1] == 0).all())  # 16 = 5 * 3 + 1
    tile = start[..., :3, :3].flatten(0, 1)
    either = torch.stack([sign * pattern for sign in (1, -1) for pattern in (bump(3, 2.0), bump(3, 2.0).T)])
    assert bool((tile[:, None] - either).abs().flatten(2).amax(2).amin(1).max() < 1e-12)
    assert lengths(start, 2.0).tolist() == pytest.approx([sqrt(50)] * 3)


def test_the_share_halves_after_the_queries_of_the_paper() -> None:
    at = partial(_share, 0.8, 1.0)
    assert [at(step - 1) for step in (1, 10, 11, 50, 51, 5000)] == [0.8, 0.8, 0.4, 0.4, 0.2, 0.8 / 128]
    assert _share(0.8, 10.0, 0) == 0.8
    assert _share(0.8, 10.0, 999) == 0.8 / 512


@pytest.mark.parametrize(
    ("threat", "options", "message"),
    [
        (ThreatModel(inf, None), {}, "needs a radius"),
        (ThreatModel(2, 1.0), {"queries": 1}, "queries must be at least 2"),
        (ThreatModel(2, 1.0), {"restarts": 0}, "restarts must be at least 1"),
        (ThreatModel(2, 1.0), {"p_init": 0.0}, r"p_init must be in \(0, 1\], got 0.0"),
    ],
)
def test_impossible_settings_are_refused(threat: ThreatModel, options: dict[str, float], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        square(model, x, y, threat, draws=draws, **options)

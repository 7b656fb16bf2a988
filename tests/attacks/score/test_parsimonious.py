"""parsimonious: blocks of the sizes said, the optimum of linear models, gains that are not asked for twice."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.attacks.score.parsimonious import _blocks, parsimonious
from advbench.core.draws import Draws
from advbench.testing import Linear, linear_problem
from advbench.testing.witness import Dead
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes


def test_blocks_by_hand() -> None:
    assert _blocks(torch.Size((2, 3, 3)), 2).reshape(2, 3, 3).tolist() == [
        [[0, 0, 1], [0, 0, 1], [2, 2, 3]],
        [[4, 4, 5], [4, 4, 5], [6, 6, 7]],
    ]


@pytest.mark.slow
@settings(max_examples=5)
@given(shapes(largest=3), seeds(), st.booleans(), st.integers(1, 3))
def test_on_linear_models_it_ends_in_the_best_corner(
    shape: tuple[int, int, int], seed: int, targeted: bool, block: int
) -> None:
    problem = linear_problem(shape, 2, 2, seed)
    y = 1 - problem.y if targeted else problem.y
    for row, distance in enumerate(problem.distance(inf).tolist()):
        at = torch.tensor([row])
        for factor in (0.99, 1.01):
            threat = ThreatModel(inf, factor * distance + (factor - 1.0) * 1e-3)
            draws = problem.draws.rows(at)
            x_adv = parsimonious(
                problem.model, problem.x[at], y[at], threat, draws=draws, targeted=targeted, queries=150, block=block
            )
            assert bool(problem.model(x_adv).argmax(1) != problem.y[row]) == (factor > 1.0)


@settings(max_examples=25)
@given(seeds(), st.integers(2, 40))
def test_a_linear_model_is_asked_once_about_each_block_and_once_about_the_next_best(seed: int, size: int) -> None:
    """On a modular function a gain from before is still right: after all were asked, one query confirms each change."""
    weight = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    model = Linear(torch.stack([weight, -weight]), torch.tensor([1e3, 0.0]))  # too sure to be fooled
    x = torch.full((1, 1, 1, size), 0.5, dtype=torch.float64)
    seen: list[Tensor] = []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].flatten()))
    better = int((weight < 0).sum())  # those that are worth raising
    queries = 2 + size + max(0, better - 1)
    parsimonious(
        model, x, torch.tensor([0]), ThreatModel(inf, 0.1), draws=Draws(seed, torch.arange(1)), queries=queries, block=1
    )
    assert torch.equal(seen[0], x.flatten())
    assert bool((seen[1] < 0.5).all())
    assert torch.stack(seen[2 : 2 + size]).gt(0.5).sum(0).tolist() == [1] * size
    if better > 1:
        assert torch.equal(seen[-1] > 0.5, weight < 0)
    best_first = weight.sort().values[:better].cumsum(0)
    reached = [float(weight[z > 0.5].sum()) for z in seen[2 + size :]]
    assert reached == pytest.approx(best_first[1:].tolist())


@settings(max_examples=10)
@given(seeds(), st.sampled_from([2, 3]))
def test_queries_differ_by_one_block(seed: int, block: int) -> None:
    x = torch.full((2, 3, 5, 4), 0.5)
    seen: list[Tensor] = []
    model = Dead(2)  # nothing gains anything: every query is a flip of the start
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    first = int(_blocks(x.shape[1:], block).max()) + 1
    parsimonious(
        model,
        x,
        torch.zeros(2).long(),
        ThreatModel(inf, 0.1),
        draws=Draws(seed, torch.arange(2)),
        queries=2 + first,
        block=block,
    )
    blocks = _blocks(x.shape[1:], block)
    for i in range(2):
        flips = [(z[i] > 0.5).flatten() for z in seen[2:]]
        assert sorted(int(blocks[flip].unique()) for flip in flips) == list(range(first))
        assert all(bool((flip == (blocks == blocks[flip][0])).all()) for flip in flips)


def test_queries_are_never_more_than_allowed_and_find_more() -> None:
    model = conv_net()
    x, y, draws = images(model, 32)
    y = torch.where(torch.arange(32) < 4, (y + 1) % 4, y)
    counting = Counting(model, len(x))
    few, many = (
        parsimonious(each, x, y, ThreatModel(inf, 0.05), draws=draws, queries=queries)
        for each, queries in ((model, 5), (counting, 120))
    )
    held = model(many).argmax(1) == y
    assert torch.equal(many[:4], x[:4])
    assert bool((counting.passes[:4] == 1).all())
    assert bool((counting.passes[held] == 120).all())
    assert 0 < int(held.sum()) < int((model(few).argmax(1) == y).sum())


@pytest.mark.parametrize(
    ("threat", "options", "message"),
    [
        (ThreatModel(inf, None), {}, "needs a radius"),
        (ThreatModel(inf, 0.1), {"queries": 0}, "queries must be at least 2, "),
        (ThreatModel(inf, 0.1), {"block": 0}, "block must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(threat: ThreatModel, options: dict[str, int], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        parsimonious(model, x, y, threat, draws=draws, **options)

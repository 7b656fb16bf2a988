"""sparse_rs: the set has the right size, exchanges are honest, small linear problems end at the optimum."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.attacks.score.sparse_rs import sparse_rs
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.testing import linear_problem
from advbench.testing.witness import Dead
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds


@given(seeds(), st.integers(1, 14), st.sampled_from(["component", "pixel"]))
def test_every_query_changes_what_the_radius_allows(seed: int, eps: int, unit: str) -> None:
    x = torch.rand(2, 3, 2, 3, generator=torch.Generator().manual_seed(seed)).round()  # black and white
    seen: list[Tensor] = []
    model = Dead(2)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    sparse_rs(
        model, x, torch.zeros(2).long(), ThreatModel(0, eps), draws=Draws(seed, torch.arange(2)), queries=12, unit=unit
    )
    if unit == "pixel" and eps < 3:
        assert len(seen) == 1
        return
    for z in seen[1:]:
        assert bool((z.round() == z).all())
        if unit == "component":
            assert bool((lengths(z - x, 0) == eps).all())
        else:
            assert (z != x).any(1).flatten(1).sum(1).tolist() == [eps // 3] * 2
    assert all(not torch.equal(z, seen[1]) for z in seen[2:])


@pytest.mark.slow
@settings(max_examples=10)
@given(seeds(), st.booleans())
def test_small_linear_problems_fall_at_the_closed_form_distance(seed: int, targeted: bool) -> None:
    problem = linear_problem((2, 2, 2), 2, 4, seed)
    y = 1 - problem.y if targeted else problem.y
    for row, distance in enumerate(problem.distance(0).tolist()):
        if distance == inf:
            continue
        at = torch.tensor([row])
        for eps in (distance - 1, distance):
            x_adv = sparse_rs(
                problem.model,
                problem.x[at],
                y[at],
                ThreatModel(0, eps),
                draws=problem.draws.rows(at),
                targeted=targeted,
                queries=300,
            )
            assert bool(problem.model(x_adv).argmax(1) != problem.y[row]) == (eps == distance)


@pytest.mark.parametrize("unit", ["component", "pixel"])
def test_queries_are_never_more_than_allowed_and_find_more(unit: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    y = torch.where(torch.arange(24) < 4, (y + 1) % 4, y)
    counting = Counting(model, len(x))
    few, many = (
        sparse_rs(each, x, y, ThreatModel(0, 1), draws=draws, queries=queries, unit=unit)
        for each, queries in ((model, 3), (counting, 80))
    )
    held = model(many).argmax(1) == y
    assert torch.equal(many[:4], x[:4])
    assert bool((counting.passes[:4] == 1).all())
    assert bool((counting.passes[held] == 80).all())
    assert 0 < int(held.sum()) < int((model(few).argmax(1) == y).sum())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": 1}, "queries must be at least 2"),
        ({"alpha_init": 0.0}, r"alpha_init must be in \(0, 1\]"),
        ({"unit": "patch"}, "unit must be component or pixel"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, object], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        sparse_rs(model, x, y, ThreatModel(0, 1), draws=draws, **options)  # type: ignore[arg-type]

"""zoo: Adam on the right objective, a budget that holds, the nearest example kept."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from advbench.attacks.score.zoo import zoo
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds


@settings(max_examples=15)
@given(seeds())
def test_with_all_components_at_once_it_is_adam_on_the_objective(seed: int) -> None:
    """Against torch's Adam with the exact gradient, on a linear model in float64."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    model = Linear(weight, torch.tensor([60.0, 0.0]))  # never fooled within these steps
    x = 0.4 + 0.2 * torch.rand(1, 1, 2, 3, generator=generator, dtype=torch.float64)
    seen: list[torch.Tensor] = []
    model.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].detach()) if len(inputs[0]) == 1 else None
    )
    steps = 5
    queries = 11 + steps * 13
    zoo(
        model,
        x,
        torch.tensor([0]),
        ThreatModel(2, None),
        draws=Draws(seed, torch.arange(1)),
        queries=queries,
        search_steps=1,
        c=0.5,
        step_size=0.01,
    )
    delta = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=0.01)
    for step in range(steps):
        assert torch.allclose(seen[1 + step].flatten(), (x.flatten() + delta).detach(), atol=1e-6)
        adam.zero_grad()
        loss = delta.square().sum() + 0.5 * ((weight[0] - weight[1]) @ (x.flatten() + delta) + 60.0)
        loss.backward()
        adam.step()


@pytest.mark.slow
@settings(max_examples=5)
@given(seeds())
def test_small_linear_problems_fall_near_the_closest_point(seed: int) -> None:
    problem = linear_problem((1, 2, 3), 2, 4, seed)
    x_adv = zoo(
        problem.model, problem.x, problem.y, ThreatModel(2, None), draws=problem.draws, queries=1000, step_size=0.005
    )
    distance = problem.distance(2.0)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    assert bool((lengths((x_adv - problem.x).double(), 2.0) <= 1.5 * distance + 0.02).all())


def test_queries_are_never_more_than_allowed() -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    y = torch.where(torch.arange(24) < 4, (y + 1) % 4, y)
    counting = Counting(model, len(x))
    threat = ThreatModel(2, 0.05)
    x_adv = zoo(counting, x, y, threat, draws=draws, queries=200, coordinates=5, search_steps=2)
    held = model(x_adv).argmax(1) == y
    assert torch.equal(x_adv[:4], x[:4])
    assert bool((counting.passes[:4] == 1).all())
    assert int(held.sum()) > 0
    assert int(counting.passes.max()) <= 1 + 2 * 8 * 11 + 10
    assert bool((lengths(x_adv - x, 2.0) <= 0.05 * (1 + 1e-6)).all())


def test_more_queries_find_nearer_examples() -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    few, many = (
        zoo(model, x, y, ThreatModel(2, None), draws=draws, queries=queries, coordinates=12) for queries in (1000, 4000)
    )
    found = [model(z).argmax(1) != y for z in (few, many)]
    both = found[0] & found[1]
    near, far = (lengths(z - x, 2.0)[both].mean() for z in (many, few))
    assert int(found[1].sum()) >= int(found[0].sum()) > 0
    assert float(near) < float(far)
    unfound = ~found[1]
    assert torch.equal(many[unfound], x[unfound])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": 0}, "queries must be at least 152, "),
        ({"coordinates": 0}, "coordinates must be at least 1"),
        ({"search_steps": 0}, "search_steps must be at least 1"),
        ({"c": 0.0}, "c must be positive"),
        ({"probe": 0.0}, "probe must be positive"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, float], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        zoo(model, x, y, ThreatModel(2, 1.0), draws=draws, **options)  # type: ignore[arg-type]

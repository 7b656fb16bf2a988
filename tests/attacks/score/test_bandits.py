"""bandits: the prior moves as the paper says, is constant on tiles, and every query is counted."""

from __future__ import annotations

from math import inf, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.attacks.score.bandits import _DEFAULTS, _Prior, _rate, _Settings, bandits
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.losses import margin_loss
from advbench.core.objectives import misclassify
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds


@settings(max_examples=25)
@given(seeds(), st.sampled_from([2.0, inf]), st.integers(1, 3))
def test_the_prior_moves_as_in_the_paper(seed: int, norm: float, tile: int) -> None:
    """Two steps on a linear model, against the formulas in float64, where the slope is an inner product."""
    weight = torch.randn(2, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    model = Linear(weight, torch.tensor([50.0, 0.0]))
    x, draws = torch.full((1, 1, 3, 4), 0.5, dtype=torch.float64), Draws(seed, torch.arange(1))
    settings_ = _Settings(0.1, 0.7, 0.6, 0.05)
    prior = _Prior(x, ThreatModel(norm, 0.1), draws, settings_, tile)
    shape = tuple(prior.guess.shape[1:])
    assert shape == (1, -(-3 // tile), -(-4 // tile))
    slope_of = (weight[0] - weight[1]).reshape(3, 4)
    guess = torch.zeros(shape, dtype=torch.float64)

    def enlarged(squares: Tensor) -> Tensor:
        return squares[0].repeat_interleave(tile, 0).repeat_interleave(tile, 1)[:3, :4]

    with frozen(model):
        for step in range(2):
            _, grad = prior.gradient(misclassify(model, torch.tensor([0]), loss=margin_loss), x, torch.tensor([0]))
            change = draws.normal(shape, "change", step)[0].double() * 0.6 / sqrt(guess.numel())
            up, down = (enlarged(guess + sign * change) for sign in (1, -1))
            difference = float((slope_of * (up / up.norm() - down / down.norm())).sum()) * 0.05
            move = difference / (0.05 * 0.6) * change * 0.7
            if norm == 2.0:
                guess = guess + move
            else:
                half = (guess + 1) / 2
                plus, minus = half * move.exp(), (1 - half) * (-move).exp()
                guess = 2 * plus / (plus + minus) - 1
            assert torch.allclose(grad[0, 0], enlarged(guess), atol=1e-5)
            guess = prior.guess[0].clone()


def test_the_learning_rate_is_the_papers_for_its_prior_and_follows_the_size_of_others() -> None:
    assert _rate(torch.Size((3, 299, 299)), inf, 6) == 100.0
    assert _rate(torch.Size((3, 300, 300)), 2.0, 6) == 0.1
    assert _rate(torch.Size((1, 28, 28)), inf, 3) == pytest.approx(100.0 * 100 / 7500)
    assert _rate(torch.Size((3, 15, 15)), 2.0, 3) == pytest.approx(0.1 * 0.1)


def test_a_small_prior_learns_the_slope_where_the_papers_rate_forgets_it() -> None:
    """A linear model with 100 squares: after 300 steps the guess is near the slope, unless each step saturates it."""
    weight = torch.randn(2, 900, generator=torch.Generator().manual_seed(0))
    model = Linear(weight, torch.tensor([500.0, 0.0]))  # too sure to be fooled
    x, rows = torch.full((8, 1, 30, 30), 0.5), torch.arange(8)
    slope = torch.nn.functional.avg_pool2d((weight[0] - weight[1]).reshape(1, 1, 30, 30), 3).flatten()
    alike = {}
    for rate in (_rate(x.shape[1:], inf, 3), 100.0):
        settings_ = _DEFAULTS[inf]._replace(learning_rate=rate)
        prior = _Prior(x, ThreatModel(inf, 0.1), Draws(0, rows), settings_, 3)
        objective = misclassify(model, torch.zeros(8).long(), loss=margin_loss)
        with frozen(model):
            for _ in range(300):
                prior.gradient(objective, x, rows)
        alike[rate] = float((prior.guess.flatten(1).sign() == slope.sign()).double().mean())
    assert alike[_rate(x.shape[1:], inf, 3)] > 0.7
    assert alike[100.0] < 0.65


@pytest.mark.parametrize("norm", [2.0, inf])
def test_queries_are_never_more_than_allowed_and_find_more(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 32)
    y = torch.where(torch.arange(32) < 4, (y + 1) % 4, y)
    counting = Counting(model, len(x))
    threat = ThreatModel(norm, {2.0: 0.3, inf: 0.05}[norm])
    few, many = (
        bandits(each, x, y, threat, draws=draws, queries=queries, tile=1)
        for each, queries in ((model, 4), (counting, 90))
    )
    held = model(many).argmax(1) == y
    assert torch.equal(many[:4], x[:4])
    assert bool((counting.passes[:4] == 1).all())
    assert bool((counting.passes[held] == 88).all())  # 29 steps of three, and a last look
    assert 0 < int(held.sum()) < int((model(few).argmax(1) == y).sum())


@pytest.mark.slow
@settings(max_examples=3)
@given(seeds(), st.booleans(), st.sampled_from([2.0, inf]))
def test_small_linear_problems_fall(seed: int, targeted: bool, norm: float) -> None:
    problem = linear_problem((1, 2, 3), 2, 2, seed)
    y = 1 - problem.y if targeted else problem.y
    for row, distance in enumerate(problem.distance(norm).tolist()):
        at = torch.tensor([row])
        for factor in (0.99, 2.0):
            threat = ThreatModel(norm, min(1.0, factor * distance))
            x_adv = bandits(
                problem.model,
                problem.x[at],
                y[at],
                threat,
                draws=problem.draws.rows(at),
                targeted=targeted,
                queries=600,
                tile=1,
            )
            assert bool(problem.model(x_adv).argmax(1) != problem.y[row]) == (factor > 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": 0}, "queries must be at least 4, "),
        ({"tile": 0}, "tile must be at least 1"),
        ({"probe": 0.0}, "probe must be positive"),
        ({"exploration": -1.0}, "exploration must be positive"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, float], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        bandits(model, x, y, ThreatModel(2, 1.0), draws=draws, **options)  # type: ignore[arg-type]

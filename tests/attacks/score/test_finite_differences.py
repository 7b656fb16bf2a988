"""nes and spsa: the estimate is the one of the papers, queries are honest, small problems are solved."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.attacks.score.finite_differences import antithetic
from advbench.attacks.score.nes import _Slope, nes
from advbench.attacks.score.spsa import spsa
from advbench.core.gradients import frozen
from advbench.core.losses import margin_loss
from advbench.core.objectives import Objective, misclassify
from advbench.testing import linear_problem
from advbench.types import ConfigError, Evaluation, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes

Method = Callable[..., Tensor]


@given(shapes(largest=3), seeds(), st.integers(1, 4), st.floats(1e-4, 1e-2))
def test_on_a_linear_model_each_pair_measures_its_own_slope(
    shape: tuple[int, int, int], seed: int, pairs: int, size: float
) -> None:
    problem = linear_problem(shape, 2, 3, seed)
    x = problem.x.double()
    v = torch.randn(3, pairs, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    estimate = antithetic(lambda rows, step: v[rows].flatten(2), size, pairs, ThreatModel(2, 1.0, -100.0, 100.0))
    with frozen(problem.model):
        evaluation, grad = estimate(misclassify(problem.model, problem.y, loss=margin_loss), x, torch.arange(3))
    assert not bool(evaluation.reached.any())
    for i in range(3):
        here = int(problem.y[i])
        slope = (problem.model.weight[here] - problem.model.weight[1 - here]).detach()  # of the margin that is lowered
        wanted = sum(float(slope @ each.flatten()) * each for each in v[i]) / pairs
        assert torch.allclose(grad[i], torch.as_tensor(wanted), atol=1e-6 * float(slope.norm()) * float(v.norm()))


def test_probes_stay_in_the_box_and_calls_have_directions_of_their_own() -> None:
    model = conv_net()
    x = torch.zeros(2, 1, 6, 6)
    x[1] = 1.0
    seen: list[Tensor] = []
    steps: list[int] = []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))

    def directions(rows: Tensor, step: int) -> Tensor:
        steps.append(step)
        return torch.ones(len(rows), 3, 36)

    labels = model(x).argmax(1)
    estimate = antithetic(directions, 0.1, 3, ThreatModel(inf, 0.1))
    for _ in range(2):
        estimate(misclassify(model, labels), x, torch.arange(2))
    assert steps == [0, 1]
    assert min(float(each.min()) for each in seen) == 0.0
    assert max(float(each.max()) for each in seen) == 1.0


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(2, 5), st.sampled_from([0.0, 0.5, 0.9]), seeds()
)
def test_nes_averages_its_estimates_and_halves_a_step_that_gains_nothing(
    losses: list[int], plateau: int, decay: float, seed: int
) -> None:
    """Against the rule written out for one sample; the other one gains at every step and keeps its size."""
    slopes = torch.randn(len(losses), 2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    given_ = iter(zip(losses, slopes, strict=True))

    def estimate(objective: Objective, z: Tensor, rows: Tensor) -> tuple[Evaluation, Tensor]:
        loss, slope = next(given_)
        values = torch.tensor([float(loss), -float(estimates_made)], dtype=torch.float64)
        return Evaluation(values[rows], torch.zeros(len(rows), dtype=torch.bool)), slope[rows]

    z, rows = torch.zeros(2, 3, dtype=torch.float64), torch.arange(2)
    slope_of = _Slope(z, estimate, inf, size=0.1, decay=decay, plateau=plateau)
    window: list[int] = []
    mean, size = torch.zeros(2, 3, dtype=torch.float64), 0.1
    for estimates_made, loss in enumerate(losses):
        window = [*window, loss][-plateau:]
        if len(window) == plateau and window[-1] > window[0]:
            size, window = max(size / 2, 0.1 / 200), []
        mean = decay * mean + (1 - decay) * slopes[estimates_made]
        _, grad = slope_of.gradient(lambda z, rows: Evaluation(z[:, 0], z[:, 0] > 0), z, rows)
        assert torch.allclose(grad[0], size * mean[0].sign())
        assert torch.allclose(grad[1], 0.1 * mean[1].sign())


@pytest.mark.parametrize("method", [nes, spsa])
@pytest.mark.parametrize("norm", [2.0, inf])
def test_queries_are_never_more_than_allowed(method: Method, norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 16)
    y = torch.where(torch.arange(16) < 3, (y + 1) % 4, y)  # three that are wrong from the start
    counting = Counting(model, len(x))
    x_adv = method(counting, x, y, ThreatModel(norm, {2.0: 0.05, inf: 0.01}[norm]), draws=draws, queries=100, pairs=7)
    held = model(x_adv).argmax(1) == y
    assert bool((counting.passes[:3] == 1).all())
    assert int(held.sum()) > 0
    assert bool((counting.passes[held] == 1 + 6 * 15).all())


@pytest.mark.slow
@pytest.mark.parametrize(("method", "ratio"), [(nes, 1.1), (spsa, 1.3)])
@given(seeds(), st.booleans())
def test_small_linear_problems_fall_near_the_closest_point(
    method: Method, ratio: float, seed: int, targeted: bool
) -> None:
    problem = linear_problem((1, 2, 3), 2, 4, seed)
    y = 1 - problem.y if targeted else problem.y
    for row in torch.arange(2).split(1):
        threat = ThreatModel(inf, min(1.0, ratio * float(problem.distance(inf)[row]) + 1e-4))
        x_adv = method(
            problem.model,
            problem.x[row],
            y[row],
            threat,
            draws=problem.draws.rows(row),
            targeted=targeted,
            queries=2500,
        )
        assert bool(problem.model(x_adv).argmax(1) != problem.y[row])


@pytest.mark.parametrize("method", [nes, spsa])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": 0, "pairs": 25}, "queries must be at least 52, 51 for a step and one for a look"),
        ({"pairs": 0}, "pairs must be at least 1"),
        ({"sigma": 0.0, "delta": 0.0}, "must be positive"),
    ],
)
def test_impossible_settings_are_refused(method: Method, options: dict[str, float], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    known = {name: value for name, value in options.items() if name in method.__annotations__}
    with pytest.raises(ConfigError, match=message):
        method(model, x, y, ThreatModel(2, 1.0), draws=draws, **known)
    with pytest.raises(ConfigError, match="needs a radius"):
        method(model, x, y, ThreatModel(2, None), draws=draws)

"""vat finds the direction in which the output distribution changes most."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.attacks.gradient.vat import vat
from advbench.core.losses import kl
from advbench.core.norms import lengths
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes


@pytest.mark.slow
@settings(max_examples=8)
@given(shapes(largest=3), st.integers(2, 5), seeds())
def test_the_direction_is_the_top_eigenvector_of_the_fisher_information(
    shape: tuple[int, int, int], classes: int, seed: int
) -> None:
    problem = linear_problem(shape, classes, 2, seed)
    x = problem.x.double()
    x_adv = vat(problem.model, x, problem.y, ThreatModel(2, 1e-5), draws=problem.draws, iterations=300, xi=1e-4)
    weight = problem.model.weight.detach()
    for i in range(2):
        p = problem.model.exact(x[i : i + 1]).softmax(1)[0].detach()
        fisher = weight.T @ (torch.diag(p) - torch.outer(p, p)) @ weight
        values = torch.linalg.eigvalsh(fisher)
        direction = (x_adv[i] - x[i]).flatten() / 1e-5
        # The curvature along it is the largest there is (an eigenvector need not be unique, an eigenvalue is).
        assert float(direction @ fisher @ direction) == pytest.approx(float(values[-1]), rel=0.02)
        assert float(direction.norm()) == pytest.approx(1.0, rel=1e-3)


@settings(max_examples=25)
@given(shapes(largest=3), seeds())
def test_two_classes_fall_exactly_where_eps_exceeds_the_distance(shape: tuple[int, int, int], seed: int) -> None:
    problem = linear_problem(shape, 2, 1, seed)
    distance = float(problem.distance(2.0)[0])
    for factor in (0.999, 1.01):
        threat = ThreatModel(2, factor * distance + (factor - 1.0) * 1e-3)
        x_adv = vat(problem.model, problem.x, problem.y, threat, draws=problem.draws)
        assert bool(problem.model(x_adv).argmax(1) != problem.y) == (factor > 1.0)


def test_the_output_changes_more_than_along_random_directions() -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    x_adv = vat(model, x, y, ThreatModel(2, 0.1), draws=draws)
    noise = torch.randn(20, *x.shape, generator=torch.Generator().manual_seed(0))
    change = kl(model(x), model(x_adv))
    for g in noise:
        z = (x + 0.1 * g / lengths(g, 2.0).reshape(-1, 1, 1, 1)).clamp(0.0, 1.0)
        assert int((change > kl(model(x), model(z))).sum()) >= 22


def test_the_side_is_chosen_that_fools() -> None:
    # Only a darker first pixel changes the class; the divergence rises both ways.
    model = Linear(torch.tensor([[4.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]), torch.tensor([-1.6, 0.0]))
    x, y = torch.full((16, 1, 2, 2), 0.5), torch.zeros(16, dtype=torch.int64)
    x_adv = vat(model, x, y, ThreatModel(2, 0.12), draws=images(conv_net(), 16)[2])
    assert bool((model(x_adv).argmax(1) == 1).all())
    assert torch.allclose(x_adv[:, 0, 0, 0], torch.full((16,), 0.38), atol=1e-3)


def test_what_is_wrong_already_costs_one_pass_and_the_rest_all_of_them() -> None:
    model = conv_net()
    x, y, draws = images(model, 4)
    y = y.clone()
    y[0] = (y[0] + 1) % 4
    counting = Counting(model, 4)
    x_adv = vat(counting, x, y, ThreatModel(2, 1e-3), draws=draws)
    assert counting.passes.tolist() == [1, 13, 13, 13]
    assert torch.equal(x_adv[0], x[0])


@pytest.mark.parametrize(
    ("eps", "options", "message"),
    [
        (None, {}, "needs a radius"),
        (1.0, {"iterations": 0}, "iterations must be at least 1"),
        (1.0, {"xi": 0.0}, "xi must be positive"),
    ],
)
def test_impossible_settings_are_refused(eps: float | None, options: dict[str, float], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        vat(model, x, y, ThreatModel(2, eps), draws=draws, **options)  # type: ignore[arg-type]

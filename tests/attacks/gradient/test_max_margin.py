"""max_margin: PGD towards each class, on the difference of two logits."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.attacks.gradient.max_margin import max_margin
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes


@pytest.mark.slow
@settings(max_examples=12)
@given(shapes(largest=3), st.integers(2, 6), seeds(), st.sampled_from((2.0, inf)))
def test_samples_fall_exactly_where_eps_exceeds_the_distance_to_the_nearest_class(
    shape: tuple[int, int, int], classes: int, seed: int, norm: float
) -> None:
    problem = linear_problem(shape, classes, 3, seed)
    for i, distance in enumerate(problem.distance(norm).tolist()):
        row = torch.tensor([i])
        for factor in (0.999, 1.01):
            threat = ThreatModel(norm, factor * distance + (factor - 1.0) * 1e-3)
            x_adv = max_margin(
                problem.model, problem.x[row], problem.y[row], threat, draws=problem.draws.rows(row), steps=20
            )
            assert bool(problem.model(x_adv).argmax(1) != problem.y[i]) == (factor > 1.0)


@pytest.mark.parametrize("norm", [2.0, inf])
def test_on_a_linear_model_it_ends_at_the_best_point_for_one_of_the_classes(norm: float) -> None:
    # z_1 - z_0 grows along the first pixel, z_2 - z_0 along the second and third.
    model = Linear(torch.tensor([[0.0, 0.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0], [0.0, 2.0, 2.0, 0.0]]), torch.zeros(3))
    model.bias.data = torch.tensor([9.0, 0.0, 0.0], dtype=torch.float64)
    x, y, draws = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0]), images(conv_net(), 1)[2]
    x_adv = max_margin(model, x, y, ThreatModel(norm, 0.2), draws=draws)
    delta = (x_adv - x).flatten()
    best = {inf: torch.tensor([0.2, 0.2]), 2.0: torch.tensor([0.5, 0.5]).sqrt() * 0.2}[norm]
    # At the two ends class 1 is 9 - 1.5 - 3 * 0.2 behind, class 2 at most 9 - 2 - 4 * 0.14: class 2 is nearer.
    assert torch.allclose(delta[1:3], best, atol=1e-3)


def test_every_class_is_tried_as_often_as_told_and_survivors_only() -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    threat = ThreatModel(inf, 0.02)
    one, all_three = Counting(model, len(x)), Counting(model, len(x))
    first = max_margin(one, x, y, threat, draws=draws, steps=6, target_classes=1)
    last = max_margin(all_three, x, y, threat, draws=draws, steps=6, restarts=2)
    fooled, held = model(first).argmax(1) != y, model(last).argmax(1) == y
    assert bool(fooled.any())
    assert torch.equal(all_three.passes[fooled], one.passes[fooled])
    assert bool(held.any())
    assert bool((all_three.passes[held] == 1 + 3 * 2 * 7).all())


def test_without_stopping_early_all_runs_are_made_and_the_margin_is_no_smaller() -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    threat, full = ThreatModel(inf, 0.02), Counting(model, len(x))
    early = max_margin(model, x, y, threat, draws=draws, steps=6)
    late = max_margin(full, x, y, threat, draws=draws, steps=6, early_stop=False)
    assert bool((full.passes == 1 + 3 * 7).all())

    def lead(z: Tensor) -> Tensor:
        logits = model(z)
        best: Tensor = logits.scatter(1, y[:, None], -inf).amax(1) - logits.gather(1, y[:, None])[:, 0]
        return best

    fooled = lead(early) > 0
    assert bool(fooled.any())
    assert bool((lead(late)[fooled] >= lead(early)[fooled] - 1e-6).all())


@pytest.mark.parametrize(
    ("threat", "options", "message"),
    [
        (ThreatModel(2, None), {}, "needs a radius"),
        (ThreatModel(2, 1.0), {"steps": 0}, "steps must be at least 1, got 0"),
        (ThreatModel(2, 1.0), {"restarts": 0}, "restarts must be at least 1"),
        (ThreatModel(2, 1.0), {"target_classes": 0}, "target_classes must be at least 1"),
        (ThreatModel(2, 1.0), {"first_step": 0.0}, "first_step must be positive"),
    ],
)
def test_impossible_settings_are_refused(threat: ThreatModel, options: dict[str, float], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        max_margin(model, x, y, threat, draws=draws, **options)  # type: ignore[arg-type]

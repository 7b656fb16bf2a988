"""apgd_t: one run towards each likely class, and any error ends it."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.attacks.gradient.apgd_t import apgd_t
from advbench.attacks.gradient.runners_up_loop import leave_towards
from advbench.core.losses import targeted_dlr
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes

NORMS = (1.0, 2.0, inf)
EPS = {1.0: 0.2, 2.0: 0.1, inf: 0.02}


@pytest.mark.slow
@settings(max_examples=12)
@given(shapes(largest=3), st.integers(2, 6), seeds(), st.sampled_from(NORMS))
def test_samples_fall_exactly_where_eps_exceeds_the_distance_to_the_nearest_class(
    shape: tuple[int, int, int], classes: int, seed: int, norm: float
) -> None:
    problem = linear_problem(shape, classes, 3, seed)
    for i, distance in enumerate(problem.distance(norm).tolist()):
        row = torch.tensor([i])
        for factor in (0.999, 1.03):  # with other classes in the ratio the loss is no longer linear
            threat = ThreatModel(norm, factor * distance + (factor - 1.0) * 1e-3)
            x_adv = apgd_t(
                problem.model, problem.x[row], problem.y[row], threat, draws=problem.draws.rows(row), steps=30
            )
            assert bool(problem.model(x_adv).argmax(1) != problem.y[i]) == (factor > 1.0)


def test_the_class_that_is_easiest_to_reach_need_not_be_the_runner_up() -> None:
    # Logits at the grey image: 1, 0.9, 0.5. Class 1 never overtakes class 0; class 2 does after 0.0084 per pixel.
    weight = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [15.0, -15.0, 15.0, -15.0]])
    model = Linear(weight, torch.tensor([1.0, 0.9, 0.5]))
    x, y, draws = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0]), images(conv_net(), 1)[2]
    assert int(model(apgd_t(model, x, y, ThreatModel(inf, 0.01), draws=draws)).argmax(1)) == 2
    only_one = apgd_t(model, x, y, ThreatModel(inf, 0.01), draws=draws, target_classes=1)
    assert int(model(only_one).argmax(1)) == 0


@pytest.mark.parametrize("norm", NORMS)
def test_each_target_is_tried_on_survivors_only(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    y = y.clone()
    y[0] = (y[0] + 1) % 4  # wrong from the start
    threat, runs = ThreatModel(norm, EPS[norm]), 3 if norm == 1 else 1
    one, all_three = Counting(model, len(x)), Counting(model, len(x))
    first = apgd_t(one, x, y, threat, draws=draws, steps=6, target_classes=1)
    last = apgd_t(all_three, x, y, threat, draws=draws, steps=6, restarts=2)
    fooled, held = model(first).argmax(1) != y, model(last).argmax(1) == y
    assert int(fooled.sum()) > 1
    assert int(all_three.passes[0]) == 1
    assert torch.equal(last[0], x[0])
    assert torch.equal(all_three.passes[fooled], one.passes[fooled])
    assert bool(held.any())
    assert bool((all_three.passes[held] == 1 + 3 * 2 * (6 + runs)).all())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("early_stop", [False, True])
def test_classes_gone_for_at_once_are_those_gone_for_in_turn(norm: float, early_stop: bool) -> None:
    model = conv_net().double()
    x, y, draws = images(conv_net(), 24)
    x, threat, one = x.double(), ThreatModel(norm, EPS[norm]), Counting(model, 24)
    how = {"draws": draws, "steps": 8, "restarts": 2, "early_stop": early_stop}
    expected = apgd_t(one, x, y, threat, **how)
    held = model(expected).argmax(1) == y
    assert 0 < int(held.sum()) < 24
    for abreast in (2, 3, 9):
        counting = Counting(model, 24)
        found = apgd_t(counting, x, y, threat, **how, abreast=abreast)
        same = held if early_stop else torch.ones_like(held)  # the first success of several may be another one
        torch.testing.assert_close(found[same], expected[same], atol=1e-9, rtol=0.0)
        assert torch.equal(model(found).argmax(1) == y, held)
        assert torch.equal(counting.passes[same], one.passes[same])
        assert bool((counting.passes >= one.passes).all())


def test_the_ratio_is_the_one_of_the_paper_and_any_error_counts() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0, -1.0], [1.0, 3.0, 2.0, 0.0, -1.0]])
    objective = leave_towards(torch.nn.Identity(), torch.tensor([0, 0]), torch.tensor([2, 2]), targeted_dlr)
    loss, reached = objective(logits, torch.arange(2))
    # z_t - z_y = -1 and 1; z_1 - (z_3 + z_4) / 2 = 3 - (1 + 0) / 2.
    assert loss.tolist() == pytest.approx([1.0 / 2.5, -1.0 / 2.5])
    assert reached.tolist() == [False, True]  # class 1 leads in the second, which was not the target


@pytest.mark.parametrize(
    ("threat", "options", "message"),
    [
        (ThreatModel(2, None), {}, "needs a radius"),
        (ThreatModel(2, 1.0), {"steps": 0}, "steps must be at least 1, got 0"),
        (ThreatModel(2, 1.0), {"restarts": 0}, "restarts must be at least 1"),
        (ThreatModel(2, 1.0), {"abreast": 0}, "abreast must be at least 1"),
        (ThreatModel(2, 1.0), {"target_classes": 0}, "target_classes must be at least 1"),
        (ThreatModel(2, 1.0), {"rho": -1.0}, "rho must be positive"),
    ],
)
def test_impossible_settings_are_refused(threat: ThreatModel, options: dict[str, int], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        apgd_t(model, x, y, threat, draws=draws, **options)

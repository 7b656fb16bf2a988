"""pgd: optimal on linear models, restarts for survivors only, the strongest iterate kept."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.attacks.gradient.fgsm import fgsm
from advbench.attacks.gradient.pgd import pgd
from advbench.core.losses import cross_entropy
from advbench.core.norms import lengths
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes

NORMS = (1.0, 2.0, inf)


@pytest.mark.slow
@settings(max_examples=15)
@given(shapes(largest=3), seeds(), st.sampled_from(NORMS), st.booleans())
def test_two_classes_fall_where_eps_exceeds_the_distance(
    shape: tuple[int, int, int], seed: int, norm: float, random_start: bool
) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    for i, distance in enumerate(problem.distance(norm).tolist()):
        row = torch.tensor([i])
        for factor in (0.999, 1.02):  # in l2, 40 steps from a random start end 1.4 % short of the best direction
            x_adv = pgd(
                problem.model,
                problem.x[row],
                problem.y[row],
                ThreatModel(norm, factor * distance + (factor - 1.0) * 1e-3),
                draws=problem.draws.rows(row),
                random_start=random_start,
            )
            assert bool(problem.model(x_adv).argmax(1) != problem.y[i]) == (factor > 1.0)


@pytest.mark.parametrize("norm", [2.0, inf])
def test_one_full_step_from_x_is_fgsm(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model)
    threat = ThreatModel(norm, 0.02)
    one = pgd(model, x, y, threat, draws=draws, steps=1, relative_step=1.0, random_start=False, early_stop=False)
    assert torch.equal(one, fgsm(model, x, y, threat, draws=draws))


def test_step_size_is_the_length_of_a_step() -> None:
    problem = linear_problem((1, 4, 4), 2, 4, 0)
    threat = ThreatModel(2, 1.0)
    options = {"steps": 3, "random_start": False, "early_stop": False}
    x_adv = pgd(problem.model, problem.x, problem.y, threat, draws=problem.draws, step_size=0.02, **options)
    assert lengths(x_adv - problem.x, 2).tolist() == pytest.approx([0.06] * 4, rel=1e-3)


@pytest.mark.parametrize("norm", NORMS)
def test_restarts_are_made_for_survivors_only_and_counted_for_the_right_samples(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    threat = ThreatModel(norm, {1.0: 0.2, 2.0: 0.1, inf: 0.02}[norm])
    once, thrice = Counting(model, len(x)), Counting(model, len(x))
    first = pgd(once, x, y, threat, draws=draws, steps=6)
    last = pgd(thrice, x, y, threat, draws=draws, steps=6, restarts=3)
    fooled, fooled_later = model(first).argmax(1) != y, model(last).argmax(1) != y
    assert bool(fooled.any())
    assert not bool(fooled.all())
    assert torch.equal(thrice.passes[fooled], once.passes[fooled])
    assert torch.equal(last[fooled], first[fooled])
    held = ~fooled_later
    assert bool((thrice.passes[held] == 3 * (6 + 1)).all())
    stronger = cross_entropy(model(last), y) >= cross_entropy(model(first), y) - 1e-6
    assert bool(stronger[held].all())


@pytest.mark.parametrize("norm", NORMS)
def test_stopping_early_changes_no_verdict_and_saves_passes(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    threat = ThreatModel(norm, {1.0: 0.2, 2.0: 0.1, inf: 0.02}[norm])
    early, full = Counting(model, len(x)), Counting(model, len(x))
    short = pgd(early, x, y, threat, draws=draws, steps=10)
    long = pgd(full, x, y, threat, draws=draws, steps=10, early_stop=False)
    fooled = model(short).argmax(1) != y
    assert torch.equal(fooled, model(long).argmax(1) != y)
    assert bool((full.passes == 11).all())
    assert bool((early.passes[~fooled] == 11).all())
    assert int(early.passes.sum()) < int(full.passes.sum())
    assert bool((cross_entropy(model(long), y)[fooled] >= cross_entropy(model(short), y)[fooled] - 1e-6).all())


def test_restarts_differ_and_only_the_first_may_begin_at_x() -> None:
    model = conv_net()
    x, y, draws = images(model, 4)
    threat = ThreatModel(inf, 1e-4)
    seen: list[torch.Tensor] = []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    pgd(model, x, y, threat, draws=draws, steps=1, restarts=3, random_start=False)
    starts = seen[::2]  # each run looks at its start and at the point after its step
    assert torch.equal(starts[0], x)
    assert not torch.equal(starts[1], x)
    assert not torch.equal(starts[1], starts[2])


def test_l1_steps_skip_components_that_the_box_holds_back() -> None:
    model = Linear(torch.tensor([[0.0, 0.0, 0.0, 0.0], [-9.0, 1.0, 0.5, 0.2]]), torch.tensor([0.7, 0.0]))
    x = torch.tensor([0.0, 0.1, 0.5, 0.5]).reshape(1, 1, 2, 2)
    assert int(model(x).argmax(1)) == 0
    found = pgd(model, x, torch.tensor([0]), ThreatModel(1, 0.26), draws=images(conv_net(), 1)[2], random_start=False)
    # The first component has by far the largest gradient and cannot fall below 0; the second one can rise.
    assert int(model(found).argmax(1)) == 1
    assert float(found[0, 0, 0, 0]) == 0.0


@pytest.mark.parametrize(
    ("threat", "options", "message"),
    [
        (ThreatModel(2, None), {}, "needs a radius"),
        (ThreatModel(2, 1.0), {"steps": 0}, "steps must be at least 1, got 0"),
        (ThreatModel(2, 1.0), {"restarts": 0}, "restarts must be at least 1"),
        (ThreatModel(2, 1.0), {"relative_step": -1.0}, "relative_step must be positive"),
        (ThreatModel(2, 1.0), {"step_size": 0.0}, "step_size must be positive"),
    ],
)
def test_impossible_settings_are_refused(threat: ThreatModel, options: dict[str, float], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        pgd(model, x, y, threat, draws=draws, **options)


@settings(max_examples=10)
@given(st.integers(0, 6), st.booleans())
def test_a_run_that_is_told_its_start_goes_on_from_there(behind: int, early_stop: bool) -> None:
    model = conv_net()
    x, y, draws = images(model)
    x = 0.2 + 0.6 * x  # away from the box: each step is seen in the distance
    y = model(x).argmax(1)
    threat = ThreatModel(inf, 0.1)
    options = {"draws": draws, "step_size": 0.01, "random_start": False, "early_stop": early_stop}
    whole = pgd(model, x, y, threat, steps=8, **options)  # type: ignore[arg-type]
    so_far = x if not behind else pgd(model, x, y, threat, steps=behind, **options)  # type: ignore[arg-type]
    on_its_way = (lengths(so_far - x, inf) > 0.01 * behind - 1e-6) & (model(so_far).argmax(1) == y)
    assert on_its_way.any()
    rest = pgd(model, x, y, threat, steps=8, x_start=so_far, **options)  # type: ignore[arg-type]
    torch.testing.assert_close(rest[on_its_way], whole[on_its_way])


def test_only_the_steps_that_are_left_are_taken() -> None:
    model = conv_net()
    x, y, draws = images(model, count=4)
    x_start = (x + 0.04).clamp_max(1.0)
    for random_start, passes in ((False, 7), (True, 11)):  # the point after the last step is looked at too
        counting = Counting(model, 4)
        options = {"steps": 10, "step_size": 0.01, "random_start": random_start, "early_stop": False}
        pgd(counting, x, y, ThreatModel(inf, 0.05), draws=draws, x_start=x_start, **options)  # type: ignore[arg-type]
        assert counting.passes.tolist() == [passes] * 4

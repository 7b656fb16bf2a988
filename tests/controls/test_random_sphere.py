"""random_sphere: the right length, the right share of label changes, the best of its tries."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.controls.random_sphere import random_sphere
from advbench.core.losses import margin
from advbench.core.norms import lengths
from advbench.core.sampling import on_sphere
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.oracles import agrees_with, ball_cap_share, cap_share, copies, corner_share, normal_of
from tests.strategies import seeds


@settings(max_examples=10)
@given(st.sampled_from(((1, 1, 2), (2, 2, 2), (3, 4, 4))), seeds(), st.floats(0.15, 0.9))
def test_share_of_label_changes_is_that_of_the_spherical_cap(
    shape: tuple[int, int, int], seed: int, ratio: float
) -> None:
    """A linear model, l2: the sphere beyond the boundary, and the ball."""
    problem = copies(linear_problem(shape, 2, 1, seed), 3000)
    threat = ThreatModel(2, float(problem.distance(2.0)[0]) / ratio)
    size = problem.x[0].numel()
    for where, share in (("sphere", cap_share(size, ratio)), ("ball", ball_cap_share(size, ratio))):
        if threat.eps is not None and threat.eps > 0.4:
            return  # the box would cut the sphere
        moved = random_sphere(problem.model, problem.x, problem.y, threat, draws=problem.draws, tries=1, where=where)
        assert agrees_with(share, problem.model(moved).argmax(1) != problem.y)


@settings(max_examples=10)
@given(seeds(), st.floats(0.2, 0.9))
def test_share_of_label_changes_in_linf_is_that_of_the_corners(seed: int, ratio: float) -> None:
    problem = copies(linear_problem((1, 2, 5), 2, 1, seed), 3000)
    eps = min(float(problem.distance(inf)[0]) / ratio, 0.39)
    logits = problem.model.exact(problem.x[:1])[0].detach()
    gap = float(logits[problem.y[0]] - logits[1 - problem.y[0]])
    moved = random_sphere(problem.model, problem.x, problem.y, ThreatModel(inf, eps), draws=problem.draws, tries=1)
    share = corner_share(normal_of(problem), gap / eps)
    assert agrees_with(share, problem.model(moved).argmax(1) != problem.y)


@pytest.mark.parametrize("norm", [0.0, 1.0, 2.0, inf])
def test_points_lie_at_eps_where_the_box_leaves_them_alone(norm: float) -> None:
    problem = linear_problem((3, 4, 4), 3, 8, 0)
    threat = ThreatModel(norm, {0.0: 5, 1.0: 0.3, 2.0: 0.3, inf: 0.2}[norm])
    on = random_sphere(problem.model, problem.x, problem.y, threat, draws=problem.draws, tries=5)
    inside = random_sphere(problem.model, problem.x, problem.y, threat, draws=problem.draws, tries=5, where="ball")
    assert lengths(on - problem.x, norm).tolist() == pytest.approx([threat.eps] * 8, rel=1e-4)
    assert bool((lengths(inside - problem.x, norm) <= float(threat.eps or 0) * (1 + 1e-5)).all())
    assert not torch.equal(on, inside)


@pytest.mark.parametrize("targeted", [False, True])
def test_it_keeps_the_best_try_by_the_victims_margin(targeted: bool) -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    goal = (y + 1) % 4 if targeted else y
    threat = ThreatModel(2, 0.4)
    tries = torch.stack([(x + on_sphere(x, threat, draws, i)).clamp(0.0, 1.0) for i in range(20)])
    margins = torch.stack([margin(model(z), goal) for z in tries]) * (-1.0 if targeted else 1.0)  # (20, B) to lower
    found = random_sphere(model, x, goal, threat, draws=draws, targeted=targeted, tries=20)
    met = margins < 0.0
    assert bool(met.any())
    assert not bool(met.any(0).all())
    for i in range(len(x)):
        first = int(met[:, i].int().argmax()) if bool(met[:, i].any()) else int(margins[:, i].argmin())
        assert torch.equal(found[i], tries[first, i])


def test_samples_that_changed_their_label_are_not_asked_again() -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    watched = Counting(model, len(x))
    found = random_sphere(watched, x, y, ThreatModel(2, 0.4), draws=draws, tries=20)
    held = model(found).argmax(1) == y
    assert bool((watched.passes[held] == 20).all())
    assert bool((watched.passes[~held] < 20).any())


def test_clipping_shortens_and_rescaling_lengthens_again() -> None:
    """On black images half of the noise points out of the box."""
    model = conv_net()
    x, _, draws = images(model, 12)
    x = torch.zeros_like(x)
    y = model(x).argmax(1)
    threat = ThreatModel(2, 0.5)
    short = random_sphere(model, x, y, threat, draws=draws, tries=3)
    full = random_sphere(model, x, y, threat, draws=draws, tries=3, rescale=True)
    assert float(lengths(short - x, 2).mean()) == pytest.approx(0.5 / 2**0.5, rel=0.1)
    assert lengths(full - x, 2).tolist() == pytest.approx([0.5] * 12, rel=1e-5)


@pytest.mark.parametrize(
    ("threat", "options", "message"),
    [
        (ThreatModel(2, None), {}, "needs a radius"),
        (ThreatModel(2, 1.0), {"tries": 0}, "tries must be at least 1"),
        (ThreatModel(2, 1.0), {"where": "cube"}, "where must be sphere or ball, got 'cube'"),
    ],
)
def test_impossible_settings_are_refused(threat: ThreatModel, options: dict[str, object], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        random_sphere(model, x, y, threat, draws=draws, **options)  # type: ignore[arg-type]

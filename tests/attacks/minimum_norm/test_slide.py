"""slide: an example comes nearer along the boundary and is never lost."""

from __future__ import annotations

import torch
from hypothesis import given, settings

from advbench.attacks.minimum_norm.constant_search import lead
from advbench.attacks.minimum_norm.slide import slide
from advbench.core.keep import Kept
from advbench.core.norms import lengths
from advbench.testing import linear_problem
from advbench.types import ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import norms, seeds, shapes


@settings(max_examples=25)
@given(shapes(largest=3), seeds(), norms())
def test_a_single_try_finds_the_nearest_point_of_a_plane(shape: tuple[int, int, int], seed: int, norm: float) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    far = 1.0 - problem.x  # on the other side of the grey image, where all classes tie
    other = problem.model(far).argmax(1) != problem.y
    kept = Kept(far, torch.zeros(4), other)
    found = slide(lead(problem.model, problem.y, targeted=False), problem.x, ThreatModel(norm, None), kept, steps=2)
    assert bool((problem.model(found.z).argmax(1) != problem.y)[other].all())
    distance = lengths(found.z.double() - problem.x.double(), norm)
    assert bool((distance <= 1.0011 * problem.distance(norm) + 1e-6)[other].all())


@settings(max_examples=25)
@given(seeds(), norms())
def test_on_a_curved_boundary_an_example_only_comes_nearer(seed: int, norm: float) -> None:
    model = conv_net(seed % 5)
    x, y, draws = images(model, 8, seed)
    start = draws.uniform((1, 6, 6), "start")
    reached = model(start).argmax(1) != y
    kept = Kept(start, torch.zeros(8), reached)
    passes = Counting(model, 8)
    found = slide(lead(passes, y, targeted=False), x, ThreatModel(norm, None), kept, steps=6)
    assert torch.equal(found.z[~reached], start[~reached])
    assert passes.passes.tolist() == [6 * int(each) for each in reached]
    assert bool((model(found.z).argmax(1) != y)[reached].all())
    margin = lead(model, y, targeted=False)(found.z, torch.arange(8)).loss
    torch.testing.assert_close(found.loss[reached], margin[reached].detach())  # whatever the record held before
    assert bool((lengths(found.z - x, norm) <= lengths(start - x, norm)).all())
    if norm > 0:
        assert bool((lengths(found.z - x, norm) < lengths(start - x, norm))[reached].any()) or not bool(reached.any())

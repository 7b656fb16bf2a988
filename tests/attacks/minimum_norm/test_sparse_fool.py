"""sparse_fool changes few components, and no more of them than its last search finds necessary."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from advbench.attacks.minimum_norm.deepfool import deepfool
from advbench.attacks.minimum_norm.sparse_fool import sparse_fool
from advbench.core.norms import lengths
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import conv_net, images
from tests.strategies import norms, seeds, shapes


@settings(max_examples=15)
@given(shapes(largest=3), seeds(), norms(0.0, 1.0))
def test_two_classes_fall_at_the_closed_form_distance(shape: tuple[int, int, int], seed: int, norm: float) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    x_adv = sparse_fool(problem.model, problem.x, problem.y, ThreatModel(norm, None), draws=problem.draws)
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    found = lengths(x_adv.double() - problem.x.double(), norm)
    assert bool((found <= (1.0 if norm == 0 else 1.005) * problem.distance(norm) + 1e-6).all())


@pytest.mark.parametrize("norm", [0.0, 1.0])
def test_it_is_sparser_than_dense_steps(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 16)
    sparse = sparse_fool(model, x, y, ThreatModel(norm, None), draws=draws)
    dense = deepfool(model, x, y, ThreatModel(2.0, None), draws=draws)
    assert bool((model(sparse).argmax(1) != y).all())
    assert float((lengths(sparse - x, norm) / lengths(dense - x, norm)).median()) < (0.5 if norm == 0 else 0.9)


def test_no_changed_component_can_be_put_back_on_a_linear_model() -> None:
    problem = linear_problem((1, 4, 4), 2, 16, 5)
    x_adv = sparse_fool(problem.model, problem.x, problem.y, ThreatModel(0.0, None), draws=problem.draws)
    flat, clean = x_adv.flatten(1), problem.x.flatten(1)
    for place in range(flat.shape[1]):
        fewer = torch.where(torch.arange(flat.shape[1]) == place, clean, flat)
        changed = flat[:, place] != clean[:, place]
        still = problem.model(fewer.reshape(x_adv.shape)).argmax(1) != problem.y
        assert not bool((changed & still).any())


def test_an_example_by_hand() -> None:
    """Logits 3 a + b and 2: from (0.2, 0.9) the nearest way in l1 raises a to 1.1 / 3 and leaves b alone."""
    model = Linear(torch.tensor([[3.0, 1.0], [0.0, 0.0]]), torch.tensor([0.0, 2.0]))
    x = torch.tensor([0.2, 0.9]).reshape(1, 1, 1, 2)
    y, draws = torch.tensor([1]), images(conv_net(), 1)[2]
    one = sparse_fool(model, x, y, ThreatModel(1.0, None), draws=draws)
    assert one[0, 0, 0, 1] == x[0, 0, 0, 1]
    assert float(one[0, 0, 0, 0]) == pytest.approx(1.1 / 3.0, abs=2e-3)
    assert int((sparse_fool(model, x, y, ThreatModel(0.0, None), draws=draws) != x).sum()) == 1


def test_slides_in_l1_shorten() -> None:
    total, threat = {0: 0.0, 10: 0.0}, ThreatModel(1.0, None)
    for net in range(5):
        model = conv_net(net)
        x, y, draws = images(model, 16)
        for steps in total:
            x_adv = sparse_fool(model, x, y, threat, draws=draws, slide_steps=steps)
            total[steps] += float(lengths(x_adv - x, 1.0).mean())
    assert total[10] < 0.9 * total[0]


@pytest.mark.parametrize("norm", [0.0, 1.0])
def test_towards_a_target(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 16)
    goal = (y + 1) % 4
    x_adv = sparse_fool(model, x, goal, ThreatModel(norm, None), draws=draws, targeted=True)
    arrived = model(x_adv).argmax(1) == goal
    assert int(arrived.sum()) >= 8
    assert torch.equal(x_adv[~arrived], x[~arrived])


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    threat = ThreatModel(1.0, None)
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        sparse_fool(model, x, y, threat, draws=draws, steps=0)
    with pytest.raises(ConfigError, match="candidates must be at least 1"):
        sparse_fool(model, x, y, threat, draws=draws, candidates=0)
    with pytest.raises(ConfigError, match="control must be positive"):
        sparse_fool(model, x, y, threat, draws=draws, control=0.0)

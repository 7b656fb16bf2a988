"""jsma: the pair search finds what a search over all pairs finds; the path is the greedy one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attacks.gradient import jsma as module
from advbench.attacks.gradient.jsma import jsma
from advbench.bench.evaluate import evaluate, evaluate_grid
from advbench.bench.scene import Assault, Execution
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.registry import ATTACKS
from advbench.testing import Linear
from advbench.types import ConfigError, Radius, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds


def best_saliency(rise: Tensor, fall: Tensor, free: Tensor) -> float:
    """Over all pairs of free components, one by one; 0 if none has a positive rise and a positive fall."""
    at = free.nonzero()[:, 0].tolist()
    pairs = [(rise[p] + rise[q], fall[p] + fall[q]) for p in at for q in at if p < q]
    return max([float(a * c) for a, c in pairs if a > 0 and c > 0], default=0.0)


@given(seeds(), st.integers(2, 30), st.floats(-1.0, 1.0), st.booleans())
def test_the_pair_is_the_best_of_all(seed: int, size: int, tilt: float, rounded: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    rise, fall = torch.randn(2, 4, size, generator=generator, dtype=torch.float64)
    fall = fall + tilt * rise
    if rounded:  # ties
        rise, fall = rise.round(), fall.round()
    free = torch.rand(4, size, generator=generator) < 0.7
    chosen = module._salient(rise, fall, free, 2)
    assert bool((free | ~chosen).all())
    for i in range(4):
        assert int(chosen[i].sum()) == min(2, int(free[i].sum()))
        if best_saliency(rise[i], fall[i], free[i]) > 0:
            found = float(rise[i][chosen[i]].sum() * fall[i][chosen[i]].sum())
            assert found == pytest.approx(best_saliency(rise[i], fall[i], free[i]))


@given(seeds())
def test_components_that_two_others_beat_are_left_out(seed: int) -> None:
    rise, fall = torch.rand(2, 1, 600, generator=torch.Generator().manual_seed(seed))
    front = module._front(rise, fall)[0, :5]
    for p in front.tolist()[:2]:
        assert int(((rise[0] > rise[0, p]) & (fall[0] > fall[0, p])).sum()) <= 1


def test_the_path_is_the_greedy_one() -> None:
    # Class 1 gains 3, 2, 1 and class 0 loses 1, 2, 0 by the first three components; the last does nothing.
    model = Linear(torch.tensor([[-1.0, -2.0, 0.0, 0.0], [3.0, 2.0, 1.0, 0.0]]), torch.tensor([7.5, 0.0]))
    x, y, draws = torch.zeros(1, 1, 2, 2), torch.tensor([0]), Draws(0, torch.arange(1))
    # The lead of 7.5 needs the first pair (0 and 1: 8 in all); no third component.
    x_adv = jsma(model, x, y, ThreatModel(0, 3), draws=draws)
    assert x_adv.flatten().tolist() == [1.0, 1.0, 0.0, 0.0]
    stronger = Linear(model.weight.detach(), torch.tensor([8.5, 0.0]))
    x_adv = jsma(stronger, x, y, ThreatModel(0, 3), draws=draws)  # an odd limit ends with a single component
    assert x_adv.flatten().tolist() == [1.0, 1.0, 1.0, 0.0]
    assert torch.equal(jsma(stronger, x, y, ThreatModel(0, 2), draws=draws), x)


@pytest.mark.parametrize(("eps", "lead", "expected"), [(2, 7.5, [1.0, 1.0, 0.0, 0.0]), (1, 3.5, [0.0, 1.0, 0.0, 0.0])])
def test_a_component_that_is_moved_again_counts_once(eps: int, lead: float, expected: list[float]) -> None:
    model = Linear(torch.tensor([[-1.0, -2.0, 0.0, 0.0], [3.0, 2.0, 1.0, 0.0]]), torch.tensor([lead, 0.0]))
    x, y, draws = torch.zeros(1, 1, 2, 2), torch.tensor([0]), Draws(0, torch.arange(1))
    for theta in (1.0, 0.5, 0.25):
        assert jsma(model, x, y, ThreatModel(0, eps), draws=draws, theta=theta).flatten().tolist() == expected


@given(seeds(), st.integers(1, 12), st.sampled_from([0.3, -0.4, 0.07]))
def test_small_moves_use_the_whole_limit_and_keep_it(seed: int, eps: int, theta: float) -> None:
    """Where nothing can be reached, as many components as are allowed go to the edge, in as many moves as it takes."""
    weight = torch.randn(2, 36, generator=torch.Generator().manual_seed(seed))
    sure = Linear(weight, torch.tensor([1000.0, 0.0]))
    x = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
    seen = Recording(sure)
    jsma(seen, x, torch.tensor([0]), ThreatModel(0, eps), draws=Draws(0, torch.arange(1)), theta=theta)
    changed = seen.last != x
    assert int(changed.sum()) == eps
    assert bool((seen.last[changed] == float(theta > 0)).all())


class Recording(nn.Module):
    """A network, and the last batch that it was asked about."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        self.last = x.detach().clone()
        logits: Tensor = self.net(x)
        return logits


def test_darker_is_theta_below_zero() -> None:
    model = Linear(torch.tensor([[1.0, 2.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]]), torch.tensor([-1.5, 0.0]))
    x, draws = torch.ones(1, 1, 2, 2), Draws(0, torch.arange(1))
    x_adv = jsma(model, x, torch.tensor([0]), ThreatModel(0, 2), draws=draws, theta=-1.0)
    assert x_adv.flatten().tolist() == [1.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("targeted", [False, True])
def test_success_is_returned_and_failure_is_x(targeted: bool) -> None:
    x, y, draws = images(conv_net(), 16)
    goal = (y + 1) % 4 if targeted else y
    watch = Counting(conv_net(), 16)
    x_adv = jsma(watch, x, goal, ThreatModel(0, None), draws=draws, targeted=targeted, gamma=0.3)
    reached = (conv_net()(x_adv).argmax(1) == goal) == targeted
    assert bool(reached.any())
    assert bool((lengths(x_adv - x, 0.0) <= 10).all())  # 0.3 * 36, in pairs
    assert torch.equal(x_adv[~reached], x[~reached])
    assert bool((watch.passes[~reached] == 1 + 2 * 5 + 1).all())


@pytest.mark.parametrize("theta", [1.0, -0.25])
def test_no_row_of_a_grid_is_more_robust_than_at_its_radius_alone(theta: float) -> None:
    x, y, _ = images(conv_net(), 40)
    grid = ("1", "3", "12")
    assault = Assault(ATTACKS["jsma"], {"theta": theta})
    radii = [Radius(text) for text in grid]
    rows = evaluate_grid(conv_net(), x, y, None, assault=assault, norm=0.0, grid=radii, execution=Execution())
    for text, fooled in zip(grid, rows.fooled.reshape(3, 40), strict=True):
        alone = evaluate(conv_net(), x, y, attack="jsma", threat=ThreatModel(0, float(text)), theta=theta).fooled
        assert bool(alone.any())
        assert bool((fooled | ~alone).all())


@pytest.mark.parametrize(("theta", "pairs"), [(1.0, 18), (-0.25, 4 * 18)])
def test_it_ends_when_every_component_is_at_the_edge(theta: float, pairs: int) -> None:
    """36 components, in pairs, whatever the radius."""
    sure = Linear(torch.zeros(2, 36), torch.tensor([1.0, 0.0]))
    x = torch.full((2, 1, 6, 6), float(theta < 0))
    watch = Counting(sure, 2)
    y, draws = torch.tensor([0, 0]), Draws(0, torch.arange(2))
    assert torch.equal(jsma(watch, x, y, ThreatModel(0, 1000), draws=draws, theta=theta), x)
    assert watch.passes.tolist() == [1 + 2 * pairs + 1] * 2


def test_impossible_settings_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    for wrong in ({"theta": 0.0}, {"theta": 1.5}, {"gamma": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            jsma(model, x, y, ThreatModel(0, None), draws=draws, **wrong)

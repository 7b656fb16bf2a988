"""intermediate_level moves a layer further along the way that another attack moved it."""

from __future__ import annotations

from functools import partial
from math import inf

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.testing import assert_close

from advbench.attacks.gradient.mi_fgsm import mi_fgsm
from advbench.attacks.gradient.pgd import pgd
from advbench.attacks.transfer.intermediate_level import intermediate_level
from advbench.attacks.transfer.transfer import transfer
from advbench.bench.evaluate import evaluate
from advbench.core.draws import Draws
from advbench.core.gradients import in_pieces
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds

EPS = 0.05
THREAT = ThreatModel(inf, EPS)


def layer_of(model: nn.Module, z: Tensor) -> Tensor:
    """The output of the first convolution."""
    return model[0][0](z).flatten(1)


@settings(max_examples=10)
@given(seeds())
def test_the_layer_goes_further_than_in_the_example_that_guides_it(seed: int) -> None:
    model = conv_net(seed % 7)
    x, y, draws = images(model, 8, seed % 1000)
    guide = mi_fgsm(model, x, y, THREAT, draws=draws, early_stop=False)
    found = intermediate_level(model, x, y, THREAT, draws=draws, layer="0.0", early_stop=False)
    start = layer_of(model, x).detach()
    way = layer_of(model, guide) - start
    own, guides = (((layer_of(model, z) - start) * way).sum(1).detach() for z in (found, guide))
    assert bool((own >= guides - 1e-5).all())
    assert float(own.sum()) > float(guides.sum())


def test_a_linear_layer_is_moved_as_far_as_the_ball_allows() -> None:
    """From a grey image and a linear layer W, the furthest point along W d is x + eps sign(W^T W d)."""
    model = conv_net()
    x = torch.full((4, 1, 6, 6), 0.5) + 0.01 * torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    _, _, draws = images(model, 4)
    guide = mi_fgsm(model, x, y, THREAT, draws=draws, early_stop=False)
    leaf = x.clone().requires_grad_(True)
    way = (layer_of(model, guide) - layer_of(model, x)).detach()
    (slope,) = torch.autograd.grad((layer_of(model, leaf) * way).sum(), leaf)
    found = intermediate_level(model, x, y, THREAT, draws=draws, layer="0.0", early_stop=False)
    assert_close(found, x + EPS * slope.sign(), atol=1e-6, rtol=0.0)


def test_it_costs_what_it_says_and_stops_early() -> None:
    model = conv_net()
    x, y, draws = images(model, 4)
    y[0] = (y[0] + 1) % 4
    counting = Counting(model, 4)
    found = intermediate_level(counting, x, y, ThreatModel(inf, 1e-5), draws=draws)
    assert counting.passes.tolist() == [1, 24, 24, 24]
    assert torch.equal(found[0], x[0])
    assert bool((model(intermediate_level(model, x, y, ThreatModel(inf, 0.3), draws=draws)).argmax(1) != y).all())


def test_the_guides_example_is_returned_where_only_that_fools() -> None:
    model = conv_net()
    x, y, draws = images(model, 32)
    found = intermediate_level(model, x, y, THREAT, draws=draws, steps=1, via=partial(pgd, steps=40))
    guide = pgd(model, x, y, THREAT, draws=draws, early_stop=False)
    by_guide = model(guide).argmax(1) != y
    assert bool((model(found).argmax(1) != y)[by_guide].all())
    assert bool(by_guide.any())


def test_pieces_change_nothing() -> None:
    model = conv_net()
    x, y, draws = images(model, 7)
    whole = intermediate_level(model, x, y, THREAT, draws=draws)
    with in_pieces(3):
        assert_close(intermediate_level(model, x, y, THREAT, draws=draws), whole, atol=1e-6, rtol=0.0)


def test_in_the_benchmark_it_is_the_same_and_keeps_to_a_budget() -> None:
    """The benchmark's model fills up batches, and does not answer once a budget is spent."""
    model = conv_net()
    x, y, _ = images(model, 7)
    outcomes = evaluate(model, x, y, attack="intermediate_level", threat=THREAT)
    expected = intermediate_level(model, x, y, THREAT, draws=Draws(0, torch.arange(7)))
    assert_close(outcomes.x_adv, expected, atol=1e-6, rtol=0.0)
    tiny = ThreatModel(inf, 1e-5)
    for budget in (1, 2, 25, 40):
        spent = evaluate(model, x, y, attack="intermediate_level", threat=tiny, budget=budget)
        assert int((spent.forwards + spent.backwards).max()) <= budget


def test_transfer_runs_it_to_its_end() -> None:
    model = conv_net()
    x, y, draws = images(model)
    climbed = transfer(nn.Identity(), x, y, THREAT, draws=draws, substitute=model, via=intermediate_level)
    assert torch.equal(climbed, intermediate_level(model, x, y, THREAT, draws=draws, early_stop=False))


def test_the_middle_convolution_is_the_default_and_other_names_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model)
    by_name, by_default = (intermediate_level(model, x, y, THREAT, draws=draws, layer=name) for name in ("0.0", None))
    assert torch.equal(by_name, by_default)
    other = intermediate_level(model, x, y, THREAT, draws=draws, layer="0.4", early_stop=False)
    assert not torch.equal(other, intermediate_level(model, x, y, THREAT, draws=draws, early_stop=False))
    with pytest.raises(ConfigError, match="no layer named 'conv'"):
        intermediate_level(model, x, y, THREAT, draws=draws, layer="conv")
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        intermediate_level(model, x, y, THREAT, draws=draws, steps=0)

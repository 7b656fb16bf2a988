"""simba: orthonormal directions, each once a round, one query a try, nothing asked twice."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.attacks.score.simba import _BASES, _band, _cosines, simba
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.testing import Linear
from advbench.testing.witness import Dead
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from(["pixel", "dct"]))
def test_the_directions_are_an_orthonormal_basis(height: int, width: int, basis: str) -> None:
    make, bands = _BASES[basis]
    directions = torch.einsum("ih,jw->ijhw", make(height), make(width)).reshape(height * width, -1)
    assert torch.allclose(directions @ directions.T, torch.eye(height * width, dtype=torch.float64), atol=1e-12)
    assert 0 <= int(_band(height, width, bands).min()) <= int(_band(height, width, bands).max()) < bands


def test_cosines_by_hand() -> None:
    assert torch.allclose(_cosines(2), torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64) / 2**0.5)


@settings(max_examples=10)
@given(seeds(), st.sampled_from(["pixel", "dct"]))
def test_every_direction_is_tried_both_ways_before_one_comes_again(seed: int, basis: str) -> None:
    x = torch.full((2, 1, 3, 4), 0.5)
    seen: list[Tensor] = []
    model = Dead(2)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0] - x))
    threat = ThreatModel(2, None)
    simba(model, x, torch.zeros(2).long(), threat, draws=Draws(seed, torch.arange(2)), queries=49, basis=basis)
    moves = torch.stack(seen[1:], 1).flatten(2).double()  # (2, 48, 12): up and down in turn, twice round
    assert torch.allclose(moves[:, 0:24:2], -moves[:, 1:24:2], atol=1e-6)
    assert torch.allclose(moves[:, :24], moves[:, 24:])
    round_ = moves[:, 0:24:2] / 0.2
    assert torch.allclose(
        round_ @ round_.transpose(1, 2), torch.eye(12, dtype=torch.float64).expand(2, -1, -1), atol=1e-5
    )


@settings(max_examples=20)
@given(seeds(), st.booleans())
def test_without_a_radius_a_linear_model_sends_every_pixel_the_better_way(seed: int, targeted: bool) -> None:
    weight = torch.randn(2, 6, generator=torch.Generator().manual_seed(seed)) + torch.tensor([[0.5], [-0.5]])
    x = torch.full((1, 1, 2, 3), 0.5)
    model = Linear(weight, torch.tensor([200.0, 0.0]))  # too sure to be fooled
    y = torch.tensor([1 if targeted else 0])
    # Six directions, at most two queries each: once round.
    x_adv = simba(
        model, x, y, ThreatModel(inf, None), draws=Draws(seed, torch.arange(1)), targeted=targeted, queries=13
    )
    better = 0.2 * (weight[1] - weight[0]).sign()
    first = simba(model, x, y, ThreatModel(inf, 0.1), draws=Draws(seed, torch.arange(1)), targeted=targeted, queries=13)
    assert torch.allclose((first - x).flatten(), 0.5 * better)
    assert bool(((x_adv - x).flatten() * better > 0).all())


def test_no_query_is_spent_where_the_box_holds_back() -> None:
    x = torch.tensor([0.0, 1.0, 0.0, 1.0]).reshape(1, 1, 2, 2)
    seen: list[Tensor] = []
    model = Dead(2)
    model.register_forward_pre_hook(lambda module, inputs: seen.append((inputs[0] - x).flatten()))
    simba(model, x, torch.tensor([0]), ThreatModel(inf, 0.1), draws=Draws(0, torch.arange(1)), queries=9)
    moves = torch.stack(seen[1:])
    assert (moves != 0).sum(1).tolist() == [1] * 8
    assert bool((moves[:4] != 0).any(0).all())
    assert torch.equal(moves[:4], moves[4:])


@pytest.mark.parametrize("basis", ["pixel", "dct"])
@pytest.mark.parametrize("norm", [2.0, inf])
def test_queries_are_never_more_than_allowed_and_find_more(norm: float, basis: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    y = torch.where(torch.arange(24) < 4, (y + 1) % 4, y)
    threat = ThreatModel(norm, {2.0: 0.3, inf: 0.05}[norm])
    counting = Counting(model, len(x))
    few, many = (
        simba(each, x, y, threat, draws=draws, queries=queries, basis=basis)
        for each, queries in ((model, 5), (counting, 60))
    )
    held = model(many).argmax(1) == y
    assert bool((counting.passes[:4] == 1).all())
    assert bool((counting.passes[held] == 60).all())
    assert bool((lengths(many - x, norm) <= threat.radius * (1 + 1e-6)).all())
    assert 0 < int(held.sum()) < int((model(few).argmax(1) == y).sum())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": 0}, "queries must be at least 2, "),
        ({"step_size": 0.0}, "step_size must be positive"),
        ({"basis": "wavelet"}, "basis must be pixel or dct"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, object], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        simba(model, x, y, ThreatModel(2, 1.0), draws=draws, **options)  # type: ignore[arg-type]

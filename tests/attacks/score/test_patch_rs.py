"""patch_rs: one opaque square of the size said, honest queries, more of them find more."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.attacks.score.patch_rs import patch_rs
from advbench.core.draws import Draws
from advbench.testing.witness import Dead
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds


@settings(max_examples=25)
@given(seeds(), st.sampled_from([1, 3]), st.integers(0, 30))
def test_what_is_asked_is_x_under_a_square_of_extreme_colours(seed: int, channels: int, eps: int) -> None:
    x = torch.full((2, channels, 4, 6), 0.5)
    side = min(int((eps / channels) ** 0.5), 4)
    seen: list[Tensor] = []
    model = Dead(2)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    patch_rs(model, x, torch.zeros(2).long(), ThreatModel(0, eps), draws=Draws(seed, torch.arange(2)), queries=14)
    assert len(seen) == (14 if side else 1)
    for z in seen[1:]:
        for i in range(2):
            changed = (z[i] != x[i]).all(0)
            assert torch.equal(changed, (z[i] != x[i]).any(0))
            down, across = changed.nonzero().unbind(1)
            assert int(changed.sum()) == side * side
            assert int(down.max() - down.min()) == int(across.max() - across.min()) == side - 1
            assert bool(((z[i] == 0.5) | (z[i] == 0.0) | (z[i] == 1.0)).all())
    for step, z in enumerate(seen[2:]):  # nothing is ever better: each is one change of the start
        for i in range(2):
            same_place = torch.equal(z[i] != x[i], seen[1][i] != x[i])
            if step % 5 != 4:
                assert same_place
                assert not torch.equal(z[i], seen[1][i])


def test_the_patch_goes_everywhere() -> None:
    x = torch.full((300, 1, 4, 6), 0.5)
    seen: list[Tensor] = []
    model = Dead(2)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    patch_rs(model, x, torch.zeros(300).long(), ThreatModel(0, 4), draws=Draws(0, torch.arange(300)), queries=2)
    corners = {tuple((z[0] != 0.5).nonzero()[0].tolist()) for z in seen[1]}
    assert corners == {(down, across) for down in range(3) for across in range(5)}


def test_queries_are_never_more_than_allowed_and_find_more() -> None:
    model = conv_net()
    x, y, draws = images(model, 32)
    y = torch.where(torch.arange(32) < 4, (y + 1) % 4, y)
    counting = Counting(model, len(x))
    few, many = (
        patch_rs(each, x, y, ThreatModel(0, 4), draws=draws, queries=queries)
        for each, queries in ((model, 2), (counting, 60))
    )
    held = model(many).argmax(1) == y
    assert torch.equal(many[:4], x[:4])
    assert bool((counting.passes[:4] == 1).all())
    assert bool((counting.passes[held] == 60).all())
    assert 0 < int(held.sum()) < int((model(few).argmax(1) == y).sum())


@pytest.mark.parametrize(
    ("threat", "options", "message"),
    [
        (ThreatModel(0, None), {}, "needs a radius"),
        (ThreatModel(0, 4), {"queries": 1}, "queries must be at least 2"),
        (ThreatModel(0, 4), {"alpha_init": 1.5}, r"alpha_init must be in \(0, 1\]"),
    ],
)
def test_impossible_settings_are_refused(threat: ThreatModel, options: dict[str, float], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        patch_rs(model, x, y, threat, draws=draws, **options)  # type: ignore[arg-type]

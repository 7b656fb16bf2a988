"""Every registered attribution keeps the contract of its folder."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from advbench.core.draws import Draws
from advbench.registry import ATTRIBUTIONS, AttributionInfo, Entry
from advbench.testing.witness import Quitter, QuitterError, state_of
from tests.attacks.small_nets import conv_net, images

METHODS: list[Entry[AttributionInfo]] = list(ATTRIBUTIONS)

pytestmark = pytest.mark.parametrize("method", METHODS, ids=[entry.name for entry in METHODS])


def explain(method: Entry[AttributionInfo], model: torch.nn.Module, x: Tensor, y: Tensor, draws: Draws) -> Tensor:
    heat = method.function(model, x, y, draws=draws)
    assert isinstance(heat, Tensor)
    return heat


def test_the_map_is_finite_and_of_the_images_size(method: Entry[AttributionInfo]) -> None:
    x, y, draws = images(conv_net(), 5)
    heat = explain(method, conv_net(), x, y, draws)
    assert heat.shape in {x.shape, (5, 1, 6, 6)}
    assert heat.dtype == x.dtype
    assert bool(torch.isfinite(heat).all())
    assert not heat.requires_grad


def test_it_is_the_map_of_the_class_that_was_asked_for(method: Entry[AttributionInfo]) -> None:
    x, y, draws = images(conv_net(), 5)
    assert not torch.equal(explain(method, conv_net(), x, y, draws), explain(method, conv_net(), x, (y + 1) % 4, draws))


def test_batch_and_order_do_not_matter(method: Entry[AttributionInfo]) -> None:
    x, y, draws = images(conv_net(), 5)
    together = explain(method, conv_net(), x, y, draws)
    for i in range(5):
        row = torch.tensor([4 - i])
        alone = explain(method, conv_net(), x[row], y[row], draws.rows(row))
        assert torch.allclose(alone, together[row], atol=1e-5)


def test_model_and_images_are_left_as_they_came(method: Entry[AttributionInfo]) -> None:
    x, y, draws = images(conv_net(), 5)
    model, before_x = conv_net().train(), x.clone()
    model[1].bias.requires_grad_(False)  # type: ignore[index, union-attr, operator]
    before = state_of(model)
    explain(method, model, x, y, draws)
    assert state_of(model) == before
    assert torch.equal(x, before_x)
    assert not x.requires_grad
    quitter = Quitter(model)
    quitter.passes = 1  # raises at once
    before = state_of(quitter)
    with pytest.raises(QuitterError):
        explain(method, quitter, x, y, draws)
    assert state_of(quitter) == before

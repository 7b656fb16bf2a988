"""The cheaper form of a network: the same scores and gradients, and only where it is worth a copy."""

from __future__ import annotations

import torch
from torch import nn

from advbench.attributions.cheaper import cheaper
from advbench.attributions.integrated_gradients import integrated_gradients
from advbench.core.scoring import all_rows, score_gradient
from advbench.core.targets import logit, unit
from advbench.testing.witness import state_of


def normed_net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 4)
        )
        nn.init.uniform_(net[1].running_var, 0.2, 3.0)  # type: ignore[arg-type]
        nn.init.normal_(net[1].running_mean)  # type: ignore[arg-type]
    return net.eval()


def test_scores_and_gradients_are_the_same_and_the_model_is_left_alone() -> None:
    model, x = normed_net().train(), torch.rand(4, 3, 8, 8)
    before = state_of(model)
    net = cheaper(model, x, logit(1), 50)
    assert state_of(model) == before
    assert net is not model
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    for ours, theirs in zip(
        score_gradient(net, x, logit(1), all_rows(x)),
        score_gradient(model.eval(), x, logit(1), all_rows(x)),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_few_passes_or_an_inner_target_take_the_model_itself() -> None:
    model, x = normed_net(), torch.rand(4, 3, 8, 8)
    assert cheaper(model, x, logit(1), 3) is model
    assert cheaper(model, x, unit("1", 2), 500) is model


def test_a_map_does_not_depend_on_which_form_was_asked() -> None:
    model, x, y = normed_net(), torch.rand(16, 3, 8, 8), torch.arange(16) % 4
    together = integrated_gradients(model, x, y, nodes=16, most=16)
    alone = torch.cat([integrated_gradients(model, x[i : i + 1], y[i : i + 1], nodes=16, most=16) for i in range(16)])
    assert torch.allclose(together, alone, atol=1e-5)

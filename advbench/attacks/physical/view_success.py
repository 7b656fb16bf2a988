"""How often an example fools the model in fresh views of it, with an interval: what EOT is judged by."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one
from advbench.core.draws import Draws
from advbench.core.gradients import frozen, labels_at
from advbench.core.transforms import View
from advbench.core.views import photographed
from advbench.metrics.rates import wilson


class ViewSuccess(NamedTuple):
    """The share (B,) of views in which each example met its goal, and the ends (B,) of its 95 % Wilson interval."""

    share: Tensor
    low: Tensor
    high: Tensor


def view_success(
    model: nn.Module,
    x_adv: Tensor,
    y: Tensor,
    *,
    draws: Draws,
    view: View | None = None,
    n: int = 100,
    targeted: bool = False,
) -> ViewSuccess:
    """How often `model` is fooled by `n` views of each x_adv (B, C, H, W) that no attack has seen.

    y (B,): the class to leave, or the one to reach if `targeted`. view: by default `photographed()`, what the attack
    expectation_over_transformation assumes. Views come from a branch of `draws` of their own, so those of the attack
    may be given. For a model that is random in itself each view is also a fresh draw of the model; `straight` as the
    view then measures the model alone. Raises ConfigError if n < 1.
    """
    fresh, look = draws.branch("fresh views"), photographed() if view is None else view
    rows = torch.arange(len(x_adv), device=x_adv.device)
    hits = torch.zeros_like(y)
    with frozen(model), torch.no_grad():
        for i in range(at_least_one("n", n)):
            hits += (labels_at(model, look(x_adv, fresh, i), rows) == y) == targeted
    rates = [wilson(count, n) for count in hits.tolist()]
    columns = torch.tensor([[rate.value, rate.low, rate.high] for rate in rates]).reshape(-1, 3)
    return ViewSuccess(*columns.to(x_adv.device).unbind(1))


def straight(z: Tensor, draws: Draws, counter: object) -> Tensor:
    """The view that is no view: the image as it is."""
    return z

"""Losses per sample (B,) of logits (B, K): the higher, the further from the labels y (B,)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y], in nats."""
    return functional.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Logit of y minus the best other: positive where y is predicted; inf with a single class."""
    true = logits.gather(1, y[:, None])[:, 0]
    # -inf, not a product with 0: the label must not win by being 0 when all other logits are negative.
    other = logits.scatter(1, y[:, None], -torch.inf).amax(1)
    return true - other


def margin_loss(logits: Tensor, y: Tensor) -> Tensor:
    """The best other logit minus that of y (Carlini and Wagner 2017, arXiv:1608.04644, f6 without the hinge)."""
    return -margin(logits, y)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio: margin_loss / (z_1 - z_3), z sorted downwards (arXiv:2003.01690, equation 6).

    Unchanged by shifting and scaling the logits. With two classes there is no z_3: the plain margin_loss is returned.
    """
    if logits.shape[1] < 3:
        return margin_loss(logits, y)
    top = logits.topk(3, dim=1).values
    return margin_loss(logits, y) / (top[:, 0] - top[:, 2] + 1e-12)


def targeted_dlr(target: Tensor) -> Loss:
    """The loss (z_t - z_y) / (z_1 - (z_3 + z_4) / 2) towards target (B,) (arXiv:2003.01690, equation 7).

    With fewer than four classes the plain difference z_t - z_y is returned.
    """

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        gap = (logits.gather(1, target[:, None]) - logits.gather(1, y[:, None]))[:, 0]
        if logits.shape[1] < 4:
            return gap
        top = logits.topk(4, dim=1).values
        return gap / (top[:, 0] - 0.5 * (top[:, 2] + top[:, 3]) + 1e-12)

    return loss


def kl(reference: Tensor, logits: Tensor) -> Tensor:
    """Kullback-Leibler divergence (B,) of softmax(logits) from softmax(reference), in nats; both (B, K)."""
    p, q = reference.log_softmax(1), logits.log_softmax(1)
    return (p.exp() * (p - q)).sum(1)


def runners_up(logits: Tensor, y: Tensor, count: int) -> Tensor:
    """The `count` classes (B, count) other than y (B,) with the highest logits, best first; at most K - 1 of them."""
    others = logits.scatter(1, y[:, None], -torch.inf)
    return others.topk(min(count, logits.shape[1] - 1), dim=1).indices

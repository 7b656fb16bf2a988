"""How much of a score's gradient each pixel has: the map that attacks on explanations move. Shares, so scale-free."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.gradients import evaluate
from advbench.types import Evaluation


class GradientMap(NamedTuple):
    """logits (A, K); shares (A, H, W) >= 0 that sum to 1; alive (A,) bool: is there a gradient to share at all?"""

    logits: Tensor
    shares: Tensor
    alive: Tensor


def gradient_map(model: nn.Module, z: Tensor, classes: Tensor, *, with_graph: bool = False) -> GradientMap:
    """|gradient| of the raw score of `classes` (A,) at z (A, C, H, W), summed over channels, over its sum.

    The simple gradient of arXiv:1710.10547, section 2. with_graph: the shares can be differentiated in turn, and z
    must want a gradient. Without any gradient all shares are equal.
    """
    with torch.enable_grad():
        leaf = z if with_graph else z.detach().requires_grad_(True)
        logits: Tensor = model(leaf)
        score = logits.gather(1, classes[:, None]).sum()
        if not score.requires_grad:
            return _as_shares(logits, torch.zeros_like(z[:, 0]))
        (grad,) = torch.autograd.grad(score, leaf, create_graph=with_graph, materialize_grads=True)
        clean = grad.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        found = _as_shares(logits, clean.abs().sum(1))
    return found if with_graph else GradientMap(*(part.detach() for part in found))


def gradient_shares(model: nn.Module, x: Tensor, classes: Tensor) -> Tensor:
    """The shares (B, H, W) of the samples x (B, C, H, W), in pieces that fit into memory."""
    pieces: list[Tensor] = []

    def look(z: Tensor, rows: Tensor) -> Evaluation:
        found = gradient_map(model, z, classes[rows])
        pieces.append(found.shares)
        return Evaluation(z.new_zeros(len(z)), found.alive)

    evaluate(look, x, torch.arange(len(x), device=x.device))
    return torch.cat(pieces)


def _as_shares(logits: Tensor, heat: Tensor) -> GradientMap:
    total = heat.flatten(1).sum(1)
    alive = total > 0
    safe = torch.where(alive, total, 1.0).reshape(-1, 1, 1)
    even = torch.full_like(heat, 1.0 / max(heat[0].numel() if len(heat) else 1, 1))
    return GradientMap(logits, torch.where(alive.reshape(-1, 1, 1), heat / safe, even), alive)

"""Attention weighted by the gradient of a score, block after block. Chefer et al. 2021, arXiv:2103.15679."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attributions.class_maps import drawn
from advbench.core.attention import over_all_tokens, read_by_class_token, recording_attention
from advbench.core.draws import Draws
from advbench.core.gradients import attending, frozen
from advbench.core.map_reader import reading_maps
from advbench.core.scoring import row_pieces, score_with_graph
from advbench.core.targets import Explained, Target, as_target
from advbench.registry import attribution


@attribution(paper="arXiv:2103.15679", needs="attention")
def attention_gradient(model: nn.Module, x: Tensor, y: Explained, *, draws: Draws | None = None) -> Tensor:
    """Heat map (B, 1, H, W), never negative: how much of what raises the score y the class token read in each patch.

    R starts as the identity; each block adds A R, A the mean over heads of max(gradient times attention, 0) (equations
    5 and 6 of the paper, for self-attention); the class token's row of R is shown. Without a class token the mean of
    all rows. The units are products over blocks of the score's: compare places, not images. Enlarged bilinearly,
    corners not aligned. `draws` is not used. Raises ConfigError for a model without attention over all tokens
    (convolutions, Swin).
    """
    target = as_target(y)
    with frozen(model):
        heat = torch.cat([_relevance(model, x[rows].detach(), target, rows) for rows in row_pieces(x)])
    return drawn(heat, x, relu=False)


def _relevance(model: nn.Module, z: Tensor, target: Target, rows: Tensor) -> Tensor:
    with torch.enable_grad(), attending(rows):
        with reading_maps(model) as reader, recording_attention() as recorded:
            score = score_with_graph(model, z, target, rows)
        weights = over_all_tokens(recorded, len(z), model)
        if score.requires_grad:
            grads = torch.autograd.grad(score.sum(), weights, materialize_grads=True)
        else:
            grads = tuple(torch.zeros_like(each) for each in weights)
    joint = torch.eye(weights[0].shape[2], device=z.device, dtype=z.dtype).expand(len(z), -1, -1)
    for share, grad in zip(weights, grads, strict=True):
        joint = joint + (grad * share.detach()).clamp_min(0.0).mean(1) @ joint
    return read_by_class_token(joint, reader)

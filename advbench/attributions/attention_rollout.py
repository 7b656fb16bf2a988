"""Attention rollout: what a transformer has looked at in the end. Abnar and Zuidema 2020, arXiv:2005.00928."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attributions.class_maps import drawn
from advbench.core.attention import over_all_tokens, read_by_class_token, recording_attention
from advbench.core.draws import Draws
from advbench.core.gradients import attending, frozen
from advbench.core.map_reader import reading_maps
from advbench.core.scoring import row_pieces
from advbench.core.targets import Explained
from advbench.registry import attribution


@attribution(paper="arXiv:2005.00928", needs="attention")
def attention_rollout(model: nn.Module, x: Tensor, y: Explained, *, draws: Draws | None = None) -> Tensor:
    """Heat map (B, 1, H, W): the share of each patch in what the class token has read at the end; the same for every y.

    The product over the blocks of A / 2 + I / 2, A the mean of the heads' attention and I the way around it (section
    3). The shares of all tokens sum to 1, so a map's cells sum to 1 less what class and register tokens keep. Without a
    class token the mean over all tokens is read. It says where was looked, not what for: attention_gradient weighs it
    for y. Enlarged bilinearly, corners not aligned. `y` and `draws` are not used. Raises ConfigError for a model
    without attention over all tokens (convolutions, Swin).
    """
    with frozen(model), torch.no_grad():
        heat = torch.cat([_rollout(model, x[rows], rows) for rows in row_pieces(x)])
    return drawn(heat, x, relu=False)


def _rollout(model: nn.Module, z: Tensor, rows: Tensor) -> Tensor:
    with attending(rows), reading_maps(model) as reader, recording_attention() as weights:
        model(z)
    shares = [each.mean(1) for each in over_all_tokens(weights, len(z), model)]  # (A, T, T) each
    around = torch.eye(shares[0].shape[1], device=z.device, dtype=z.dtype)
    joint = around.expand_as(shares[0])
    for share in shares:
        joint = (0.5 * share + 0.5 * around) @ joint
    return read_by_class_token(joint, reader)

"""attention_gradient against a finite difference of each attention weight."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from advbench.attributions.attention_gradient import attention_gradient
from advbench.core.attention import recording_attention
from advbench.core.gradients import in_pieces
from advbench.core.targets import logit, plus, times
from advbench.types import ConfigError
from tests.attributions.attention_nets import Attend, OneBlock, fused, plain, swin
from tests.attributions.cam_nets import pictures
from tests.attributions.small_nets import pooled_net, tiny_vit


def score_of(model: OneBlock, x: Tensor, shares: Tensor, label: int) -> Tensor:
    """The score (B,) if the block's attention were `shares` (B, heads, T, T)."""
    tokens, _, _, value = model.parts(x)
    tokens = tokens + (shares @ value).transpose(1, 2).flatten(2)
    logits: Tensor = model.head(tokens[:, 0])
    return logits[:, label]


@given(st.integers(0, 3), st.sampled_from([plain, fused]))
@settings(deadline=None, max_examples=6)
def test_of_one_block_it_is_the_positive_part_of_gradient_times_attention(label: int, attend: Attend) -> None:
    model, x = OneBlock(attend).double().eval(), pictures(2, (1, 16, 16), torch.float64)
    with torch.no_grad():
        _, query, key, _ = model.parts(x)
        shares = (query @ key.transpose(2, 3) / 2).softmax(3)  # (B, 2, 17, 17)
        slope = torch.zeros_like(shares)
        for head in range(2):
            for token in range(17):  # only the class token's row is read
                moved = shares.clone()
                moved[:, head, 0, token] += 1e-3
                slope[:, head, 0, token] = (score_of(model, x, moved, label) - score_of(model, x, shares, label)) / 1e-3
    row = (slope * shares).clamp_min(0.0).mean(1)[:, 0, 1:]
    expected = functional.interpolate(row.reshape(2, 1, 4, 4), (16, 16), mode="bilinear")
    heat = attention_gradient(model, x, torch.tensor([label, label]))
    assert torch.allclose(heat, expected, atol=1e-9)
    assert bool((heat >= 0).all())


def test_blocks_multiply_and_pieces_do_not_matter() -> None:
    """The class token's row of (I + A2) (I + A1): equation 6 of the paper for two blocks."""
    model, x, y = tiny_vit(), pictures(3, (3, 16, 16)), torch.tensor([0, 3, 1])
    with recording_attention() as weights:
        score = model(x).gather(1, y[:, None]).sum()
    grads = torch.autograd.grad(score, weights)
    first, second = (torch.eye(17) + (g * a).relu().mean(1) for g, a in zip(grads, weights, strict=True))
    cells = (second @ first)[:, 0, 1:].reshape(3, 1, 4, 4).detach()
    expected = functional.interpolate(cells, (16, 16), mode="bilinear")
    for piece in (None, 1, 2):
        with in_pieces(piece):
            assert torch.allclose(attention_gradient(model, x, y), expected, rtol=1e-4, atol=1e-6)


def test_it_depends_on_the_class_and_vanishes_for_a_score_that_reads_nothing() -> None:
    model, x = tiny_vit(), pictures(2, (3, 16, 16))
    assert not torch.allclose(attention_gradient(model, x, logit(0)), attention_gradient(model, x, logit(1)))
    nothing = plus(logit(2), times(-1.0, logit(2)))
    assert not attention_gradient(model, x, nothing).any()


@pytest.mark.parametrize("net", [pooled_net, swin])
def test_networks_without_attention_from_all_to_all_are_refused(net: type) -> None:
    with pytest.raises(ConfigError, match="grad_cam"):
        attention_gradient(net(), pictures(2, (3, 64, 64)), torch.tensor([0, 1]))

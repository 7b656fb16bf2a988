"""attention_rollout, and how attention weights are read, against torch's own weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from advbench.attributions.attention_rollout import attention_rollout
from advbench.core.attention import recording_attention
from advbench.types import ConfigError
from tests.attributions.attention_nets import Attend, OneBlock, fused, plain, swin
from tests.attributions.cam_nets import pictures
from tests.attributions.small_nets import pooled_net, tiny_vit


def torchs_weights(model: nn.Module, x: Tensor) -> list[Tensor]:
    """(B, heads, T, T) of each block of a torchvision transformer, asked of `nn.MultiheadAttention` itself."""
    blocks = [module for module in model.modules() if isinstance(module, nn.MultiheadAttention)]
    inputs: list[Tensor] = []
    handles = [block.register_forward_pre_hook(lambda _, args: inputs.append(args[0])) for block in blocks]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return [
        block(tokens, tokens, tokens, need_weights=True, average_attn_weights=False)[1]
        for block, tokens in zip(blocks, inputs, strict=True)
    ]


def test_weights_are_those_torch_gives_and_the_scores_stay() -> None:
    model, x = tiny_vit(), pictures(3, (3, 16, 16))
    with recording_attention() as weights:
        logits = model(x)
    assert torch.allclose(logits, model(x), atol=1e-5)
    expected = torchs_weights(model, x)
    assert [tuple(each.shape) for each in weights] == [(3, 2, 17, 17)] * 2
    for ours, theirs in zip(weights, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


@given(st.sampled_from([torch.float32, torch.float64]), st.integers(1, 4))
@settings(deadline=None, max_examples=8)
def test_shares_of_all_tokens_sum_to_one(dtype: torch.dtype, count: int) -> None:
    model, x = tiny_vit().to(dtype), pictures(count, (3, 16, 16), dtype)
    joint = torch.eye(17, dtype=dtype)
    for weights in torchs_weights(model, x):
        joint = 0.5 * (weights.mean(1) + torch.eye(17, dtype=dtype)) @ joint
    assert torch.allclose(joint.sum(2), torch.ones(count, 17, dtype=dtype), atol=1e-6)
    expected = functional.interpolate(joint[:, 0, 1:].reshape(count, 1, 4, 4), (16, 16), mode="bilinear")
    heat = attention_rollout(model, x, torch.zeros(count, dtype=torch.int64))
    assert torch.allclose(heat, expected, atol=1e-6)
    assert bool((heat > 0).all())


@pytest.mark.parametrize("attend", [plain, fused])
@pytest.mark.parametrize("class_token", [True, False])
def test_of_one_block_it_is_half_of_its_attention(attend: Attend, class_token: bool) -> None:
    """Two heads' softmax(q k / sqrt(4)), averaged; the way around keeps the other half of a token at its own place."""
    model, x = OneBlock(attend, class_token).eval(), pictures(2, (1, 16, 16))
    _, query, key, _ = model.parts(x)
    shares = (query @ key.transpose(2, 3) / 2).softmax(3).mean(1)  # (B, T, T)
    row = 0.5 * shares[:, 0, 1:] if class_token else (0.5 * shares + 0.5 * torch.eye(16)).mean(1)
    expected = functional.interpolate(row.reshape(2, 1, 4, 4), (16, 16), mode="bilinear")
    assert torch.allclose(attention_rollout(model, x, torch.tensor([0, 1])), expected, atol=1e-6)


def test_the_class_makes_no_difference() -> None:
    model, x = tiny_vit(), pictures(2, (3, 16, 16))
    maps = [attention_rollout(model, x, torch.tensor(y)) for y in ([0, 1], [2, 3])]
    assert torch.equal(maps[0], maps[1])


class Masked(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)[:, None]
        return functional.scaled_dot_product_attention(tokens, tokens, tokens, is_causal=True).mean((1, 2))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (pooled_net(), "no self-attention; grad_cam"),
        (swin(), "within windows.* grad_cam"),
        (Masked(), "mask is not read here; grad_cam"),
    ],
)
def test_networks_without_attention_from_all_to_all_are_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        attention_rollout(model, pictures(2, (3, 64, 64)), torch.tensor([0, 1]))

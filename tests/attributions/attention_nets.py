"""Transformers whose attention is known, for 16 x 16 images in patches of 4."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import SwinTransformer

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention as older code writes it, in two products and a softmax."""
    shares: Tensor = (query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).softmax(-1)
    return shares @ value


def fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(query, key, value)


class OneBlock(nn.Module):
    """Patches of a grey image as tokens, one block of attention with a way around it, the class token's features out.

    class_token: without one, the score is read off the mean of all tokens.
    """

    def __init__(self, attend: Attend, class_token: bool = True, heads: int = 2) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(8)
            self.patches, self.project = nn.Conv2d(1, 8, 4, stride=4), nn.Linear(8, 24)
            self.head = nn.Linear(8, 4)
            self.first = nn.Parameter(torch.randn(1, int(class_token), 8))
        self.attend, self.heads = attend, heads

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tokens (B, T, 8), and query, key, value (B, heads, T, 8 / heads)."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(len(x), -1, -1), tokens], 1)
        split = self.project(tokens).reshape(*tokens.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return tokens, split[0], split[1], split[2]

    def forward(self, x: Tensor) -> Tensor:
        tokens, query, key, value = self.parts(x)
        tokens = tokens + self.attend(query, key, value).transpose(1, 2).flatten(2)
        logits: Tensor = self.head(tokens[:, 0] if self.first.shape[1] else tokens.mean(1))
        return logits


def swin() -> SwinTransformer:
    """A narrow Swin for 64 x 64 images, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        return SwinTransformer(
            patch_size=[4, 4], embed_dim=12, depths=[2, 2], num_heads=[2, 2], window_size=[4, 4], num_classes=4
        ).eval()

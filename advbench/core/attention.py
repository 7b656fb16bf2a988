"""Attention weights of a transformer's blocks, with their graph, read off a forward pass.

The function is intercepted, not the module: fused attention hands out no weights, so inside it is computed in its
plain form, softmax(q k / sqrt(d)) v, equal up to rounding.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from advbench.core.map_reader import MapReader
from advbench.types import ConfigError


@contextmanager
def recording_attention() -> Iterator[list[Tensor]]:
    """Inside, a forward pass appends the weights (A, heads, T, T) of each self-attention to the yielded list.

    Found are `scaled_dot_product_attention`, `nn.MultiheadAttention` and a softmax over square maps. Raises ConfigError
    where tokens are masked or attended to that are none of the image's.
    """
    with _Interception() as mode:
        yield mode.weights


def over_all_tokens(weights: list[Tensor], count: int, model: nn.Module) -> list[Tensor]:
    """`weights` of `count` images, if each block attends from all tokens to all; else ConfigError with advice."""
    if not weights:
        raise ConfigError(
            f"{type(model).__name__} has no self-attention; grad_cam and hires_cam work for networks with maps"
        )
    if any(each.shape[0] != count or each.shape[2] != weights[0].shape[2] for each in weights):
        raise ConfigError(
            f"{type(model).__name__} attends within windows or between sets of tokens that change: there is no one "
            "map from its first to its last tokens; grad_cam and hires_cam work for it"
        )
    return weights


def read_by_class_token(joint: Tensor, reader: MapReader) -> Tensor:
    """(A, 1, h, w): what reaches the class token (or the mean of all, without one) from each patch, of (A, T, T)."""
    layout = reader.layout(joint[:, :, :1])
    if layout is None:
        raise ConfigError(
            f"{joint.shape[1]} tokens are no grid over the image, with or without class tokens; occlusion works"
        )
    first = layout(joint[:, 0, :, None])
    has_class_token = first.shape[2] * first.shape[3] < joint.shape[1]
    return first if has_class_token else layout(joint.mean(1)[:, :, None])


class _Interception(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given: Mapping[str, Any] = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            return self._fused(args, given)
        if func is functional.multi_head_attention_forward:
            return self._multi_head(args, given)
        result = func(*args, **given)
        if func in _SOFTMAX and result.dim() == 4 and result.shape[2] == result.shape[3]:
            return self._note(result)
        return result

    def _note(self, weights: Tensor) -> Tensor:
        # With frozen parameters and an image that wants no gradient the graph begins at the first block's weights.
        if torch.is_grad_enabled() and not weights.requires_grad:
            weights.requires_grad_(True)
        self.weights.append(weights)
        return weights

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        factor = query.shape[-1] ** -0.5 if scale is None else scale
        return self._note(((query * factor) @ key.transpose(-2, -1)).softmax(-1)) @ value

    def _fused(self, args: tuple[Any, ...], given: Mapping[str, Any]) -> Any:
        asked = dict(zip(_FUSED, args, strict=False)) | dict(given)
        query, key = asked["query"], asked["key"]
        if query.shape != key.shape or query.dim() != 4:  # between two sets of tokens
            return functional.scaled_dot_product_attention(*args, **given)
        if asked.get("attn_mask") is not None or asked.get("is_causal"):
            raise ConfigError("attention with a mask is not read here; grad_cam and occlusion work for such a model")
        return self._attend(query, key, asked["value"], asked.get("scale"))

    def _multi_head(self, args: tuple[Any, ...], given: Mapping[str, Any]) -> Any:
        bound = _MULTI_HEAD.bind(*args, **given)
        bound.apply_defaults()
        asked = bound.arguments
        tokens = asked["query"]  # (T, A, D)
        if asked["key"] is not tokens or asked["value"] is not tokens:  # between two sets of tokens
            return functional.multi_head_attention_forward(*args, **given)
        unusual = [name for name in _UNUSUAL if asked[name] is not None and asked[name] is not False]
        if unusual or tokens.dim() != 3:
            raise ConfigError(f"attention with {', '.join(unusual) or 'one image at a time'} is not read here")
        length, batch, width = tokens.shape
        heads = asked["num_heads"]
        projected = functional.linear(tokens, asked["in_proj_weight"], asked["in_proj_bias"])
        query, key, value = projected.reshape(length, batch, 3, heads, width // heads).permute(2, 1, 3, 0, 4)
        mixed = self._attend(query, key, value, None).permute(2, 0, 1, 3).reshape(length, batch, width)
        result = functional.linear(mixed, asked["out_proj_weight"], asked["out_proj_bias"])
        if not asked["need_weights"]:
            return result, None
        return result, self.weights[-1].mean(1) if asked["average_attn_weights"] else self.weights[-1]


_SOFTMAX = {functional.softmax, torch.softmax, Tensor.softmax}
_FUSED = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
_MULTI_HEAD = inspect.signature(functional.multi_head_attention_forward)
_UNUSUAL = (
    "bias_k",
    "bias_v",
    "add_zero_attn",
    "key_padding_mask",
    "attn_mask",
    "use_separate_proj_weight",
    "static_k",
    "static_v",
)

"""A cheaper form of a network for methods that ask it hundreds of times: batch norm folded, ReLUs behind pools."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.core.targets import Target
from advbench.models.entry import affine_entry
from advbench.models.rewrite import rewritten

_WORTH = 200  # passes of one image; a copy and its check cost about as much as thirty
_PRODUCTS = 64  # in each value of the first layer; with fewer, walking back costs less than summing so many values


def cheaper(model: nn.Module, x: Tensor, target: Target, passes: int) -> nn.Module:
    """`model`, or a frozen copy that computes the same up to rounding, for `passes` passes of each of x (B, C, H, W).

    The copy has other values inside, so a target that reads a layer gets the model itself.
    """
    if target.layers or len(x) * passes < _WORTH:
        return model
    return rewritten(model, x[:1].detach()).requires_grad_(False)


def entry_of(net: nn.Module, model: nn.Module) -> str | None:
    """Where `core.summed_gradient` should sum gradients of `net`, made of `model` by `cheaper`; None: at the image."""
    if net is model:
        return None  # not worth a look at the graph
    entry = affine_entry(net)
    weight = None if entry is None else net.get_submodule(entry).weight
    return entry if isinstance(weight, Tensor) and weight[0].numel() >= _PRODUCTS else None

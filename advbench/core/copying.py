"""A copy of a network, also of one that keeps what it computed last."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor, nn


def copy_of(model: nn.Module, *, shared: Iterable[Tensor] = ()) -> nn.Module:
    """A deep copy, except that both have the tensors `shared`.

    Activations that modules keep from a pass come along without their graph, which has no copy.
    """
    kept = {id(tensor): tensor.detach() for module in model.modules() for tensor in _computed(vars(module))}
    return copy.deepcopy(model, kept | {id(tensor): tensor for tensor in shared})


def _computed(value: object) -> Iterator[Tensor]:
    """Tensors in a module's own attributes that came out of a computation with gradient."""
    if isinstance(value, Tensor):
        if not value.is_leaf:
            yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _computed(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _computed(each)

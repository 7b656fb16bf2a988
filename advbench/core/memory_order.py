"""In which order a network gets its images in memory: the values are the same, the passes faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from weakref import WeakSet

import torch
from torch import Tensor, nn

Result = TypeVar("Result")

# Networks that have asked for a view which only the usual order allows: they are not tried with another one again.
_USUAL: WeakSet[nn.Module] = WeakSet()


def in_wanted_order(model: nn.Module, z: Tensor, run: Callable[[Tensor], Result]) -> Result:
    """run(z), a pass of images z (A, C, H, W) through the model, with z in the order that suits the model.

    On a CPU convolutions are faster with the colours of a pixel side by side. A network that flattens with `view` fails
    on such maps: it is run once more, and from then on gets the usual order.
    """
    if z.device.type != "cpu" or z.dtype != torch.float32 or z.dim() != 4:
        return run(z)
    if model not in _USUAL:
        try:
            return run(z.contiguous(memory_format=torch.channels_last))
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
            _USUAL.add(model)
    return run(z.contiguous())

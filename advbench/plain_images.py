"""What an attack is called with, whatever its caller has done with the images before. Imports no torch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from advbench.types import ConfigError, ThreatModel

if TYPE_CHECKING:
    from torch import Tensor, nn

Function = TypeVar("Function", bound=Callable[..., object])


def ordinary(x: Tensor) -> Tensor:
    """x without its graph, or a copy of it if it was made in `torch.inference_mode`: autograd refuses such tensors."""
    return x.clone() if x.is_inference() else x.detach()


def on_plain_images(attack: Function) -> Function:
    """The attack on x without its graph, which would keep every step of the search alive.

    It raises ConfigError unless x is float32 or float64: numbers of 16 bits are too far apart for most radii, and for
    the small steps with which some methods begin.
    """

    @functools.wraps(attack)
    def attacked(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, **params: object) -> object:
        if (kind := str(x.dtype).removeprefix("torch.")) not in ("float32", "float64"):
            raise ConfigError(f"x must be float32 or float64, got {kind}: too coarse for small radii")
        return attack(model, ordinary(x), y, threat, **params)

    return attacked  # type: ignore[return-value]

"""Backward pass differentiable approximation: a module keeps its forward pass and gets another gradient.

Athalye et al. 2018, arXiv:1802.00420, section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from advbench.core.activations import layer_names
from advbench.names import nearest
from advbench.types import ConfigError

StandIn = Callable[[Tensor], Tensor]  # a module's input (A, ...) -> something like its output, differentiable


@runtime_checkable
class Stander(Protocol):
    """A wrapper whose user means the layers of the network behind it."""

    @property
    def stands_before(self) -> nn.Module: ...


def network_behind(model: nn.Module) -> nn.Module:
    """The network whose layers a user names: `model` without the wrappers that were put around it for the attack."""
    while isinstance(model, Stander):
        model = model.stands_before
    return model


def straight_through(z: Tensor) -> Tensor:
    """The identity: the gradient behind the module passes as it is."""
    return z


def sigmoid_step(threshold: float, sharpness: float) -> StandIn:
    """A step from 0 to 1 at `threshold` made smooth, with slope sharpness / 4 there."""
    return lambda z: torch.sigmoid(sharpness * (z - threshold))


def hard_tanh_step(threshold: float, sharpness: float) -> StandIn:
    """The gradient passes, times `sharpness`, where the input is within 1 / sharpness of `threshold`; else 0."""
    return lambda z: (sharpness * (z - threshold)).clamp(-1.0, 1.0)


@contextmanager
def standing_in(model: nn.Module, name: str, stand_in: StandIn = straight_through) -> Iterator[None]:
    """Inside, the module `name` of the model computes what it computed before, with the gradient of `stand_in`.

    name: as in `named_modules` of the network without the attack's own wrappers; it takes one tensor, or one before
    others. The stand-in must have as many components per sample as the module's output. The module is as before
    afterwards, also on exceptions. Raises ConfigError for a name that is no module.
    """
    network = network_behind(model)
    modules = dict(network.named_modules())
    if name not in modules or not name:
        near = nearest(name, layer_names(network))
        known = ", ".join(layer_names(network)) or "none"
        raise ConfigError(f"no module named {name!r} in {type(network).__name__}; {near}modules: {known}")
    module = modules[name]
    before = module.__dict__.get("forward")
    module.__dict__["forward"] = partial(_forward, module.forward, stand_in, name)
    try:
        yield
    finally:
        if before is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = before


def _forward(exact: Callable[..., Tensor], stand_in: StandIn, name: str, z: Tensor, *others: object) -> Tensor:
    if not (torch.is_grad_enabled() and z.requires_grad):
        return exact(z, *others)
    with torch.no_grad():
        value = exact(z.clone(), *others)  # a copy: the module may write into its input
    approximation = stand_in(z)
    if math.prod(approximation.shape) != math.prod(value.shape):
        raise ConfigError(
            f"the stand-in for {name!r} gives {tuple(approximation.shape[1:])} per sample, the module "
            f"{tuple(value.shape[1:])}: they must be equal in number"
        )
    result: Tensor = _Exchange.apply(value, approximation.reshape(value.shape))
    return result


class _Exchange(torch.autograd.Function):
    """The first argument forwards, the second backwards."""

    @staticmethod
    def forward(ctx: object, value: Tensor, approximation: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad

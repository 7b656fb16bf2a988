"""Are the layers that a target names in the network? If not: what a target may be."""

from __future__ import annotations

from torch import nn

from advbench.core.activations import module_named
from advbench.core.targets import Target
from advbench.types import ConfigError

_GRAMMAR = (
    "class:N, log_prob:N, prob:N, LAYER, LAYER:CHANNEL, LAYER:CHANNEL@ROW,COLUMN, LAYER:CHANNEL@centre, "
    "LAYER:CHANNEL@max, or a sum of these such as class:3 - class:5"
)


def check_layers(model: nn.Module, target: Target) -> None:
    """Raise ConfigError, with what a target may be, if it names a layer that the model does not have."""
    for layer in target.layers:
        try:
            module_named(model, layer)
        except ConfigError as error:
            raise ConfigError(f"target {target.name!r}: {error}; a target is {_GRAMMAR}") from None

"""A unit's activity sent back to the pixels. Zeiler and Fergus 2014, arXiv:1311.2901, section 2.1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from advbench.core.gradients import frozen
from advbench.core.receptive_field import Unit
from advbench.core.relu_rules import deconvolution, relu_rule
from advbench.core.scoring import all_rows, score_gradient
from advbench.core.targets import Reading, Target
from advbench.types import ConfigError


def deconv_projection(model: nn.Module, x: Tensor, layer: str, units: Sequence[Unit]) -> Tensor:
    """What in x (B, C, H, W) one unit per image responds to: signed (B, C, H, W), in pixel space.

    units: B places in the output of `layer`, each with a channel. That one keeps its activation, all others become
    0. Down from there: transposed filters without biases, the ReLU applied to the signal, max pools through the places
    where their maxima were found in x. Pools that overlap add up. A unit that is not active gives 0.
    Raises ConfigError for a unit that the layer lacks and for a model whose activations are not ReLU, or
    that has none.
    """
    if len(units) != len(x) or any(unit.channel is None for unit in units):
        raise ConfigError(f"the projection needs one unit with a channel per image: {len(x)} images, units {units}")
    places = torch.tensor([[unit.channel or 0, unit.row, unit.column] for unit in units], device=x.device).view(-1, 3)

    def read(reading: Reading) -> Tensor:
        output = reading.layers[layer]
        if output.dim() != 4:
            raise ConfigError(f"{layer}: its output {tuple(output.shape)} has no rows and columns")
        chosen = places[reading.rows]  # (A, 3)
        sizes = torch.tensor(output.shape[1:], device=chosen.device)
        if bool(((chosen < 0) | (chosen >= sizes)).any()):
            raise ConfigError(f"{layer}: a unit of {chosen.tolist()} lies outside of {tuple(output.shape[1:])}")
        value = output[all_rows(chosen), chosen[:, 0], chosen[:, 1], chosen[:, 2]]
        # Half the square: its gradient there is the activation itself. A clamp would be taken for a ReLU of the model.
        return 0.5 * torch.where(value > 0, value, 0.0).square()

    with frozen(model), relu_rule(deconvolution, "the deconvnet projection"):
        return score_gradient(model, x, Target(read, (layer,), layer), all_rows(x))[1]

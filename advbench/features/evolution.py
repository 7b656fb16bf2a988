"""How features form in training: a look at the network after chosen epochs. Zeiler and Fergus 2014, section 4.1."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from advbench.core.activations import record
from advbench.core.copying import copy_of
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.receptive_field import Unit
from advbench.features.activations import channels_second, device_of
from advbench.features.deconv_projection import deconv_projection
from advbench.features.linear_cka import linear_cka
from advbench.types import ConfigError

EPOCHS = (1, 2, 5, 10, 20, 30, 40, 64)  # arXiv:1311.2901, figure 4
_BATCH = 128


@dataclass(frozen=True, eq=False)
class Strongest:
    """For each of C channels of a layer: the image with the strongest unit, where that is, how strong.

    channels, ids, rows, columns, values: (C,). ids are positions in the probe. mapped: has the layer a map? Without
    one, rows and columns are 0.
    """

    channels: Tensor
    ids: Tensor
    rows: Tensor
    columns: Tensor
    values: Tensor
    mapped: bool


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network after an epoch. state: a copy of its weights. features: layer -> (N, D) of the probe. strongest: by
    layer."""

    epoch: int
    state: Mapping[str, Tensor]
    features: Mapping[str, Tensor]
    strongest: Mapping[str, Strongest]


@dataclass(eq=False)
class Evolution:
    """Called with (epoch, model) in a training loop, it looks at `layers` on the images `probe` (N, C, H, W).

    train(..., on_epoch=lambda epoch: evolution(epoch.epoch, model)) is all that a training needs. channels: so many of
    each layer, drawn once from `seed`. epochs: those looked at; None looks at each. The model is left as it was.
    """

    probe: Tensor
    layers: Sequence[str]
    channels: int = 4
    epochs: Sequence[int] | None = EPOCHS
    seed: int = 0
    checkpoints: list[Checkpoint] = field(default_factory=list)

    def __call__(self, epoch: int, model: nn.Module) -> None:
        """Look at the model if `epoch` is one of those wanted."""
        if self.epochs is None or epoch in self.epochs:
            self.checkpoints.append(checkpoint_of(self, epoch, model))


def checkpoint_of(evolution: Evolution, epoch: int, model: nn.Module) -> Checkpoint:
    """What `evolution` keeps of the model after `epoch`. Raises ConfigError for a layer that the model lacks."""
    outputs = _outputs(model, evolution.probe, evolution.layers)
    strongest = {
        layer: _strongest(output, _drawn(layer, output.shape[1], evolution)) for layer, output in outputs.items()
    }
    features = {layer: output.flatten(1) for layer, output in outputs.items()}
    state = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    return Checkpoint(epoch, state, features, strongest)


def similarity(evolution: Evolution) -> Tensor:
    """Linear CKA (layers, checkpoints - 1) of each layer with itself at the checkpoint before.

    A layer that has settled is at 1. Raises ConfigError with fewer than two checkpoints.
    """
    kept = evolution.checkpoints
    if len(kept) < 2:
        raise ConfigError(f"similarity needs two checkpoints, {len(kept)} were kept: train longer or look more often")
    pairs = list(itertools.pairwise(kept))
    return torch.tensor(
        [[linear_cka(a.features[layer], b.features[layer]) for a, b in pairs] for layer in evolution.layers]
    )


def replayed(checkpoint: Checkpoint, model: nn.Module) -> nn.Module:
    """A copy of `model` with the weights that it had at the checkpoint, in eval mode."""
    past = copy_of(model)
    past.load_state_dict(dict(checkpoint.state))
    return past.eval()


def projections(evolution: Evolution, checkpoint: Checkpoint, model: nn.Module) -> dict[str, Tensor]:
    """What the strongest units respond to: layer -> signed (C, ...) in pixel space, by the weights of the checkpoint.

    By `deconv_projection`, as in figure 4 of the paper; layers without a map are left out. Raises ConfigError for a
    model whose activations are not ReLU.
    """
    past, found = replayed(checkpoint, model), {}
    device = device_of(past)
    for layer, best in checkpoint.strongest.items():
        if best.mapped:
            places = torch.stack([best.channels, best.rows, best.columns], 1).tolist()
            units = [Unit(channel, row, column) for channel, row, column in places]
            found[layer] = deconv_projection(past, evolution.probe[best.ids].to(device), layer, units).cpu()
    return found


def _outputs(model: nn.Module, probe: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Layer -> (N, C, ...), on the CPU."""
    device = device_of(model)
    parts: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    with torch.no_grad(), frozen(model):
        for x in torch.split(probe, _BATCH):
            with record(model, layers) as outputs:
                model(x.to(device))
            for layer in layers:
                parts[layer].append(channels_second(outputs[layer]).float().cpu())
    return {layer: torch.cat(outputs) for layer, outputs in parts.items()}


def _drawn(layer: str, count: int, evolution: Evolution) -> Tensor:
    """The channels to follow: the same at each epoch, whatever the other layers are."""
    keys = Draws(evolution.seed, torch.arange(count)).words(1, f"channels of {layer}")[:, 0]
    return keys.argsort(stable=True)[: evolution.channels].sort().values


def _strongest(output: Tensor, channels: Tensor) -> Strongest:
    """The output is a map (N, C, H, W), tokens (N, C, T), of which the strongest counts, or one value each (N, C)."""
    maps = output[:, channels]
    mapped = maps.dim() == 4
    width = maps.shape[3] if mapped else 1
    peaks, places = maps.reshape(*maps.shape[:2], -1).max(2)  # (N, C)
    values, ids = peaks.max(0)
    place = places.gather(0, ids[None])[0] if mapped else torch.zeros_like(ids)
    return Strongest(channels, ids, place // width, place % width, values, mapped)

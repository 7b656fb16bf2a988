"""What a dream climbs: the energy of layers, or their likeness to a guide's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from advbench.core.activations import Partial
from advbench.core.default_layer import default_layer
from advbench.core.gradients import frozen
from advbench.core.layer_order import finishing_order
from advbench.core.targets import Reading, Target, logit, parse_target
from advbench.types import ConfigError

_COARSEST = 18  # pixels from one unit to the next: objects, not yet the answer


def dream_target(model: nn.Module, layers: str | Target | None, probe: Tensor, guide: Tensor | None) -> Target:
    """layers: text of a target ("features.7", "features.7 + 2 * features.9", a class), a Target, None for
    `dream_layer`. guide (1, C, H', W'): the layers are to see what they see in it, see `guided`."""
    target = layers if isinstance(layers, Target) else parse_target(layers or dream_layer(model, probe))
    return target if guide is None else guided(model, target.layers, guide)


def dream_layer(model: nn.Module, probe: Tensor) -> str:
    """The deepest layer with maps whose units are at most 18 pixels apart, up to the end of the features.

    probe (1, C, H, W): an image of the size dreamt in. A ResNet's layer3, the last ReLU of a VGG, a SqueezeNet's last
    fire module. Raises ConfigError for a network without maps.
    """
    last = default_layer(model, probe, logit(0))
    shapes, side = finishing_order(model, probe), min(probe.shape[2:])
    names = map_blocks(model, shapes, last)
    return next((name for name in reversed(names) if _COARSEST * min(shapes[name][2:]) >= side), last)


def map_blocks(model: nn.Module, shapes: Mapping[str, tuple[int, ...]], last: str) -> list[str]:
    """The outermost modules with maps, up to `last`, from the first with weights: blocks rather than convolutions.

    shapes: as `finishing_order` gives them. A Sequential is no block, but its members are.
    """
    modules, names = dict(model.named_modules()), list(shapes)
    names = [name for name in names[: names.index(last) + 1] if not isinstance(modules[name], nn.Sequential)]
    maps = [name for name in names if len(shapes[name]) == 4]
    first = next((i for i, name in enumerate(maps) if any(True for _ in modules[name].parameters())), len(maps))
    return [name for name in maps[first:] if not any(name.startswith(f"{other}.") for other in maps)]


def guided(model: nn.Module, layers: tuple[str, ...], guide: Tensor) -> Target:
    """The sum over places of the dot product with that place of the guide (1, C, H', W') that fits best now.

    Raises ConfigError unless the guide is one image and every layer has maps.
    """
    if guide.dim() != 4 or len(guide) != 1 or not layers:
        raise ConfigError(f"a guide is one image (1, C, H, W) for a dream of layers, got {tuple(guide.shape)}")
    with frozen(model), torch.no_grad():
        shown = Partial(model, layers, guide)(guide)
    if any(maps.dim() != 4 for maps in shown.values()):
        raise ConfigError(f"a guided dream needs layers with rows and columns, got {', '.join(layers)}")
    places = {layer: maps[0].flatten(1) for layer, maps in shown.items()}  # (C, places)

    def read(reading: Reading) -> Tensor:
        total = torch.zeros(len(reading.rows), device=guide.device)
        for layer, wanted in places.items():
            seen = reading.layers[layer].flatten(2).transpose(1, 2)  # (A, places here, C)
            best = (seen.detach() @ wanted).argmax(2)  # which place of the guide fits is not differentiated
            total = total + (seen * wanted.T[best]).sum((1, 2))
        return total

    return Target(read, layers, "guide in " + ", ".join(layers), whole=False)

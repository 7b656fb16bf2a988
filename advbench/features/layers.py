"""The catalogue of a model's layers: what each puts out, how much of the image one of its units sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from advbench.core.activations import module_named
from advbench.core.layer_order import finishing_order
from advbench.core.receptive_field import Unit, field_of, transparent_outputs
from advbench.types import ConfigError

_PASSED_ON = (nn.Dropout, nn.Dropout2d, nn.Flatten, nn.Identity)  # what they put out is what they were given


@dataclass(frozen=True)
class Layer:
    """One module. shape: of its output for one image. field: (height, width) in pixels that its central unit sees.

    stride: (rows, columns) in pixels from one unit to the next. clipped: the central unit's field touches a border of
    the image: in a larger image it may be larger. field and stride are None without rows and columns.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    field: tuple[int, int] | None
    stride: tuple[float, float] | None
    clipped: bool


def layers(model: nn.Module, shape: tuple[int, int, int], *, progress: bool = False) -> list[Layer]:
    """The modules that return a tensor, for images of `shape` (C, H, W), in the order in which they finish.

    A module is listed after its parts; one used several times stands where it was used last.
    """
    x, outputs = transparent_outputs(model, shape)
    modules = dict(model.named_modules())
    named = tqdm(outputs.items(), "layers", leave=False, disable=not progress)
    return [_described(name, type(modules[name]).__name__, output, x) for name, output in named]


def resolve_layer(model: nn.Module, name: str) -> str:
    """The full name of the layer that `name` means: "features.3" may stand for "net.features.3".

    Raises ConfigError if no layer is called so, or more than one.
    """
    module = module_named(model, name)
    return next(str(full) for full, each in model.named_modules() if each is module)


def feature_layer(model: nn.Module, shape: tuple[int, int, int]) -> str:
    """The layer whose output the last layer with weights looks at: fc7 in AlexNet, the pooled maps in a ResNet.

    Raises ConfigError for a model with fewer than two layers.
    """
    finished = list(finishing_order(model, _grey(shape)))
    modules = dict(model.named_modules())
    weighted = [i for i, name in enumerate(finished) if isinstance(modules[name], nn.Conv2d | nn.Linear)]
    before = finished[: weighted[-1]] if weighted else []
    fitting = [name for name in before if not isinstance(modules[name], _PASSED_ON)]
    if not fitting:
        raise ConfigError(f"{type(model).__name__} has no layer before its last: give --layer")
    return fitting[-1]


def map_layer(model: nn.Module, shape: tuple[int, int, int], *, share: float = 0.5) -> str:
    """The deepest layer with rows and columns whose units see at most `share` of the image's height and width.

    Raises ConfigError if there is none behind the first convolution.
    """
    x, outputs = transparent_outputs(model, shape)
    modules = dict(model.named_modules())
    convolved, best = False, ""
    for name, output in outputs.items():
        convolved |= isinstance(modules[name], nn.Conv2d)
        if not convolved or output.dim() != 4 or min(output.shape[2:]) < 2 or isinstance(modules[name], _PASSED_ON):
            continue
        box = field_of(output, Unit(None, output.shape[2] // 2, output.shape[3] // 2), x, name)
        if box.height <= share * shape[1] and box.width <= share * shape[2]:
            best = name
    if not best:
        raise ConfigError(f"{type(model).__name__} has no layer whose units see a part of the image: give --layer")
    return best


def weighted_layers(model: nn.Module, shape: tuple[int, int, int]) -> list[str]:
    """The convolutions and linear layers, in the order in which they are used, of several times the last."""
    modules = dict(model.named_modules())
    order = finishing_order(model, _grey(shape))
    return [name for name in order if isinstance(modules[name], nn.Conv2d | nn.Linear)]


def first_convolution(model: nn.Module) -> str:
    """Name of the first 2-d convolution. Raises ConfigError if there is none."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            return str(name)
    raise ConfigError(f"{type(model).__name__} has no convolution, so no filters to look at")


def _described(name: str, kind: str, output: Tensor, x: Tensor) -> Layer:
    sizes = tuple(output.shape[1:])
    if output.dim() != 4:
        return Layer(name, kind, sizes, None, None, False)
    height, width = output.shape[2:]
    row, column = height // 2, width // 2
    box = field_of(output, Unit(None, row, column), x, name)
    beside = field_of(output, Unit(None, max(row - 1, 0), max(column - 1, 0)), x, name)
    clipped = box.top == 0 or box.left == 0 or box.bottom == x.shape[2] or box.right == x.shape[3]
    steps = (
        _step(box[0::2], beside[0::2], x.shape[2], height),
        _step(box[1::2], beside[1::2], x.shape[3], width),
    )
    return Layer(name, kind, sizes, (box.height, box.width), steps, clipped)


def _step(box: tuple[int, ...], beside: tuple[int, ...], pixels: int, units: int) -> float:
    """Pixels between two neighbours whose fields are [start, end): exact unless a border cuts both ends."""
    same_size = box[1] - box[0] == beside[1] - beside[0]
    if beside[0] > 0 or (same_size and box[0] > beside[0]):
        return float(box[0] - beside[0])
    if box[1] < pixels:
        return float(box[1] - beside[1])
    return pixels / units


def _grey(shape: tuple[int, int, int]) -> Tensor:
    return torch.full((1, *shape), 0.5)

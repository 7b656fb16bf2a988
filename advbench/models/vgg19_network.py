"""The convolutions of VGG-19 up to a layer, with the usual names. Simonyan and Zisserman 2014, arXiv:1409.1556."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from advbench.models.normalize import IMAGENET, Normalized
from advbench.types import ConfigError

_BLOCKS = (2, 2, 4, 4, 4)  # convolutions between poolings
RELUS = tuple(f"relu{block}_{i}" for block, count in enumerate(_BLOCKS, 1) for i in range(1, count + 1))


class Vgg19(nn.Module):
    """Normalised images (B, 3, H, W) to the maps of the ReLU `last`; its ReLUs are modules relu1_1, relu1_2, ...

    widths: channels of each block. keys: what the convolution in front of a ReLU is called in a weights file.
    Convolutions see their maps reflected at the rim, which leaves no frame in pictures.
    """

    def __init__(self, last: str, widths: Sequence[int], keys: Mapping[str, str]) -> None:
        super().__init__()
        self.order: list[str] = []
        channels = 3
        for relu in RELUS[: RELUS.index(last) + 1]:
            block, number = int(relu[4]), int(relu[6])
            if number == 1 and block > 1:
                self._append(f"pool{block - 1}", nn.MaxPool2d(2))
            conv = nn.Conv2d(channels, widths[block - 1], 3, padding=1, padding_mode="reflect")
            nn.init.kaiming_normal_(conv.weight)  # keeps activations as strong in the depth as at the start
            self._append(keys[relu], conv)
            self._append(relu, nn.ReLU(inplace=True))
            channels = widths[block - 1]

    def forward(self, x: Tensor) -> Tensor:
        for name in self.order:
            x = self.get_submodule(name)(x)
        return x

    def _append(self, path: str, module: nn.Module) -> None:
        self.order.append(path)
        parent: nn.Module = self
        *folders, name = path.split(".")
        for folder in folders:
            if folder not in dict(parent.named_children()):
                parent.add_module(folder, nn.Module())
            parent = parent.get_submodule(folder)
        parent.add_module(name, module)


def behind_normalisation(network: Vgg19) -> nn.Module:
    """The network for images in [0, 1]."""
    return Normalized(network, *IMAGENET)


def check_request(name: str, last: str, shape: tuple[int, int, int]) -> None:
    """Raise ConfigError unless `last` is a ReLU of VGG-19 and images have three channels."""
    if last not in RELUS:
        raise ConfigError(f"{name}: the last layer must be one of {', '.join(RELUS)}, got {last!r}")
    if shape[0] != 3:
        raise ConfigError(f"{name} takes images with 3 channels, got {shape[0]}")

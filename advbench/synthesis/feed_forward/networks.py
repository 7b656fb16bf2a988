"""The image transformation network, with three kinds of normalisation. Johnson et al. 2016, arXiv:1603.08155."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.types import ConfigError

Norm = Literal["instance", "batch"]

_EPS = 1e-5


class StyleNorm(nn.Module):
    """Instance normalisation with a scale and a shift per style. Dumoulin et al. 2017, arXiv:1610.07629, section 2.2.

    With one style it is instance normalisation (Ulyanov et al. 2016, arXiv:1607.08022). `mix` (B, S) says how much of
    each style: scales and shifts are blended.
    """

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(styles, channels)), nn.Parameter(torch.zeros(styles, channels))

    def forward(self, x: Tensor, mix: Tensor) -> Tensor:
        flat = functional.instance_norm(x, eps=_EPS)
        return flat * (mix @ self.scale)[:, :, None, None] + (mix @ self.shift)[:, :, None, None]


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation, which knows nothing of styles."""

    def forward(self, x: Tensor, mix: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)


class Block(nn.Module):
    """Perhaps twice as large (bilinear), convolution with reflected borders, normalisation, perhaps ReLU.

    Enlarging before a convolution leaves no checkerboard of its own, as a transposed convolution would; bilinear, a
    slope stays a slope, where nearest neighbours make steps of it.
    """

    def __init__(
        self,
        channels: tuple[int, int],
        kernel: int,
        norm: nn.Module,
        *,
        stride: int = 1,
        up: bool = False,
        relu: bool = True,
    ) -> None:
        super().__init__()
        padding = kernel // 2
        self.conv = nn.Conv2d(*channels, kernel, stride, padding, padding_mode="reflect")
        self.norm, self.up, self.relu = norm, up, relu

    def forward(self, x: Tensor, mix: Tensor) -> Tensor:
        enlarged = functional.interpolate(x, scale_factor=2.0, mode="bilinear") if self.up else x
        y: Tensor = self.norm(self.conv(enlarged), mix)
        return functional.relu(y) if self.relu else y


class Residual(nn.Module):
    """x plus two blocks of it, the second without ReLU."""

    def __init__(self, channels: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.first = Block((channels, channels), 3, norm(channels))
        self.second = Block((channels, channels), 3, norm(channels), relu=False)

    def forward(self, x: Tensor, mix: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x, mix), mix)
        return x + y


class TransformNet(nn.Module):
    """Images (B, 3, H, W) in [0, 1] to images of that size: down twice, residual blocks, up twice, sigmoid.

    widths: channels at full, half and quarter size; the paper has (32, 64, 128) and 5 blocks, the default is for CPUs.
    styles: how many the network holds; norm "batch" holds one. Sides that are no multiple of 4 are reflected beyond
    their border and cut off again. Raises ConfigError for other numbers.
    """

    def __init__(
        self, *, styles: int = 1, widths: Sequence[int] = (16, 32, 64), blocks: int = 3, norm: Norm = "instance"
    ) -> None:
        super().__init__()
        if styles < 1 or blocks < 0 or len(widths) != 3 or min(widths) < 1:
            raise ConfigError(f"TransformNet: styles >= 1, blocks >= 0, 3 widths; got {styles}, {blocks}, {widths}")
        if norm == "batch" and styles != 1:
            raise ConfigError(f"batch normalisation holds one style, got {styles}; norm 'instance' holds many")

        def normal(channels: int) -> nn.Module:
            return StyleNorm(channels, styles) if norm == "instance" else BatchNorm(channels)

        full, half, quarter = widths
        self.styles = styles
        self.layers = nn.ModuleList(
            [
                Block((3, full), 9, normal(full)),
                Block((full, half), 3, normal(half), stride=2),
                Block((half, quarter), 3, normal(quarter), stride=2),
                *[Residual(quarter, normal) for _ in range(blocks)],
                Block((quarter, half), 3, normal(half), up=True),
                Block((half, full), 3, normal(full), up=True),
            ]
        )
        self.last = nn.Conv2d(full, 3, 9, padding=4, padding_mode="reflect")

    def forward(self, x: Tensor, mix: Tensor | None = None) -> Tensor:
        """mix (B, S): how much of each style; None: the first."""
        height, width = x.shape[2:]
        if mix is None:
            mix = functional.one_hot(torch.zeros(len(x), dtype=torch.int64, device=x.device), self.styles).to(x)
        y = functional.pad(x, (0, -width % 4, 0, -height % 4), mode="reflect")
        for layer in self.layers:
            y = layer(y, mix)
        picture: Tensor = self.last(y)
        return picture[:, :, :height, :width].sigmoid()


def network_of(state: Mapping[str, Tensor]) -> TransformNet:
    """The network that these weights belong to, with them: everything about it is in their names and shapes.

    Raises ConfigError for weights of something else.
    """
    first = "layers.0.norm."
    if f"{first}scale" in state:
        styles, norm = len(state[f"{first}scale"]), "instance"
    elif f"{first}running_mean" in state:
        styles, norm = 1, "batch"
    else:
        raise ConfigError("these are not the weights of a style network: they have no 'layers.0.norm.scale'")
    widths = [len(state[f"layers.{i}.conv.bias"]) for i in range(3)]
    blocks = len([name for name in state if name.endswith(".first.conv.bias")])
    network = TransformNet(styles=styles, widths=widths, blocks=blocks, norm=norm)  # type: ignore[arg-type]
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise ConfigError(f"these weights do not fit a style network: {error}") from None
    return network.eval()

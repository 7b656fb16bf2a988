"""A convolution that sees its map go on behind the rim, at the price of one that sees zeros there."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

# Positions: on smaller maps the rim is long for what it encloses, and copies stay in memory that the allocator keeps.
_LARGE = 112 * 112

# Which row (or column) of a map is seen before its first and behind its last one.
_SEEN: Mapping[str, tuple[int, int]] = {"reflect": (1, -2), "replicate": (0, -1), "circular": (-1, 0)}


def repad(conv: nn.Conv2d, padding: str) -> None:
    """Give conv another padding; the usual one, 3 x 3 with a rim of 1, does without a copy then, see `RimmedConv`."""
    if not any(conv._reversed_padding_repeated_twice):
        return  # nothing is added to its maps: asking for a padding would copy them
    conv.padding_mode = padding  # type: ignore[assignment]
    plain = (conv.stride, conv.dilation, conv.groups, conv.kernel_size) == ((1, 1), (1, 1), 1, (3, 3))
    # Subclasses do something of their own with the weights.
    if type(conv) is nn.Conv2d and padding in _SEEN and plain and conv.padding in ((1, 1), "same"):
        conv.__class__ = RimmedConv


class RimmedConv(nn.Conv2d):
    """For images that are optimised: its weights get no gradient where maps are large.

    Padding a map of 64 x 512 x 512 would write 64 MiB, which would then be kept for the way back.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] * x.shape[3] < _LARGE:
            return super().forward(x)
        return rimmed(x, self.weight, self.bias, self.padding_mode)


def rimmed(x: Tensor, weight: Tensor, bias: Tensor | None, padding: str) -> Tensor:
    """The convolution of maps x (A, C, H, W), at least 2 x 2, with weight (O, C, 3, 3), held fixed: (A, O, H, W).

    padding: "reflect", "replicate" or "circular".
    """
    return _Rimmed.apply(x, weight, bias, _SEEN[padding])  # type: ignore[no-any-return]


class _Rimmed(torch.autograd.Function):
    """The convolution of the map in a rim of zeros, plus what the rim itself adds to the outer rows and columns."""

    @staticmethod
    def forward(
        context: torch.autograd.function.FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        seen: tuple[int, int],
    ) -> Tensor:
        context.save_for_backward(x, weight)
        context.seen = seen  # type: ignore[attr-defined]
        out = functional.conv2d(x, weight, bias, padding=1)
        for end, place in zip((0, -1), seen, strict=True):
            row = x[:, :, place]
            corners = [row[:, :, seen[0], None], row, row[:, :, seen[1], None]]
            out[:, :, end] += functional.conv1d(torch.cat(corners, 2), weight[:, :, end])
            out[:, :, :, end] += functional.conv1d(x[:, :, :, place], weight[:, :, :, end], padding=1)
        return out

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        x, weight = context.saved_tensors  # type: ignore[attr-defined]
        seen: tuple[int, int] = context.seen  # type: ignore[attr-defined]
        one = (1, 1)
        slope: Tensor = torch.ops.aten.convolution_backward(
            grad, x, weight, None, one, one, one, False, (0, 0), 1, (True, False, False)
        )[0]
        for end, place in zip((0, -1), seen, strict=True):
            row = functional.conv_transpose1d(grad[:, :, end], weight[:, :, end])
            slope[:, :, place] += row[:, :, 1:-1]
            slope[:, :, place, seen[0]] += row[:, :, 0]
            slope[:, :, place, seen[1]] += row[:, :, -1]
            slope[:, :, :, place] += functional.conv_transpose1d(grad[:, :, :, end], weight[:, :, :, end], padding=1)
        return slope, None, None, None

"""A network's first convolution, whose gradient on the CPU is formed for a block of pixels at a time."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_LANES = 16  # channels that a CPU's convolution computes together, whether they are asked for or not
_FEW = 4  # channels of an image


class NarrowConv2d(nn.Conv2d):
    """What `conv` computes, with a gradient to the input that is one and a half to three times as fast on a CPU.

    That gradient is itself a convolution, with as many outputs as the image has channels: one or three of the sixteen
    that are computed. Here the block x block pixels of a square are its outputs, by the kernel shifted to each of them;
    of a kernel that moves by several pixels, each of these meets its own part.
    The parameters are taken as constants: they get no gradient.
    """

    shifted: Tensor

    def __init__(self, conv: nn.Conv2d, block: int) -> None:
        nn.Module.__init__(self)
        # Its parameters and hooks, without drawing an initialisation.
        self.__dict__.update({name: copy.copy(value) for name, value in conv.__dict__.items()})
        self.block = block
        kernels, self.first = _shifted(conv.weight.detach(), block, int(conv.stride[0]), int(conv.padding[0]))
        self.register_buffer("shifted", kernels, persistent=False)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        height, width = input.shape[-2:]
        if input.dim() != 4 or height % self.block or width % self.block or input.device.type != "cpu":
            out: Tensor = super()._conv_forward(input, weight, bias)
        else:
            out = _Convolution.apply(input, self)
        return out

    def values(self, x: Tensor) -> Tensor:
        """The convolution itself."""
        return functional.conv2d(x, self.weight, self.bias, self.stride, self.padding)

    def gradient(self, grad: Tensor, height: int, width: int) -> Tensor:
        """The gradient to the input, of that height and width, from the one to the output."""
        step, before = self.block // int(self.stride[0]), -self.first
        reach = [(size // self.block - 1) * step + self.shifted.shape[-1] for size in (height, width)]
        after = [need - before - size for need, size in zip(reach, grad.shape[-2:], strict=True)]
        if after == [before, before]:
            squares = functional.conv2d(grad, self.shifted, stride=step, padding=before)
        else:
            rimmed = functional.pad(grad, (before, after[1], before, after[0]))
            squares = functional.conv2d(rimmed, self.shifted, stride=step)
        return functional.pixel_shuffle(squares, self.block)


def narrowed(net: nn.Module) -> nn.Module:
    """`net` itself; its convolutions of few channels and a square kernel are replaced."""
    for name, module in list(net.named_modules()):
        # Not a class derived from it, nor one whose weight is computed anew in each pass.
        if name and type(module) is nn.Conv2d and "weight" in dict(module.named_parameters(recurse=False)):
            block = _block(module)
            if block:
                net.set_submodule(name, NarrowConv2d(module, block))
    return net


def _block(conv: nn.Conv2d) -> int:
    """The side of the square: a multiple of the stride, if possible with pixels that fill the lanes; 0: unfit."""
    alike = all(len(set(side)) == 1 for side in (conv.kernel_size, conv.padding, conv.stride))
    if not alike or isinstance(conv.padding, str) or {*conv.dilation, conv.groups} != {1} or conv.in_channels > _FEW:
        return 0
    if conv.padding_mode != "zeros" or int(conv.padding[0]) >= conv.kernel_size[0]:
        return 0
    stride = int(conv.stride[0])
    fitting = (stride * times for times in (4, 2) if conv.in_channels * (stride * times) ** 2 <= _LANES)
    return next(fitting, stride)


def _shifted(weight: Tensor, block: int, stride: int, padding: int) -> tuple[Tensor, int]:
    """weight (O, I, K, K) -> ((I * block^2, O, S, S), in the order of `pixel_shuffle`; the first output that is read).

    Outputs are counted from the one whose kernel would begin at the square's corner, if nothing were padded.
    """
    pixel, tap = torch.arange(block)[:, None], torch.arange(weight.shape[-1])
    position = pixel + padding - tap  # stride * the output that reads `pixel` by `tap`
    outputs = position[position % stride == 0] // stride
    first, last = int(outputs.min()), int(outputs.max())
    at = stride * torch.arange(first, last + 1)
    reads = (position[:, None] == at[:, None]).to(weight)  # (block, S, K)
    kernels = torch.einsum("oikl,ark,bsl->iabors", weight, reads, reads)
    return kernels.flatten(0, 2).contiguous(memory_format=torch.channels_last), first


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, conv: NarrowConv2d) -> Tensor:
        ctx.conv, ctx.size = conv, x.shape[-2:]
        return conv.values(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.conv.gradient(grads[0], *ctx.size), None

"""A network's first convolution, whose gradient on the CPU is formed for a block of pixels at a time."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_LANES = 16  # channels that a CPU's convolution computes together, whether they are asked for or not
_BLOCKS = (4, 2)


class NarrowConv2d(nn.Conv2d):
    """What `conv` computes, with a gradient to the input that is two to three times as fast on a CPU.

    That gradient is itself a convolution, with as many outputs as the image has channels: one or three of the sixteen
    that are computed. Here the block x block pixels of a square are its outputs, by the kernel shifted to each of them.
    The parameters are taken as constants: they get no gradient.
    """

    shifted: Tensor

    def __init__(self, conv: nn.Conv2d, block: int) -> None:
        nn.Module.__init__(self)
        # Its parameters and hooks, without drawing an initialisation.
        self.__dict__.update({name: copy.copy(value) for name, value in conv.__dict__.items()})
        self.block = block
        self.register_buffer("shifted", _shifted(conv.weight.detach(), block), persistent=False)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        height, width = input.shape[-2:]
        if input.dim() != 4 or height % self.block or width % self.block or input.device.type != "cpu":
            out: Tensor = super()._conv_forward(input, weight, bias)
        else:
            out = _Convolution.apply(input, self)
        return out

    def values(self, x: Tensor) -> Tensor:
        """The convolution itself."""
        return functional.conv2d(x, self.weight, self.bias, padding=self.padding)

    def gradient(self, grad: Tensor) -> Tensor:
        """The gradient to the input, from the one to the output."""
        padding = self.kernel_size[0] - 1 - int(self.padding[0])
        squares = functional.conv2d(grad, self.shifted, stride=self.block, padding=padding)
        return functional.pixel_shuffle(squares, self.block)


def narrowed(net: nn.Module) -> nn.Module:
    """`net` itself; its convolutions of few channels, stride 1 and a square kernel are replaced."""
    for name, module in list(net.named_modules()):
        # Not a class derived from it, nor one whose weight is computed anew in each pass.
        if name and type(module) is nn.Conv2d and "weight" in dict(module.named_parameters(recurse=False)):
            block = _block(module)
            if block:
                net.set_submodule(name, NarrowConv2d(module, block))
    return net


def _block(conv: nn.Conv2d) -> int:
    """The side of the square whose pixels fit into the lanes; 0 if `conv` does not qualify."""
    square = len(set(conv.kernel_size)) == len(set(conv.padding)) == 1 and not isinstance(conv.padding, str)
    single = {*conv.stride, *conv.dilation, conv.groups} == {1}
    if not square or not single or conv.padding_mode != "zeros" or int(conv.padding[0]) >= conv.kernel_size[0]:
        return 0
    return next((block for block in _BLOCKS if conv.in_channels * block**2 <= _LANES), 0)


def _shifted(weight: Tensor, block: int) -> Tensor:
    """weight (O, I, K, K) -> (I * block^2, O, K + block - 1, K + block - 1), in the order of `pixel_shuffle`."""
    outs, ins, side, _ = weight.shape
    turned = weight.flip(2, 3).transpose(0, 1)
    kernels = weight.new_zeros(ins, block, block, outs, side + block - 1, side + block - 1)
    for row in range(block):
        for column in range(block):
            kernels[:, row, column, :, row : row + side, column : column + side] = turned
    return kernels.flatten(0, 2).contiguous(memory_format=torch.channels_last)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, conv: NarrowConv2d) -> Tensor:
        ctx.conv = conv
        return conv.values(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.conv.gradient(grads[0]), None

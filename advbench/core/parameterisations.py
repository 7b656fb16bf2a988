"""How an image is written down as free variables: a pair of maps whose second undoes the first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# An image at the edge of the box would need infinite variables: it is drawn towards the middle by one part in a million
# (Carlini and Wagner 2017, arXiv:1608.04644, use this number in their published code).
_SHRINK = 0.999999

# Square root of the covariance of natural colours, rows red, green, blue; the first column is brightness.
# Measured on ImageNet and published with Olah et al. 2017, doi:10.23915/distill.00007.
_COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))

_CONTRAST = 0.25  # doi:10.23915/distill.00007, published code: unit noise in z makes a picture of soft contrast


@dataclass(frozen=True)
class Parameterisation:
    """encode: image (B, C, H, W) -> free variables z (B, ...). decode: back, differentiable; decode(encode(x)) is x."""

    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]


def pixels() -> Parameterisation:
    """The image itself."""
    return Parameterisation(lambda image: image, lambda z: z)


def tanh_box(low: float = 0.0, high: float = 1.0) -> Parameterisation:
    """The middle of [low, high] plus tanh(z) times half its width: every z is inside, no projection is needed.

    decode(encode(x)) differs from x by up to 5e-7 of the width. Carlini and Wagner 2017, arXiv:1608.04644, section V-B.
    """
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    return Parameterisation(
        encode=lambda image: torch.atanh(_SHRINK * ((image - middle) / half).clamp(-1.0, 1.0)),
        # A rounding error could step over the edge where tanh(z) is 1.
        decode=lambda z: (middle + half * torch.tanh(z)).clamp(low, high),
    )


def sigmoid(low: float = 0.0, high: float = 1.0) -> Parameterisation:
    """low + (high - low) / (1 + exp(-z)): `tanh_box` in logits, at half the speed per unit of z."""
    box = tanh_box(low, high)
    return Parameterisation(lambda image: 2.0 * box.encode(image), lambda z: box.decode(0.5 * z))


def fourier(shape: tuple[int, int, int], *, decay: float = 1.0) -> Parameterisation:
    """A spectrum z (B, C, H, W // 2 + 1, 2), real and imaginary parts, of images of `shape` (C, H, W) in [0, 1].

    Frequency f weighs 1 / f^decay, as in natural images, and three channels are mixed like natural colours, so that a
    step of equal length in all of z changes what a photograph would change. A zero spectrum is the grey image. The
    imaginary parts of the constant and of the highest even frequency do nothing. encode raises ValueError for another
    shape. Olah et al. 2017, doi:10.23915/distill.00007.
    """
    sides, box = shape[1:], sigmoid()
    weights = _weights(sides, decay)

    def encode(image: Tensor) -> Tensor:
        if tuple(image.shape[1:]) != shape:
            raise ValueError(f"fourier: made for images of shape {shape}, got {tuple(image.shape[1:])}")
        field = decorrelate_colours(box.encode(image)) / _CONTRAST
        return torch.view_as_real(torch.fft.rfft2(field, norm="ortho") / weights.to(image))

    def decode(z: Tensor) -> Tensor:
        spectrum = torch.view_as_complex(z) * weights.to(z)
        # The size is given: an odd width could not be told from the number of frequencies.
        field = torch.fft.irfft2(spectrum, s=sides, norm="ortho")
        return box.decode(correlate_colours(_CONTRAST * field))

    return Parameterisation(encode, decode)


def correlate_colours(field: Tensor) -> Tensor:
    """Independent components (B, 3, H, W) mixed into red, green and blue as they vary in photographs.

    Other numbers of channels come back as they are.
    """
    return _mixed(field, _colour_matrix()) if field.shape[1] == 3 else field


def decorrelate_colours(field: Tensor) -> Tensor:
    """The inverse of `correlate_colours`: red, green, blue (B, 3, H, W) into independent components."""
    return _mixed(field, torch.linalg.inv(_colour_matrix())) if field.shape[1] == 3 else field


def _mixed(field: Tensor, matrix: Tensor) -> Tensor:
    return torch.matmul(matrix.to(field), field.flatten(2)).reshape(field.shape)


def _colour_matrix() -> Tensor:
    """The published matrix, scaled so that its longest column has length 1."""
    matrix = torch.tensor(_COLOURS, dtype=torch.float64)
    return matrix / matrix.square().sum(0).amax().sqrt()


def _weights(sides: tuple[int, int], decay: float) -> Tensor:
    """1 / f^decay (H, W // 2 + 1) float64; f in cycles per pixel, at least one cycle per longer side."""
    height, width = sides
    down = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    across = torch.fft.rfftfreq(width, dtype=torch.float64)
    return torch.hypot(down, across).clamp_min(1.0 / max(sides)) ** -decay

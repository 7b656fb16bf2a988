"""JPEG: eight by eight cosines, rounded. ITU-T T.81, with the tables of its annex K and the IJG's scale of quality."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from advbench.attacks.physical.corruption.severities import Constants
from advbench.core.draws import Draws

# ITU-T T.81, tables K.1 and K.2.
_LUMINANCE = """
16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99
"""
_CHROMINANCE = """
17 18 24 47 99 99 99 99  18 21 26 66 99 99 99 99  24 26 56 99 99 99 99 99  47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99
"""
# ITU-R BT.601, full range: rows Y, Cb, Cr of red, green, blue.
_COLOURS = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def jpeg_compression(image: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """The image as JPEG of quality constants[0] in 1 .. 100 gives it back, chroma at half the resolution (4:2:0)."""
    levels = (255.0 * image.double().clamp(0.0, 1.0)).round()
    quality = round(constants[0])
    if image.shape[1] != 3:
        return (_coded(levels - 128.0, _table(_LUMINANCE, quality, levels)) + 128.0).to(image) / 255.0
    matrix = levels.new_tensor(_COLOURS)
    planes = torch.einsum("ij,ajhw->aihw", matrix, levels).round()
    luma = _coded(planes[:, :1] - 128.0, _table(_LUMINANCE, quality, levels)) + 128.0
    half = functional.avg_pool2d(_padded(planes[:, 1:], 2), 2)
    coded = _coded(half, _table(_CHROMINANCE, quality, levels))
    full = functional.interpolate(coded, scale_factor=2.0, mode="bilinear")[..., : image.shape[2], : image.shape[3]]
    planes = torch.cat([luma, full], 1).round()
    back = torch.einsum("ij,ajhw->aihw", torch.linalg.inv(matrix), planes)
    return (back.round().clamp(0.0, 255.0) / 255.0).to(image)


def _coded(planes: Tensor, table: Tensor) -> Tensor:
    """planes (A, C, H, W) after their cosine coefficients were rounded to multiples of table (8, 8)."""
    height, width = planes.shape[2:]
    padded = _padded(planes, 8)
    blocks = padded.unfold(2, 8, 8).unfold(3, 8, 8)  # (A, C, H / 8, W / 8, 8, 8)
    cosines = _cosines(planes)
    coefficients = cosines @ blocks @ cosines.T
    pixels = cosines.T @ ((coefficients / table).round() * table) @ cosines
    joined = pixels.permute(0, 1, 2, 4, 3, 5).reshape(padded.shape)
    return joined[..., :height, :width].round()


def _padded(planes: Tensor, multiple: int) -> Tensor:
    height, width = planes.shape[2:]
    return functional.pad(planes, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def _cosines(like: Tensor) -> Tensor:
    """The orthonormal cosine transform (8, 8)."""
    k = torch.arange(8, dtype=like.dtype, device=like.device)
    waves = torch.cos(math.pi / 8.0 * k[:, None] * (k + 0.5)) * 0.5
    waves[0] *= math.sqrt(0.5)
    return waves


def _table(numbers: str, quality: int, like: Tensor) -> Tensor:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    values = [min(max((int(number) * scale + 50) // 100, 1), 255) for number in numbers.split()]
    return torch.tensor(values, dtype=like.dtype, device=like.device).reshape(8, 8)

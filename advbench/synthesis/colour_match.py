"""Colours of one picture given to another: histograms, mean and covariance, or the colour under the brightness."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from advbench.types import ConfigError

Match = Callable[[Tensor, Tensor], Tensor]

_LEAST = 1e-5  # variance added to flat pictures' colours: a tenth of a grey level squared


def match_histogram(image: Tensor, sample: Tensor) -> Tensor:
    """image (B, C, H, W) with each channel's values replaced, in their order, by those of sample (B, C, h, w).

    The channel's histogram is the sample's then (of another size: its quantiles). Equal values may become different.
    """
    flat = image.flatten(2)
    values = sample.flatten(2).sort(2).values
    count, known = flat.shape[2], values.shape[2]
    place = ((torch.arange(count, device=image.device) + 0.5) * known / count - 0.5).clamp(0, known - 1)
    low, part = place.floor().long(), place - place.floor()
    wanted = values[..., low] * (1 - part) + values[..., (low + 1).clamp_max(known - 1)] * part  # (B, C, H W)
    order = flat.argsort(dim=2, stable=True)
    return torch.empty_like(flat).scatter_(2, order, wanted.to(flat)).reshape(image.shape)


def match_all(image: Tensor, sample: Tensor) -> Tensor:
    """`match_colours`, then `match_histogram`: histograms alone would leave the copy of a grey sample coloured."""
    return match_histogram(match_colours(image, sample), sample)


def match_colours(image: Tensor, sample: Tensor) -> Tensor:
    """image with the mean colour and the covariance of colours of sample: an affine map of its colours, not clipped.

    Gatys et al. 2016, arXiv:1606.05897, section 3.2, with symmetric square roots.
    """
    matrix, shift = colour_map(image.flatten(2), sample.flatten(2))
    return (matrix @ image.flatten(2) + shift).reshape(image.shape)


def colour_map(colours: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """matrix (B, C, C) and shift (B, C, 1): matrix @ colours + shift has mean and covariance of `wanted`.

    colours (B, C, N), wanted (B, C, M). The matrix is a product of symmetric square roots.
    Hertzmann et al. 2001, doi:10.1145/383259.383295.
    """
    mean, covariance = _statistics(colours)
    other_mean, other_covariance = _statistics(wanted)
    matrix = _power(other_covariance, 0.5) @ _power(covariance, -0.5)
    return matrix, other_mean - matrix @ mean


def match_brightness(image: Tensor, sample: Tensor) -> Tensor:
    """The brightness of image with the colour of sample (of the same size), not clipped.

    Y of one, U and V of the other. A picture with one channel comes back as it is. Gatys et al. 2016,
    arXiv:1606.05897, section 3.1.
    """
    if image.shape[1] != 3:
        return image
    # Y is the same mixture in every channel: adding its difference moves no chroma.
    return sample + _luma(image) - _luma(sample)


def unmatched(image: Tensor, sample: Tensor) -> Tensor:
    """image itself."""
    return image


MATCHES: Mapping[str, Match] = {
    "none": unmatched,
    "histogram": match_all,
    "statistics": match_colours,
}


def match_named(name: str, *allowed: str) -> Match:
    """Raises ConfigError for a word that is not among `allowed`."""
    if name not in allowed:
        raise ConfigError(f"colours must be one of {', '.join(allowed)}, got {name!r}")
    return MATCHES[name]


def _luma(image: Tensor) -> Tensor:
    weights = image.new_tensor([0.299, 0.587, 0.114])  # ITU-R BT.601
    return torch.einsum("bchw,c->bhw", image, weights)[:, None]


def _statistics(colours: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (B, C, 1) and covariance (B, C, C) of colours (B, C, N)."""
    mean = colours.mean(2, keepdim=True)
    centred = colours - mean
    return mean, centred @ centred.transpose(1, 2) / colours.shape[2]


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """The symmetric power of positive matrices (B, C, C)."""
    values, vectors = torch.linalg.eigh(matrix)
    power: Tensor = vectors @ torch.diag_embed(values.clamp_min(_LEAST).pow(exponent)) @ vectors.transpose(1, 2)
    return power

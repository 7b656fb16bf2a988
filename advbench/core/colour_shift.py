"""ColorShift: brightness and contrast of each colour drawn anew at each look. Ghiasi et al. 2022, arXiv:2201.12961."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from advbench.core.draws import Counter, Draws
from advbench.core.transforms import View


class Shift(NamedTuple):
    """mean and deviation (A, C, 1, 1): a shifted image is (z - mean) / deviation."""

    mean: Tensor
    deviation: Tensor


def drawn_shift(z: Tensor, draws: Draws, counter: Counter, spread: float = 1.0) -> Shift:
    """For each sample and channel of z (A, C, H, W): mean uniform in [-spread, spread], log deviation likewise."""
    size = (z.shape[1], 1, 1)
    mean = spread * (2.0 * draws.uniform(size, "colour mean", counter) - 1.0)
    deviation = (spread * (2.0 * draws.uniform(size, "colour deviation", counter) - 1.0)).exp()
    return Shift(mean.to(z), deviation.to(z))


def shifted(z: Tensor, shift: Shift) -> Tensor:
    return (z - shift.mean) / shift.deviation


def unshifted(z: Tensor, shift: Shift) -> Tensor:
    """The image that `shifted` made z of."""
    return z * shift.deviation + shift.mean


def colour_shift(spread: float = 1.0) -> View:
    """The view. It acts on pixels: what the network subtracts and divides by comes after it. spread 0: the identity."""
    return lambda z, draws, counter: shifted(z, drawn_shift(z, draws, counter, spread))

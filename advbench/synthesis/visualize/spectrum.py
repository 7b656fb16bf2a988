"""Images whose spectrum has the magnitudes of photographs: only the phases are free."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from advbench.core.parameterisations import Parameterisation, correlate_colours, decorrelate_colours, sigmoid

_EDGE = 0.02  # a black pixel would be infinitely far in logits


def natural_spectrum(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Mean magnitudes (C, H, W // 2 + 1) over images (N, C, h, w) in [0, 1], resized to `shape`.

    Of their logits in uncorrelated colours; the energy of each channel is the mean energy of the images.
    """
    sized = functional.interpolate(images, size=shape[1:], mode="bilinear", align_corners=False, antialias=True)
    field = decorrelate_colours(sigmoid().encode(sized.clamp(_EDGE, 1.0 - _EDGE)))
    magnitude = torch.fft.rfft2(field, norm="ortho").abs()
    mean, energy = magnitude.mean(0), magnitude.square().mean(0)
    ratio = energy.sum((1, 2)) / mean.square().sum((1, 2)).clamp_min(torch.finfo(mean.dtype).tiny)
    template: Tensor = mean * ratio.sqrt()[:, None, None]
    return template


def falling_spectrum(shape: tuple[int, int, int], contrast: float = 1.0) -> Tensor:
    """Magnitudes (C, H, W // 2 + 1) that fall as 1 / frequency, for who has no images; `contrast` in logits."""
    down = torch.fft.fftfreq(shape[1])[:, None]
    across = torch.fft.rfftfreq(shape[2])
    frequency = torch.hypot(down, across)
    plane = torch.where(frequency > 0, 1.0 / frequency.clamp_min(1.0 / max(shape[1:])), 0.0)
    twice = torch.full((len(across),), 2.0)  # all but the first and the highest even column stand for two
    twice[0] = 1.0
    if shape[2] % 2 == 0:
        twice[-1] = 1.0
    deviation = ((plane.square() * twice).sum() / (shape[1] * shape[2])).sqrt()
    return (contrast * plane / deviation).expand(shape[0], -1, -1).clone()


def phases(magnitude: Tensor, shape: tuple[int, int, int]) -> Parameterisation:
    """z (B, C, H, W // 2 + 1), radians, of images of `shape` in [0, 1] with these magnitudes before colours are mixed.

    The mean of the field is 0, a picture as bright as it is dark. encode keeps an image's phases and forgets its
    magnitudes. Fel et al. 2023, arXiv:2306.06805.
    """
    free = magnitude.clone()
    free[:, 0, 0] = 0.0

    def encode(image: Tensor) -> Tensor:
        angle: Tensor = torch.fft.rfft2(decorrelate_colours(sigmoid().encode(image)), norm="ortho").angle()
        return angle

    def decode(z: Tensor) -> Tensor:
        return sigmoid().decode(correlate_colours(phase_field(z, free.to(z), shape)))

    return Parameterisation(encode, decode)


def phase_field(z: Tensor, magnitude: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The real field (B, C, H, W) with phases z and exactly these magnitudes (C, H, W // 2 + 1) at every frequency."""
    spectrum = torch.polar(magnitude.expand_as(z).contiguous(), _of_a_real_field(z, shape[2]))
    field: Tensor = torch.fft.irfft2(spectrum, s=shape[1:], norm="ortho")
    return field


def _of_a_real_field(z: Tensor, width: int) -> Tensor:
    """Phases whose columns of frequency 0 and of the highest even frequency are odd, as a real field has them.

    Without it their magnitudes would come out smaller.
    """
    mirrored = z.flip(-2).roll(1, -2)  # row -k
    odd = 0.5 * (z - mirrored)
    own = torch.zeros(z.shape[-1], dtype=torch.bool, device=z.device)
    own[0] = True
    if width % 2 == 0:
        own[-1] = True
    return torch.where(own, odd, z)

"""The 15 corruptions by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from advbench.attacks.physical.corruption.blur import defocus_blur, glass_blur, motion_blur, zoom_blur
from advbench.attacks.physical.corruption.digital import contrast, elastic_transform, pixelate
from advbench.attacks.physical.corruption.jpeg import jpeg_compression
from advbench.attacks.physical.corruption.noise import gaussian_noise, impulse_noise, shot_noise
from advbench.attacks.physical.corruption.severities import Constants, constants
from advbench.attacks.physical.corruption.weather import brightness, fog, frost, snow
from advbench.core.draws import Draws

_FUNCTIONS: tuple[Callable[[Tensor, Draws, Constants], Tensor], ...] = (
    gaussian_noise,
    shot_noise,
    impulse_noise,
    defocus_blur,
    glass_blur,
    motion_blur,
    zoom_blur,
    snow,
    frost,
    fog,
    brightness,
    contrast,
    elastic_transform,
    pixelate,
    jpeg_compression,
)
KINDS = {function.__name__: function for function in _FUNCTIONS}


def corrupt(image: Tensor, draws: Draws, kind: str, severity: int) -> Tensor:
    """image (A, C, H, W) in [0, 1] corrupted as `kind` says, in [0, 1]; severity in 1 .. 5."""
    numbers = constants(kind, severity, min(image.shape[2:]))
    return KINDS[kind](image, draws.branch(kind), numbers).clamp(0.0, 1.0)

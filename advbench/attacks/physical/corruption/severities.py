"""The published constants of each corruption and severity, for ImageNet at 224 pixels and for CIFAR at 32.

Taken from the tables that Hendrycks and Dietterich published with arXiv:1903.12261 (github.com/hendrycks/robustness).
"""

from __future__ import annotations

import math

Constants = tuple[float, ...]
Five = tuple[Constants, Constants, Constants, Constants, Constants]  # severity 1 .. 5

_SMALL, _LARGE = 32, 224  # shorter side of the image, in pixels

# kind -> (at 224 pixels, at 32 pixels)
TABLES: dict[str, tuple[Five, Five]] = {
    # standard deviation
    "gaussian_noise": (((0.08,), (0.12,), (0.18,), (0.26,), (0.38,)), ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,))),
    # photons at white
    "shot_noise": (((60,), (25,), (12,), (5,), (3,)), ((500,), (250,), (100,), (75,), (50,))),
    # share of components replaced
    "impulse_noise": (((0.03,), (0.06,), (0.09,), (0.17,), (0.27,)), ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,))),
    # radius of the disc, deviation that softens its edge
    "defocus_blur": (
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    ),
    # deviation of the blur, largest displacement, rounds
    "glass_blur": (
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    ),
    # reach, deviation
    "motion_blur": (
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    ),
    # largest zoom, step from 1
    "zoom_blur": (
        ((1.10, 0.01), (1.15, 0.01), (1.20, 0.02), (1.25, 0.02), (1.30, 0.03)),
        ((1.05, 0.01), (1.10, 0.01), (1.15, 0.01), (1.20, 0.01), (1.25, 0.01)),
    ),
    # mean and deviation of the flakes, zoom, threshold, reach and deviation of their fall, share of the image kept
    "snow": (
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    # weight of the image, weight of the frost
    "frost": (
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    ),
    # weight of the fog, how fast its details get fainter
    "fog": (
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    ),
    # added to the value
    "brightness": (((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)), ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,))),
    # factor about the mean
    "contrast": (((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)), ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,))),
    # length and smoothness of the displacements, shift of the corners
    "elastic_transform": (
        ((488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88)),
        ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
    ),
    # share of the resolution kept
    "pixelate": (((0.6,), (0.5,), (0.4,), (0.3,), (0.25,)), ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,))),
    # quality
    "jpeg_compression": (((25,), (18,), (15,), (10,), (7,)), ((80,), (65,), (58,), (50,), (40,))),
}


def constants(kind: str, severity: int, side: int) -> Constants:
    """The constants of `kind` at a severity in 1 .. 5 for images whose shorter side has `side` pixels.

    Up to 32 pixels those for 32, from 224 on those for 224; in between each moves evenly with the logarithm of `side`.
    """
    large, small = (table[severity - 1] for table in TABLES[kind])
    share = math.log(min(max(side, _SMALL), _LARGE) / _SMALL) / math.log(_LARGE / _SMALL)
    return tuple((1.0 - share) * a + share * b for a, b in zip(small, large, strict=True))

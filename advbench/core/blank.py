"""What is shown where an image is hidden: grey, its own mean colour, or a blurred copy of it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from advbench.core.draws import Draws
from advbench.core.transforms import blur
from advbench.types import ConfigError

_KINDS = ("mean", "blur")


def check_blank(kind: float | str, method: str) -> None:
    """Raises ConfigError, in the name of `method`, unless `kind` is a finite number, "mean" or "blur"."""
    fits = kind in _KINDS if isinstance(kind, str) else math.isfinite(kind)
    if not fits:
        raise ConfigError(f"{method}: the baseline is a number in input units, 'mean' or 'blur', got {kind!r}")


def blank(x: Tensor, kind: float | str, sigma: float) -> Tensor:
    """What hides x (B, C, H, W): like x; depends on each sample alone.

    kind: a number in input units (0.5 is grey for images in [0, 1]; what the network is trained to see as zero is the
    mean colour of its data, not black), "mean" (the image's own mean of each channel) or "blur" (a Gaussian of standard
    deviation `sigma` pixels, at most a quarter of the longer side). Raises ConfigError for any other text.
    """
    check_blank(kind, "blank")
    if kind == "mean":
        return x.detach().mean((2, 3), keepdim=True).expand_as(x).contiguous()
    if kind == "blur":
        # A wider kernel than that reaches across the image everywhere and only costs time.
        widest = max(x.shape[2:]) / 4.0
        return blur(min(sigma, widest))(x.detach(), Draws(0, torch.arange(len(x))), 0)
    return torch.full_like(x.detach(), float(kind))

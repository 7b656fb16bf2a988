"""How strong a map is at each pixel: one number to rank pixels by, for maps of one and of several channels."""

from __future__ import annotations

from torch import Tensor


def pixel_strength(heat: Tensor) -> Tensor:
    """(B, 1, H, W) of heat (B, C, H, W): a map of one channel as it stands, of several their absolute values added up.

    A map of one channel (occlusion, class activation) ranks what speaks for the score before what speaks against it. In
    a map of several the channels of a pixel often differ in sign, and their sum would hide what a change of it does.
    """
    return heat if heat.shape[1] == 1 else heat.abs().sum(1, keepdim=True)

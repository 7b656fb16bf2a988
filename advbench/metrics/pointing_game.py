"""Pointing game: does the map's largest value lie on the object? Zhang et al. 2016, arXiv:1608.00507, section 4.2."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def pointing_game(heat: Tensor, mask: Tensor, *, tolerance: int = 15) -> Tensor:
    """(B,) float64: 1 if the largest value of heat (B, C, H, W), channels summed, is on the mask (B, H, W), else 0.

    mask: bool, the object's pixels. A point that is at most `tolerance` pixels away from the object counts as on it (15
    in the paper, for images of some hundred pixels). Several equal largest values share: the result is the part of them
    that hits, so a constant map scores what a random point would. nan where the mask is empty: there is no object to
    point at. Raises ValueError for shapes that do not fit or tolerance < 0.
    """
    check_mask(heat, mask)
    if tolerance < 0:
        raise ValueError(f"tolerance must not be negative, got {tolerance}")
    value = heat.detach().double().sum(1)  # (B, H, W)
    largest = value == value.amax((1, 2), keepdim=True)
    near = _within(mask, tolerance)
    share = (largest & near).sum((1, 2)).double() / largest.sum((1, 2)).clamp_min(1)
    return torch.where(mask.any(2).any(1), share, torch.nan)


def pointing_accuracy(hits: Tensor, labels: Tensor) -> float:
    """Mean over the classes of the mean of hits (B,) within each class of labels (B,); nan hits are left out.

    The mean over classes, as in the paper, so that a frequent class does not decide. nan if no hit is a number.
    """
    counted = ~hits.isnan()
    rates = [hits[counted & (labels == label)].mean() for label in torch.unique(labels[counted])]
    return float(torch.stack(rates).mean()) if rates else float("nan")


def check_mask(heat: Tensor, mask: Tensor) -> None:
    """Raises ValueError unless mask is (B, H, W) bool for maps (B, C, H, W)."""
    if mask.shape != (len(heat), *heat.shape[2:]) or mask.dtype != torch.bool:
        raise ValueError(f"mask must be bool {(len(heat), *heat.shape[2:])}, got {mask.dtype} {tuple(mask.shape)}")


def _within(mask: Tensor, radius: int) -> Tensor:
    """(B, H, W) bool: pixels whose centre is at most `radius` from that of a pixel of the mask."""
    place = torch.arange(-radius, radius + 1, device=mask.device)
    disc = (place[:, None].square() + place.square() <= radius**2).float()
    touched = functional.conv2d(mask[:, None].float(), disc[None, None], padding=radius)
    return touched[:, 0] > 0.5

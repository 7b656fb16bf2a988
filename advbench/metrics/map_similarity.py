"""How alike two heat maps of the same image are: shared top places, rank correlation, structure, centre of mass.

All take two batches of maps of the same shape (B, C, H, W), C being 1 or the image's channels, and return (B,) in the
maps' dtype. Values are compared as they stand: sum the channels first to compare pixels, take absolute values first to
compare strengths without signs. Only `centre_shift` does both itself. A level map (a CAM whose ReLU left nothing) has
no order: what compares orders is nan there, because ties would pass for agreement. Ghorbani et al. 2019,
arXiv:1710.10547, section 3 (top-k, rank correlation, centre); Adebayo et al. 2018, arXiv:1810.03292, section 3.1 (rank
correlation, SSIM).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_WINDOW, _SPREAD = 11, 1.5  # pixels; Wang et al. 2004, doi:10.1109/TIP.2003.819861, section III.B
_K1, _K2 = 0.01, 0.03  # the same, section III.B
_LEVEL = 1e-5  # of the largest magnitude: enlarging a level map in float32 (bicubic) leaves differences up to 2.3e-6


def varies(heat: Tensor) -> Tensor:
    """(B,) bool: do the values of a map (B, C, H, W) differ by more than rounding? False for a level, or blank, map."""
    flat = heat.flatten(1)
    if not flat.numel():
        return torch.zeros(len(heat), dtype=torch.bool, device=heat.device)
    return flat.amax(1) - flat.amin(1) > _LEVEL * flat.abs().amax(1)


def top_k_overlap(a: Tensor, b: Tensor, k: int) -> Tensor:
    """Share in [0, 1] of the k largest values of a whose places are also among the k largest of b.

    Where values are equal the first place counts as larger; nan where a or b is level. Raises ValueError unless
    1 <= k <= C H W.
    """
    _check(a, b)
    places = a[0].numel() if len(a) else k
    if not 1 <= k <= places:
        raise ValueError(f"top_k_overlap: k must be in 1 .. {places}, got {k}")
    shared = (_top(a, k) & _top(b, k)).sum(1).to(a.dtype) / k
    return shared.where(varies(a) & varies(b), torch.nan)


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's coefficient in [-1, 1] over all values; equal values share their mean rank.

    nan where a or b is level: it has no order that could agree.
    """
    _check(a, b)
    first, second = _centred_ranks(a), _centred_ranks(b)
    length = (first.square().sum(1) * second.square().sum(1)).sqrt()
    found = (first * second).sum(1) / torch.where(length > 0, length, 1.0)
    return found.to(a.dtype).where(varies(a) & varies(b), torch.nan)


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM in [-1, 1], over the windows that fit into the map and over the channels; 1 for equal maps.

    Gaussian window of 11 pixels, standard deviation 1.5 (smaller maps: the largest odd window that fits). The range of
    values that the two constants refer to is that of both maps of the sample together, so the result does not change if
    one number is added to both or both are scaled; maps of different scale must be brought to one scale before.
    """
    _check(a, b)
    if not a.numel():
        return a.new_ones(len(a))
    both = torch.stack([a, b]).double()  # (2, B, C, H, W)
    low, high = both.amin((0, 2, 3, 4), keepdim=True), both.amax((0, 2, 3, 4), keepdim=True)
    unit = (both - low) / torch.where(high > low, high - low, 1.0)
    mean = _blurred(unit)
    moments = _blurred(torch.stack([unit[0].square(), unit[1].square(), unit[0] * unit[1]]))
    spread_a, spread_b = moments[0] - mean[0].square(), moments[1] - mean[1].square()
    shared = moments[2] - mean[0] * mean[1]
    light = (2 * mean[0] * mean[1] + _K1**2) / (mean[0].square() + mean[1].square() + _K1**2)
    pattern = (2 * shared + _K2**2) / (spread_a + spread_b + _K2**2)
    return (light * pattern).mean((1, 2, 3)).to(a.dtype)


def centre_shift(a: Tensor, b: Tensor) -> Tensor:
    """Distance in pixels between the centres of mass of |a| and |b|, channels summed.

    The centre of a map that is zero everywhere is the middle of the image.
    """
    _check(a, b)
    return (_centre(a) - _centre(b)).square().sum(1).sqrt().to(a.dtype)


def _check(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape or a.dim() != 4:
        raise ValueError(f"two maps (B, C, H, W) of one shape, got {tuple(a.shape)} and {tuple(b.shape)}")


def _top(heat: Tensor, k: int) -> Tensor:
    """(B, C H W) bool: the k largest. A stable sort, so that ties do not depend on the batch or the device."""
    flat = heat.flatten(1)
    largest = flat.argsort(stable=True, dim=1, descending=True)[:, :k]
    return torch.zeros_like(flat, dtype=torch.bool).scatter(1, largest, True)


def _centred_ranks(heat: Tensor) -> Tensor:
    """(B, N) float64: rank of each value, equal ones at their mean rank, minus the mean of all ranks."""
    flat = heat.flatten(1)
    ordered, order = flat.sort(1)
    group = functional.pad((ordered[:, 1:] != ordered[:, :-1]).long().cumsum(1), (1, 0))[:, : flat.shape[1]]
    size = torch.zeros_like(group).scatter_add(1, group, torch.ones_like(group))
    last = size.cumsum(1)
    rank = last.gather(1, group).double() - (size.gather(1, group).double() + 1.0) / 2.0
    return torch.zeros_like(rank).scatter(1, order, rank - (flat.shape[1] - 1) / 2.0)


def _blurred(maps: Tensor) -> Tensor:
    """Gaussian means over all windows that fit: (N, B, C, H, W) -> (N, B, C, H', W')."""
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    for dim, side in ((2, maps.shape[-2]), (3, maps.shape[-1])):
        size = min(_WINDOW, side if side % 2 else side - 1)
        place = torch.arange(size, device=maps.device, dtype=maps.dtype) - (size - 1) / 2
        kernel = torch.exp(-0.5 * (place / _SPREAD).square())
        shape = (1, 1, size, 1) if dim == 2 else (1, 1, 1, size)
        flat = functional.conv2d(flat, (kernel / kernel.sum()).reshape(shape))
    return flat.reshape(*maps.shape[:-2], *flat.shape[-2:])


def _centre(heat: Tensor) -> Tensor:
    """(B, 2) float64: row and column of the centre of mass of |heat|."""
    mass = heat.double().abs().sum(1)  # (B, H, W)
    mass = torch.where(mass.sum((1, 2), keepdim=True) == 0, 1.0, mass)
    rows = torch.arange(mass.shape[1], device=mass.device, dtype=mass.dtype)
    columns = torch.arange(mass.shape[2], device=mass.device, dtype=mass.dtype)
    moments = torch.stack([(mass.sum(2) * rows).sum(1), (mass.sum(1) * columns).sum(1)], 1)
    return moments / mass.sum((1, 2))[:, None]

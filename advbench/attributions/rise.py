"""RISE: how the score of randomly masked images differs where a pixel shows. Petsiuk et al. 2018, arXiv:1806.07421."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.core.blank import blank, check_blank
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.scoring import all_rows, scores_at, turns
from advbench.core.targets import Explained, as_target
from advbench.registry import attribution
from advbench.types import ConfigError

_DRAWN = 200  # masks drawn at a time: the numbers of a mask do not depend on how many are asked for


@attribution(paper="arXiv:1806.07421")
def rise(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    *,
    draws: Draws | None = None,
    masks: int = 4000,
    grid: int = 8,
    shown: float = 0.5,
    baseline: float | str = 0.5,
) -> Tensor:
    """Map (B, 1, H, W) in units of the score: its mean over the masks that show a pixel, less its mean over all masks.

    A mask counts by how much of the pixel it shows. Equation 6 has no second mean, a constant that no ranking sees;
    with it a pixel that changes nothing has 0, where it would have the score of half an image.

    A mask is a grid x grid lattice of 0 and 1 (1 with probability `shown`), enlarged bilinearly by one cell more than
    the image and cut out at a random shift. The weighted sum is divided by the sum of the weights instead of by its
    expectation: the same in the limit, but a constant score gives no evidence and noise that grows with the size of the
    score falls away.
    masks: 4000 as in the paper for VGG-16 (section 4.1), each one forward pass. grid: cells per side. baseline: what
    hides: a number in input units (0.5: grey, near the mean colour that the paper's networks see as zero), "mean" or
    "blur". Masks come from `draws` (seed 0, samples 0 .. B - 1). Raises ConfigError for parameters out of range.
    """
    if masks < 1 or grid < 1 or not 0.0 < shown < 1.0:
        raise ConfigError(f"rise: needs masks >= 1, grid >= 1, 0 < shown < 1, got {masks}, {grid}, {shown}")
    check_blank(baseline, "rise")
    draws = Draws(0, all_rows(x)) if draws is None else draws
    total, weight = (x.new_zeros(len(x), *x.shape[2:], dtype=torch.float64) for _ in range(2))
    level = x.new_zeros(len(x), dtype=torch.float64)
    with frozen(model):
        target, image = as_target(y), x.detach()
        cover = blank(x, baseline, max(x.shape[2:]) / grid)
        for start in range(0, masks, _DRAWN):
            lattice, shift = _drawn(draws, start // _DRAWN, grid, shown)
            for turn in turns(min(_DRAWN, masks - start), len(x)):
                index = slice(turn.start, turn.stop)
                mask = _enlarged(lattice[:, index].to(x), shift[:, index].to(x), x.shape[2], x.shape[3])  # (B, n, H, W)
                # All samples of one mask, then of the next.
                mixed = torch.cat([torch.lerp(cover, image, mask[:, i : i + 1]) for i in range(len(turn))])
                found = scores_at(model, mixed, target, all_rows(x).repeat(len(turn)))
                score = found.double().reshape(len(turn), len(x)).T  # (B, n)
                total += torch.einsum("bn,bnhw->bhw", score, mask.double())
                weight += mask.double().sum(1)
                level += score.sum(1) / masks
    heat = torch.where(weight > 0, total / torch.where(weight > 0, weight, 1.0) - level[:, None, None], 0.0)
    return heat[:, None].to(x.dtype)


def _drawn(draws: Draws, block: int, grid: int, shown: float) -> tuple[Tensor, Tensor]:
    """Lattices (B, _DRAWN, grid, grid) of 0 and 1 and shifts (B, _DRAWN, 2) in cells, in [0, 1)."""
    lattice = draws.uniform((_DRAWN, grid, grid), "rise lattice", block) < shown
    return lattice, draws.uniform((_DRAWN, 2), "rise shift", block)


def _enlarged(lattice: Tensor, shift: Tensor, height: int, width: int) -> Tensor:
    """Masks (B, n, H, W) in [0, 1]: bilinear between the lattice's centres, flat beyond the outermost."""
    rows, columns = (_weights(lattice.shape[2], size, shift[..., i]) for i, size in enumerate((height, width)))
    return rows @ lattice @ columns.transpose(2, 3)


def _weights(grid: int, size: int, shift: Tensor) -> Tensor:
    """(B, n, size, grid): how much each lattice point counts at each pixel of a side, cut out at `shift` (B, n)."""
    pixel = (torch.arange(size, dtype=shift.dtype, device=shift.device) + 0.5) / size * grid
    # grid lattice points lie under grid + 1 cells, of which the image sees grid.
    place = ((pixel + shift[..., None]) * grid / (grid + 1) - 0.5).clamp(0.0, grid - 1.0)
    point = torch.arange(grid, dtype=shift.dtype, device=shift.device)
    return (1.0 - (place[..., None] - point).abs()).clamp_min(0.0)

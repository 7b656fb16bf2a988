"""Where decision attacks begin: an example far away, brought to the boundary along its way to x."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from advbench.attacks.decision.inquiry import Inquiry
from advbench.core.bisection import bisect, way_towards
from advbench.core.draws import Draws
from advbench.core.marks import mark
from advbench.core.norms import lengths
from advbench.types import ConfigError

TRIES = 100  # random images looked at before a sample is given up


def find_start(
    inquiry: Inquiry, draws: Draws, starts: Tensor | None, *, corners: bool = False, relative: float = 1e-3
) -> None:
    """Look at x, then at `starts` (B, ...) or random images, until each sample has an example; go to the boundary.

    The examples found are inquiry.kept; a sample for which there is none is left where it is, which is said of it (as
    "unstarted"), and the others do not suffer.
    Random images: every component uniform in the box, in turn on grids of cells that grow from one pixel.
    corners: only corners of the box, for a search along rays; the first two are the one above and the one below all
    others, and a given start stands for the corner in its direction. relative: see `to_boundary`.
    Warns (UserWarning) of starts that are no examples. Raises ConfigError unless starts has the shape of x and lies in
    the box.
    """
    x, threat = inquiry.x, inquiry.threat
    rows = torch.arange(len(x), device=x.device)
    inquiry.look(x, rows)
    if starts is not None:
        if starts.shape != x.shape or bool(((starts < threat.low) | (starts > threat.high)).any()):
            raise ConfigError(f"starts must be images {tuple(x.shape)} in the box, got {tuple(starts.shape)}")
        rows = rows[~inquiry.kept.reached]
        given = starts[rows].to(x)
        given = torch.where(given >= x[rows], threat.high, threat.low).to(x) if corners else given
        if missed := int((~inquiry.look(given, rows)).sum()):
            which = "corners that the images in starts lie towards" if corners else "images in starts"
            warnings.warn(
                f"{missed} of the {len(rows)} {which} do not meet the goal: random ones are tried in their place",
                UserWarning,
                stacklevel=2,
            )
    for turn in range(TRIES):
        rows = rows[~inquiry.kept.reached[rows]]
        if not len(rows):
            break
        noise = _cells(draws.rows(rows), tuple(x.shape[1:]), turn).to(x)
        if corners:
            noise = torch.full_like(noise, 1.0 - turn) if turn < 2 else noise.round()
        inquiry.look(threat.low + (threat.high - threat.low) * noise, rows)
    mark("unstarted", rows[~inquiry.kept.reached[rows]])
    rows = inquiry.at_work()
    to_boundary(inquiry, inquiry.kept.z[rows], rows, relative)


def to_boundary(inquiry: Inquiry, z: Tensor, rows: Tensor, relative: float) -> Tensor:
    """The points (A, ...) where the way from x to the examples z (A, ...) of `rows` enters the goal's region.

    relative: how fine, as a part of their distance.
    """
    x, norm = inquiry.x[rows], inquiry.threat.norm
    distance = lengths(z - x, norm)
    way = way_towards(z, x, norm)
    t = bisect(inquiry.look, way, rows, low=torch.zeros_like(distance), high=distance, relative=relative)
    return way(t, torch.arange(len(rows), device=rows.device))


def _cells(draws: Draws, shape: tuple[int, ...], turn: int) -> Tensor:
    """Noise (B, *shape) in [0, 1) in square cells of 1 pixel at first, then 2, 4, ... up to half the image, 1 again."""
    height, width = shape[-2:]
    side = 1 << turn % max(min(height, width).bit_length() - 1, 1)
    coarse = draws.uniform((*shape[:-2], -(-height // side), -(-width // side)), "start", turn)
    fine = coarse.repeat_interleave(side, -2).repeat_interleave(side, -1)
    return fine[..., :height, :width]

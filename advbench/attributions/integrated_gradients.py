"""Integrated gradients: the change of the score along a path, split over the pixels. arXiv:1703.01365."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.attributions.cheaper import cheaper, entry_of
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.quadrature import gauss_legendre
from advbench.core.scoring import all_rows, fitting_piece, scores_at, turns
from advbench.core.summed_gradient import summed_gradient
from advbench.core.targets import Explained, Target, as_target
from advbench.core.transforms import blur
from advbench.registry import attribution
from advbench.types import ConfigError

_BLUR = 22.4  # the shorter side over the blur's standard deviation: 10 pixels at 224, as in arXiv:1704.03296
_ROUNDING = 1e-5  # of the scores: a gap below this is float32's


@attribution(paper="arXiv:1703.01365", complete=True)
def integrated_gradients(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    *,
    draws: Draws | None = None,
    baseline: float | str | Tensor | Sequence[float | str | Tensor] = 0.0,
    nodes: int = 32,
    most: int = 512,
    tolerance: float = 0.01,
) -> Tensor:
    """(x - x') times the mean gradient of the score of y on the straight line from x' to x: (B, C, H, W), signed.

    In units of the score; the map of a sample sums to the score at x minus that at the baseline x'. The mean is a
    Gauss-Legendre quadrature with `nodes` gradients (the paper: 20 to 300). Samples whose sum is off by more than
    `tolerance` times that difference get twice as many, up to `most`, and keep the map with the smaller gap; most =
    nodes does without (a network of ReLUs may need hundreds, since its gradient jumps).

    baseline: where the path starts. A pixel value for all of the image (0: black); "blur", x blurred with a standard
    deviation of a 22.4th of its shorter side; an image (C, H, W), or one for each sample (B, C, H, W), which makes the
    path from a clean image to its adversarial one split the attack's effect over the pixels it changed; or several of
    these in a sequence, whose maps are averaged (the sum is then against the mean of their scores). A pixel that equals
    its baseline gets 0, however much it matters. y: classes (B,), meaning raw scores, or any target. All zero for a
    SqueezeNet class whose last ReLU stays closed along the path. `draws` is not used.

    Raises ConfigError if nodes < 1, most < nodes, tolerance is not positive, or a baseline fits no image.
    """
    if nodes < 1 or most < nodes or not tolerance > 0:
        raise ConfigError(
            "integrated_gradients: nodes must be at least 1, most at least nodes and tolerance positive, "
            f"got nodes={nodes}, most={most}, tolerance={tolerance:g}"
        )
    target, x = as_target(y), x.detach()
    starts = list(_starts(baseline, x))
    heat = torch.zeros_like(x)
    net = cheaper(model, x, target, nodes * len(starts))
    entry = entry_of(net, model)
    with torch.no_grad(), frozen(net):
        for start in starts:
            heat += _until_complete(_Path(net, x, start, target, entry), nodes, most, tolerance)
    return heat / len(starts)


class _Path(NamedTuple):
    """From `start` to x, both (B, C, H, W)."""

    model: nn.Module
    x: Tensor
    start: Tensor
    target: Target
    entry: str | None


def _until_complete(path: _Path, nodes: int, most: int, tolerance: float) -> Tensor:
    rows = all_rows(path.x)
    if 2 * nodes > most:
        return _along(path, rows, nodes)
    first, last = (scores_at(path.model, z, path.target, rows) for z in (path.start, path.x))
    change = last - first  # (B,)
    allowed = tolerance * change.abs() + _ROUNDING * (last.abs() + first.abs())
    heat, gap = torch.zeros_like(path.x), torch.full_like(change, torch.inf)
    while len(rows) and nodes <= most:
        found = _along(path, rows, nodes)
        new = (found.flatten(1).sum(1) - change[rows]).abs()
        better = new < gap[rows]
        heat[rows[better]], gap[rows[better]] = found[better], new[better]
        rows, nodes = rows[gap[rows] > allowed[rows]], 2 * nodes
    return heat


def _along(path: _Path, rows: Tensor, nodes: int) -> Tensor:
    """The quadrature (A, C, H, W) with so many nodes for the samples `rows` (A,)."""
    parts = torch.split(rows, fitting_piece(path.x) or max(len(rows), 1))
    return torch.cat([_piece_along(path, part, nodes) for part in parts])


def _piece_along(path: _Path, rows: Tensor, nodes: int) -> Tensor:
    start = path.start[rows]
    way = path.x[rows] - start
    places, weights = gauss_legendre(nodes, start)
    variants = (
        (start + places[turn.start : turn.stop].reshape(-1, 1, 1, 1, 1) * way, weights[turn.start : turn.stop])
        for turn in turns(nodes, len(rows), fitting_piece(start))
    )
    return summed_gradient(path.model, path.target, rows, variants, path.entry) * way


def _starts(baseline: float | str | Tensor | Sequence[float | str | Tensor], x: Tensor) -> Iterator[Tensor]:
    """Each baseline as images like x (B, C, H, W)."""
    if isinstance(baseline, Sequence) and not isinstance(baseline, str):
        if not len(baseline):
            raise ConfigError("integrated_gradients: the sequence of baselines is empty")
        for each in baseline:
            yield from _starts(each, x)
    elif isinstance(baseline, Tensor):
        given = baseline.detach().to(x)
        if given.shape not in {x.shape, x.shape[1:], (1, *x.shape[1:]), torch.Size([])}:
            raise ConfigError(
                f"integrated_gradients: a baseline must be {tuple(x.shape)} or {tuple(x.shape[1:])}, "
                f"got {tuple(given.shape)}"
            )
        yield given.expand_as(x)
    elif isinstance(baseline, str):
        if baseline != "blur":
            raise ConfigError(
                f"integrated_gradients: baseline must be a pixel value, 'blur', images or several of these, "
                f"got {baseline!r}"
            )
        sides = min(x.shape[2:])
        yield blur(sides / _BLUR)(x, Draws(0, all_rows(x)), 0)
    else:
        yield torch.full_like(x, float(baseline))

"""Expected gradients: a path from a random baseline for each gradient. Erion et al. 2021, arXiv:1906.10670."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attributions.cheaper import cheaper
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.scoring import all_rows, fitting_piece, score_gradient, turns
from advbench.core.targets import Explained, as_target
from advbench.registry import attribution
from advbench.types import ConfigError


@attribution(paper="arXiv:1906.10670")
def expected_gradients(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    *,
    draws: Draws | None = None,
    references: Tensor | None = None,
    samples: int = 20,
) -> Tensor:
    """Mean of (x - x') times the gradient of the score of y at x' + a (x - x'): (B, C, H, W), signed, in score units.

    x' is drawn anew for each of `samples` gradients: one of `references` (R, C, H, W), such as training images, or else
    uniform noise in [0, 1]; a is uniform in [0, 1], one in each of `samples` equal parts of it, which keeps the mean
    and lowers the scatter. No single baseline decides what counts as absent, but the map is an estimate: its sum is the
    score at x minus the mean score of the baselines only in expectation, with a standard error that falls like 1 /
    sqrt(samples) and is about a tenth of that difference at 20 samples of noise; `integrated_gradients` with several
    baselines is complete. y: classes (B,), meaning raw scores, or any target.

    draws: a sample's baselines do not depend on the batch; without draws those of seed 0. Raises ConfigError if
    samples < 1 or the references are none or have another shape than the images.
    """
    if samples < 1:
        raise ConfigError(f"expected_gradients: samples must be at least 1, got {samples}")
    if references is not None and (not len(references) or references.shape[1:] != x.shape[1:]):
        raise ConfigError(
            f"expected_gradients: references must be images {tuple(x.shape[1:])}, got {tuple(references.shape)}"
        )
    target, x, rows = as_target(y), x.detach(), all_rows(x)
    source = Draws(0, rows) if draws is None else draws
    known = None if references is None else references.detach().to(x)
    total = torch.zeros_like(x)
    net = cheaper(model, x, target, samples)
    with torch.no_grad(), frozen(net):
        for turn in turns(samples, len(x), fitting_piece(x)):
            start = torch.stack([_baseline(source, known, x, k) for k in turn])  # (turn, B, C, H, W)
            inside = torch.stack([source.uniform((1, 1, 1), "place", k).to(x) for k in turn])
            part = torch.tensor(list(turn), device=x.device, dtype=x.dtype).reshape(-1, 1, 1, 1, 1)
            way = x - start
            z = torch.addcmul(start, (part + inside) / samples, way)
            grad = score_gradient(net, z.flatten(0, 1), target, rows.repeat(len(turn)))[1]
            total += way.mul_(grad.reshape(z.shape)).sum(0)
    return total / samples


def _baseline(source: Draws, references: Tensor | None, x: Tensor, turn: int) -> Tensor:
    if references is None:
        return source.uniform(tuple(x.shape[1:]), "baseline", turn).to(x)
    return references[source.integers(len(references), (), "reference", turn)]

"""Virtual adversarial direction: where the prediction changes most. Miyato et al. 2018, arXiv:1704.03976."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.core.draws import Draws
from advbench.core.gradients import backprop, evaluate, frozen, logits_at
from advbench.core.keep import keep_better, keep_strongest, nothing_kept
from advbench.core.losses import kl
from advbench.core.norms import lengths, per_sample
from advbench.core.projections import within
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel


@attack(norms=(2,), access="gradient", paper="arXiv:1704.03976", cost=(13, 10))
def vat(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    iterations: int = 10,
    xi: float = 0.1,
) -> Tensor:
    """x_adv: x moved by eps along the direction, or against it, in which the output distribution changes most.

    The direction is the top eigenvector of the second derivative of the Kullback-Leibler divergence at x, by power
    iteration from a random one: d becomes the gradient of the divergence at x + xi d, normalised. Of its two signs the
    one that fools the model is taken, else the one of larger divergence. Labels y (B,) only say what an error is.
    iterations: the paper has 1, for training; an attack can afford more. xi: length of the probe in input units. The
    paper's 1e-6 is lost in the rounding of float32.
    Raises ConfigError if threat.eps is None, iterations < 1 or xi is not positive.
    """
    eps, probe = threat.radius, positive("xi", xi)
    rows, kept = torch.arange(len(x), device=x.device), nothing_kept(x)
    with frozen(model):
        logits = logits_at(model, x, rows)

        def objective(z: Tensor, at: Tensor) -> Evaluation:
            now = model(z)
            return Evaluation(-kl(logits[at], now), now.argmax(1) != y[at])

        wrong = Evaluation(torch.zeros_like(logits[:, 0]), logits.argmax(1) != y)
        kept = keep_better(kept, x, wrong, rows, keep_strongest)
        rows = rows[~wrong.reached]  # what is wrong already needs no attack
        d = _unit(draws.rows(rows).normal(tuple(x.shape[1:]), "direction"))
        for _ in range(at_least_one("iterations", iterations)):
            grad = backprop(objective, x[rows] + probe * d, rows)[1]
            flat = lengths(grad, 2.0) == 0  # no change in sight: the direction stays
            d = _unit(d * per_sample(flat, d) - grad)
        for sign in (1.0, -1.0):  # the divergence rises about equally both ways: only trying tells
            z = within(threat, x)(x[rows] + sign * eps * d, rows)
            kept = keep_better(kept, z, evaluate(objective, z, rows), rows, keep_strongest)
    return kept.z


def _unit(d: Tensor) -> Tensor:
    return d / per_sample(lengths(d, 2.0).clamp_min(torch.finfo(d.dtype).tiny), d)

"""Distance plus c times a hinge on the margin, in tanh space. Carlini and Wagner 2017, arXiv:1608.04644."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero, positive
from advbench.attacks.minimum_norm.carlini_wagner_l0 import shrink_support
from advbench.attacks.minimum_norm.carlini_wagner_l2 import weigh_length
from advbench.attacks.minimum_norm.carlini_wagner_linf import lower_ceiling
from advbench.attacks.minimum_norm.constant_search import STEPS_BACK, lead
from advbench.attacks.minimum_norm.slide import slide
from advbench.core.draws import Draws
from advbench.core.gradients import evaluate, frozen
from advbench.core.keep import keep_better, keep_nearest, nearest_found, nothing_kept
from advbench.core.objectives import firmly, slack_of
from advbench.core.regula_falsi import pull_back
from advbench.registry import attack
from advbench.types import ThreatModel

_METHODS = {0.0: shrink_support, 2.0: weigh_length, inf: lower_ceiling}


@attack(
    norms=(0, 2, inf), access="gradient", paper="arXiv:1608.04644", minimum_norm=True, ratio=1.05, cost=(9027, 9021)
)
def carlini_wagner(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 1000,
    searches: int = 9,
    step_size: float = 0.01,
    confidence: float = 0.0,
) -> Tensor:
    """The nearest example found to x (B, C, H, W), x itself where there is none.

    l2: Adam on |delta|^2 + c * hinge from x, `searches` times, with a bisection over c for each sample; a run ends when
    a tenth of it gains nothing. linf: the penalty is what sticks out above a ceiling, which comes down with every
    success. l0: every success gives up the components that contribute least. Both go on from where they are and take
    `searches` times `steps` steps at most. Unlike in the paper, a few last passes slide the example along the boundary
    and back towards x.
    steps: of one run (the paper's code takes up to 10,000, other libraries 1,000). searches: runs, section VI-A.
    step_size: of Adam, in tanh space; it shrinks where it is long beside the distance (l2, linf), unlike in the paper.
    confidence: lead of the reached logit over all others. `draws` is not used.
    Raises ConfigError if steps or searches < 1, step_size is not positive or confidence is negative.
    """
    search, rows = _METHODS[threat.norm], torch.arange(len(x), device=x.device)
    fool = lead(model, y, targeted=targeted, confidence=at_least_zero("confidence", confidence))
    runs, length = at_least_one("searches", searches), at_least_one("steps", steps)
    size = positive("step_size", step_size)
    if not len(x) or threat.eps == 0:
        return x.clone()
    with frozen(model):
        clean = evaluate(fool, x, rows)
        fool = firmly(fool, slack_of(clean.loss))
        kept = keep_better(nothing_kept(x), x, clean, rows, keep_nearest(x, threat.norm))
        kept = search(fool, x, threat, kept, steps=length, searches=runs, step_size=size)
        kept = pull_back(fool, x, clean.loss, slide(fool, x, threat, kept), threat=threat, steps=STEPS_BACK)
        return nearest_found(kept, x, threat)

"""Single-step adversarial training from a random start. Wong et al. 2020, arXiv:2001.03994."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.losses import cross_entropy
from advbench.defenses.training.adversarial import worst_case
from advbench.registry import defense
from advbench.types import ThreatModel


@defense(stage="training", paper="arXiv:2001.03994")
def fast_adversarial(
    model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, relative_step: float = 1.25
) -> Tensor:
    """Mean cross entropy on examples one step away from a uniform point of the ball, projected back into it.

    relative_step: length of the step, in units of eps; 1.25 is the paper's. Longer steps or trainings can collapse:
    the net then holds against this step only. The PGD accuracy in the training's curve shows it.
    """
    x_adv = worst_case(model, x, y, threat, draws=draws, steps=1, relative_step=relative_step)
    return cross_entropy(model(x_adv), y).mean()

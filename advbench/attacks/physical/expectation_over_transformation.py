"""Examples that survive being printed and photographed: the mean loss over random views. EOT, arXiv:1707.07397."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero, positive
from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import attending, frozen, labels_at
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.core.step_rules import cosine, steepest
from advbench.core.view_gradient import in_box_of, over_looks
from advbench.core.views import photographed
from advbench.registry import attack
from advbench.types import ConfigError, Evaluation, ThreatModel


@attack(norms=(2, inf), access="gradient", paper="arXiv:1707.07397", cost=(241, 240))
def expectation_over_transformation(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 40,
    views: int = 5,
    samples: int = 1,
    relative_step: float = 5.0,
    rotation: float = 10.0,
    zoom: float = 0.1,
    shift: float = 0.05,
    tilt: float = 0.1,
    light: float = 0.2,
    colour: float = 0.05,
    blur: float = 1.0,
    grain: float = 0.02,
    jpeg: int | None = 50,
) -> Tensor:
    """x_adv after `steps` steps along the gradient of the mean cross entropy of the image and of `views` views of it.

    Each step draws new views. How far they go, each part uniform between minus and plus its value: rotation (degrees),
    zoom and shift (shares of the sides), tilt (perspective), light (brightness and contrast, of 1), colour (of 1 per
    channel), blur (pixels, from 0), grain (sensor noise, a standard deviation), jpeg (the lowest quality; null: none);
    see core.views.photographed. 0 switches a part off. samples: times that each view is shown to the model: for one
    that is random itself, whose gradient is then averaged. Steps are relative_step * eps / steps long at first and
    shrink to nothing along half a cosine. Every sample takes all steps; returned is the last iterate that fooled the
    model in every look of its step, or else the point after the last step, which is not looked at: that step is the
    shortest of all. `view_success` says how often it does in fresh views.
    An image that meets the goal from the start is returned as it is.
    Raises ConfigError if threat.eps is None, steps, views or samples < 1, relative_step <= 0 or a part has no meaning.
    """
    size = positive("relative_step", relative_step) * threat.radius / at_least_one("steps", steps)
    parts = {"rotation": rotation, "zoom": zoom, "shift": shift, "tilt": tilt, "light": light, "colour": colour}
    for name, value in {**parts, "blur": blur, "grain": grain}.items():
        at_least_zero(name, value)
    try:
        view = in_box_of(threat, photographed(**parts, blur=blur, grain=grain, jpeg=jpeg))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    x_adv, everybody = x.clone(), torch.arange(len(x), device=x.device)
    with frozen(model):
        left = ((labels_at(model, x, everybody) == y) != targeted).nonzero()[:, 0]
        looks, repeats = at_least_one("views", views), at_least_one("samples", samples)
        mean = over_looks(view, draws.rows(left), looks=looks, repeats=repeats, itself=True)
        goal = misclassify(model, y[left], targeted=targeted)
        with attending(left):
            x_adv[left] = descend(
                x[left],
                _unseen,
                step=steepest(threat.norm, size, schedule=cosine(1.0, 0.0)),
                steps=steps,
                project=within(threat, x[left]),
                gradient=lambda _, z, rows: mean(goal, z, rows),
                stop=None,
            ).z
    return x_adv


def _unseen(z: Tensor, rows: Tensor) -> Evaluation:
    """What `descend` is told of the point after the last step: no plain look at it outweighs one that passed all."""
    return Evaluation(z.new_zeros(len(z)), torch.zeros_like(rows, dtype=torch.bool))

"""One perturbation for all images. Moosavi-Dezfooli et al. 2017, arXiv:1610.08401; Shafahi et al., arXiv:1811.11304."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.physical.learning_set import LearningSet, Lesson, learning_set
from advbench.core.draws import Draws
from advbench.core.gradients import attending, frozen, logits_at
from advbench.core.losses import margin_loss
from advbench.core.objectives import misclassify
from advbench.core.projections import BALLS, within
from advbench.core.step_rules import cosine, steepest
from advbench.registry import attack
from advbench.types import Evaluation, ThreatModel


@attack(
    norms=(2, inf),
    access="gradient",
    paper="arXiv:1811.11304",
    structured=True,
    together=True,
    cost=(21, 20),
    revision=2,
)
def universal(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    images: Tensor | None = None,
    labels: Tensor | None = None,
    epochs: int = 20,
    batch: int = 20,
    relative_step: float = 1.0,
    clip: float = 5.0,
) -> Tensor:
    """x_adv: x plus one v (1, C, H, W) with |v| <= eps that is the same for all samples, in the box.

    v is learned on `images` (N, C, H, W) with `labels` (N,): what they are to leave (default: the classes that the
    model sees in them), or to reach if `targeted`. Without images it is learned on x, y itself: then the samples of a
    call are attacked together, and a sample's x_adv depends on which others are in the call. A sample that meets its
    goal at x is returned as it is.

    epochs: times that every image is looked at, in parts of `batch`, in an order drawn anew. Each part moves v along
    its summed gradient (linf: the sign) by relative_step * eps, falling to nothing along half a cosine. clip: the lead
    in logits beyond which a fooled image pulls no more, so that it does not outvote the others; the paper clips the
    cross entropy, which fooled fewer images in our measurements.
    Raises ConfigError if threat.eps is None, epochs or batch < 1, a step or clip is not positive, or images and labels
    do not fit.
    """
    size = positive("relative_step", relative_step) * threat.radius
    rounds, part = at_least_one("epochs", epochs), at_least_one("batch", batch)
    limit = positive("clip", clip)
    with frozen(model):
        logits = logits_at(model, x, torch.arange(len(x), device=x.device))
        reached = (logits.argmax(1) == y) == targeted  # (B,)
        left = (~reached).nonzero()[:, 0]
        if not threat.radius or not len(left):
            return x.clone()
        with attending(left):
            own = (x[left], y[left], draws.rows(left))
            source = learning_set(model, own, images, labels, threat=threat, classes=logits.shape[1], targeted=targeted)
            v = _learned(source, _clipped(model, source, threat, targeted, limit), threat, size, (rounds, part))
    return x.index_copy(0, left, within(threat, x)(x[left] + v, left))


def _clipped(model: nn.Module, source: LearningSet, threat: ThreatModel, targeted: bool, clip: float) -> Lesson:
    """The objective of image + v; an image that is fooled by `clip` logits has no slope."""
    inner = misclassify(model, source.labels, targeted=targeted, loss=margin_loss)

    def lesson(v: Tensor, index: Tensor, visit: int) -> Evaluation:
        loss, reached = inner((source.images[index] + v).clamp(threat.low, threat.high), index)
        return Evaluation(loss.clamp_min(-clip), reached)

    return lesson


def _learned(source: LearningSet, lesson: Lesson, threat: ThreatModel, size: float, plan: tuple[int, int]) -> Tensor:
    """v (1, C, H, W) in the ball around 0 after all lessons; plan: epochs and images per lesson."""
    epochs, batch = plan
    step, project = steepest(threat.norm, size, schedule=cosine(1.0, 0.0)), BALLS[threat.norm]
    v = torch.zeros_like(source.images[:1])
    state = step.init(v)
    lessons, done = epochs * -(-len(source.images) // batch), 0
    for epoch in range(epochs):
        for index in source.parts(batch, epoch):
            grad = source.gradient(lesson, v, index, epoch)
            move, state = step.update(grad, state, done / lessons)
            v = project(v + move, threat.radius)
            done += 1
    return v

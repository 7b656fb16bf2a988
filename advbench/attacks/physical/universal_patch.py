"""One round patch for all images, at any place, size and angle. Brown et al. 2017, arXiv:1712.09665."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, positive
from advbench.attacks.physical.learning_set import LearningSet, Lesson, learning_set
from advbench.core.draws import Draws
from advbench.core.gradients import attending, frozen, logits_at
from advbench.core.objectives import misclassify
from advbench.core.projections import within
from advbench.core.step_rules import cosine, steepest
from advbench.core.transforms import warp
from advbench.registry import attack
from advbench.types import ConfigError, Evaluation, ThreatModel

_SHARE = 0.05  # of the image's area, without a radius


@attack(
    norms=(0,),
    access="gradient",
    paper="arXiv:1712.09665",
    unbounded=True,
    structured=True,
    together=True,
    cost=(101, 100),
    revision=2,
)
def universal_patch(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    images: Tensor | None = None,
    labels: Tensor | None = None,
    size: float | None = None,
    degrees: float = 22.5,
    shrink: float = 0.2,
    epochs: int = 100,
    batch: int = 20,
    step_size: float = 0.2,
) -> Tensor:
    """x_adv: x with one and the same disc of pixels pasted over it, turned, scaled and placed anew on every sample.

    The patch is learned on `images` (N, C, H, W) with `labels` (N,): what they are to leave (default: the classes that
    the model sees in them), or to reach if `targeted`; give one class to make a patch that means that class. Without
    images it is learned on x, y itself: then the samples of a call are attacked together, and a sample's x_adv depends
    on which others are in the call. A sample that meets its goal at x is returned as it is.

    The norm is l0, changed components: a radius allows the largest disc with at most eps of them. size: the disc's
    share of the image's area (default: what the radius allows, 0.05 without one; with both the smaller counts).
    degrees, shrink: each view turns the disc by up to `degrees` either way, scales its diameter by 1 - shrink to 1 and
    puts it anywhere inside the image. epochs: views of every image that are learned on, in parts of `batch`; each part
    moves the patch, grey at first, along the sign of its summed gradient, by step_size at first and falling to nothing
    along half a cosine. Success is for the view that is returned, which was drawn apart from those of the lessons.
    Raises ConfigError if size is not in (0, 1], degrees is not in [0, 180], shrink not in [0, 1), epochs or batch < 1,
    step_size <= 0, or images and labels do not fit.
    """
    if not 0 <= degrees <= 180 or not 0 <= shrink < 1:
        raise ConfigError(f"need degrees in [0, 180] and shrink in [0, 1), got {degrees} and {shrink}")
    plan = (at_least_one("epochs", epochs), at_least_one("batch", batch), positive("step_size", step_size))
    studio = _Studio(_diameter(x, threat, size), tuple(x.shape[2:]), degrees, shrink)
    with frozen(model):
        logits = logits_at(model, x, torch.arange(len(x), device=x.device))
        reached = (logits.argmax(1) == y) == targeted  # (B,)
        left = (~reached).nonzero()[:, 0]
        if studio.diameter < 1 or not len(left):
            return x.clone()
        with attending(left):
            own = (x[left], y[left], draws.rows(left))
            source = learning_set(model, own, images, labels, threat=threat, classes=logits.shape[1], targeted=targeted)
            sticker = _learned(source, _lesson(model, source, studio, targeted), threat, studio, plan)
    z = studio.paste(x[left], sticker.expand(len(left), *sticker.shape[1:]), draws.rows(left).branch("shown"), 0)
    return x.index_copy(0, left, within(threat, x)(z, left))


@dataclass(frozen=True)
class _Studio:
    """Pastes discs of `diameter` pixels on images of the given sides; views as the attack's docstring says."""

    diameter: float
    sides: tuple[int, ...]
    degrees: float
    shrink: float

    @property
    def canvas(self) -> int:
        """Pixels on a side of the sticker: the square around the disc."""
        return math.ceil(self.diameter)

    def paste(self, x: Tensor, stickers: Tensor, draws: Draws, counter: int) -> Tensor:
        """x (A, C, H, W) with a disc cut from each of the stickers (A, C, canvas, canvas), differentiable in these."""
        angle = math.radians(self.degrees) * (2.0 * draws.uniform((), "angle", counter) - 1.0)
        factor = 1.0 - self.shrink * draws.uniform((), "scale", counter)
        height, width = self.sides
        side = (factor * self.diameter)[:, None]
        room = (torch.tensor([height, width], device=x.device) - side).clamp_min(0.0)
        centre = room * (draws.uniform((2,), "place", counter) - 0.5)  # (A, 2) pixels from the middle of the image
        cos, sin = angle.cos(), angle.sin()
        # Where the middle of the image lies on the sticker: the way from the disc back to it, turned and enlarged.
        back = torch.stack([cos * centre[:, 0] + sin * centre[:, 1], cos * centre[:, 1] - sin * centre[:, 0]], 1)
        seen = warp(stickers, angle=angle, factor=factor, shift=-back / factor[:, None], size=(height, width))
        return torch.where(self._disc(centre, side, x), seen, x)

    def _disc(self, centre: Tensor, side: Tensor, like: Tensor) -> Tensor:
        """(A, 1, H, W) bool: the pixels whose middle lies in the disc around `centre` (A, 2)."""
        down, right = (
            torch.arange(n, dtype=like.dtype, device=like.device) - 0.5 * (n - 1) - centre[:, i, None].to(like)
            for i, n in enumerate(self.sides)
        )
        distance = down.square()[:, :, None] + right.square()[:, None, :]
        return (distance <= (0.5 * side[..., None]).square().to(like))[:, None]


def _diameter(x: Tensor, threat: ThreatModel, size: float | None) -> float:
    """In pixels, at most the shorter side of the image; 0 where the radius does not allow a pixel."""
    if size is not None and not 0 < size <= 1:
        raise ConfigError(f"size must be in (0, 1], a share of the image's area, got {size}")
    channels, height, width = x.shape[1:]
    area = (_SHARE if size is None and threat.eps is None else size or 1.0) * height * width
    if threat.eps is not None:
        area = min(area, int(threat.eps) / channels)
    return min(2.0 * math.sqrt(area / math.pi), float(min(height, width))) if area >= 1 or threat.eps is None else 0.0


def _lesson(model: nn.Module, source: LearningSet, studio: _Studio, targeted: bool) -> Lesson:
    inner = misclassify(model, source.labels, targeted=targeted)

    def lesson(stickers: Tensor, index: Tensor, visit: int) -> Evaluation:
        return inner(studio.paste(source.images[index], stickers, source.draws.rows(index), visit), index)

    return lesson


def _learned(
    source: LearningSet, lesson: Lesson, threat: ThreatModel, studio: _Studio, plan: tuple[int, int, float]
) -> Tensor:
    """The sticker (1, C, canvas, canvas) after all epochs; plan: epochs, images per lesson, size of the first step."""
    epochs, batch, size = plan
    side = studio.canvas
    sticker = source.images.new_full((1, source.images.shape[1], side, side), 0.5 * (threat.low + threat.high))
    step = steepest(math.inf, size, schedule=cosine(1.0, 0.0))
    lessons, done = epochs * -(-len(source.images) // batch), 0
    for epoch in range(epochs):
        for index in source.parts(batch, epoch):
            move, _ = step.update(source.gradient(lesson, sticker, index, epoch), (), done / lessons)
            sticker = (sticker + move).clamp(threat.low, threat.high)
            done += 1
    return sticker

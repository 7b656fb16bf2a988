"""The images that one perturbation for all is learned on: those attacked, or others handed over beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import other_images
from advbench.core.draws import Draws
from advbench.core.gradients import attending, backprop
from advbench.types import ConfigError, Evaluation, ThreatModel

_AT_ONCE = 64  # images that are classified in one pass

# (copies of the perturbation (A, ...), positions (A,) in the set, visits of each image so far) -> Evaluation
Lesson = Callable[[Tensor, Tensor, int], Evaluation]


@dataclass(frozen=True, eq=False)
class LearningSet:
    """images (N, C, H, W) with what to leave or to reach, labels (N,); draws (N,) for them.

    attacked: they are the batch under attack, whose samples then pay for the lessons; else the passes are charged to
    all attacked samples alike.
    """

    images: Tensor
    labels: Tensor
    draws: Draws
    attacked: bool

    @property
    def dealer(self) -> Draws:
        """Randomness that belongs to the set, not to an image of it."""
        return Draws(self.draws.seed, self.draws.sample_ids.new_zeros(1)).branch("learning")

    def parts(self, batch: int, epoch: int) -> Iterator[Tensor]:
        """Positions in the set, all of them once in an order of this epoch's own, in parts of at most `batch`."""
        order = self.dealer.uniform((len(self.images),), "order", epoch)[0].argsort(stable=True)
        return iter(torch.split(order, batch))

    def gradient(self, lesson: Lesson, shared: Tensor, index: Tensor, visit: int) -> Tensor:
        """The gradient (1, ...) of the summed loss at the one perturbation `shared` (1, ...), on a part of the set."""

        def objective(z: Tensor, rows: Tensor) -> Evaluation:
            return lesson(z, rows, visit)

        copies = shared.expand(len(index), *shared.shape[1:])
        if self.attacked:
            return backprop(objective, copies, index)[1].sum(0, keepdim=True)
        leaf = copies.detach().requires_grad_(True)
        with torch.enable_grad(), attending(index[:0]):  # nobody's rows: not those at these positions in the batch
            loss = objective(leaf, index).loss.sum()
            if not loss.requires_grad:
                return torch.zeros_like(shared)
            (grad,) = torch.autograd.grad(loss, leaf, materialize_grads=True)
        return grad.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).sum(0, keepdim=True)


def learning_set(
    model: nn.Module,
    batch: tuple[Tensor, Tensor, Draws],
    images: Tensor | None,
    labels: Tensor | None,
    *,
    threat: ThreatModel,
    classes: int,
    targeted: bool,
) -> LearningSet:
    """`images` with their labels if given, else the batch (x, y, draws) under attack.

    Without labels, images are to leave the class that the model sees in them. Raises ConfigError where labels are
    missing but needed (targeted), given without images, or none of the `classes`, and where images are not what x must
    be.
    """
    x, y, draws = batch
    if images is None:
        if labels is not None:
            raise ConfigError("labels belong to images: give both or labels=None")
        return LearningSet(x, y, draws, attacked=True)
    images = other_images("images", images, x, threat)
    if labels is not None:
        _check_labels(labels, len(images), classes)
    else:
        if targeted:
            raise ConfigError("labels must say which class the images are to reach")
        none = torch.zeros(0, dtype=torch.int64, device=x.device)
        with torch.no_grad(), attending(none):  # nobody's rows, as in the lessons
            labels = torch.cat([model(part).argmax(1) for part in torch.split(images, _AT_ONCE)])
    ids = torch.arange(len(images), device=x.device)
    return LearningSet(images, labels.to(y), Draws(draws.seed, ids), attacked=False)


def _check_labels(labels: Tensor, count: int, classes: int) -> None:
    """Raise ConfigError unless labels are (count,) whole numbers below `classes`."""
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype is torch.bool)
    if labels.shape != (count,) or not whole:
        raise ConfigError(f"labels must be ({count},) whole numbers, got {labels.dtype} of shape {tuple(labels.shape)}")
    if bool(((labels < 0) | (labels >= classes)).any()):
        raise ConfigError(f"labels must lie in 0 .. {classes - 1}, got {int(labels.min())} .. {int(labels.max())}")

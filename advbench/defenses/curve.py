"""What a training looked like: a row per epoch, measured on samples seen in training and on samples set aside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.defenses.training.adversarial import worst_case
from advbench.types import Json, ThreatModel

Images = Callable[[Tensor], Tensor]  # positions (B,) int64 -> images (B, C, H, W) float32 in [0, 1]
_PGD_STEPS = 10  # enough to see a collapse; a figure to report needs an attack from `attacks/`
_COLLAPSE = 0.2  # fall of the PGD accuracy on training samples that is no longer noise


@dataclass(frozen=True)
class Epoch:
    """One epoch. Accuracies are shares in [0, 1]; PGD accuracies are at the full radius, None without a threat.

    loss: mean over the epoch. train_*: on a fixed part of the training samples. held_out_*: None if none are set
    aside. eps: radius at the end of the epoch. seconds: training only, without the measuring.
    """

    epoch: int
    loss: float
    learning_rate: float
    eps: float
    train_accuracy: float | None
    train_pgd_accuracy: float | None
    held_out_accuracy: float | None
    held_out_pgd_accuracy: float | None
    seconds: float

    def __str__(self) -> str:
        accuracies = (
            ("train", self.train_accuracy),
            ("train pgd", self.train_pgd_accuracy),
            ("held out", self.held_out_accuracy),
            ("held out pgd", self.held_out_pgd_accuracy),
        )
        shown = "  ".join(f"{name} {100 * value:.1f}%" for name, value in accuracies if value is not None)
        return f"epoch {self.epoch}: loss {self.loss:.4f}  {shown}  {self.seconds:.1f} s"


@dataclass(frozen=True)
class Curve:
    """All epochs of a training, in order."""

    epochs: tuple[Epoch, ...] = ()

    @property
    def collapsed(self) -> bool:
        """Catastrophic overfitting: PGD accuracy on training samples fell by more than 0.2 below its best so far.

        Single-step training does this from one epoch to the next while its own loss still falls
        (Wong et al. 2020, arXiv:2001.03994, section 5.4).
        """
        seen = [epoch.train_pgd_accuracy for epoch in self.epochs if epoch.train_pgd_accuracy is not None]
        return bool(seen) and seen[-1] < max(seen) - _COLLAPSE

    def to_json(self) -> dict[str, Json]:
        """The content of `curve.json`."""
        return {"schema": 1, "collapsed": self.collapsed, "epochs": [asdict(epoch) for epoch in self.epochs]}

    @staticmethod
    def from_json(value: Json) -> Curve:
        """The inverse of `to_json`."""
        rows = cast("Mapping[str, list[dict[str, float]]]", value)["epochs"]
        return Curve(tuple(Epoch(int(row.pop("epoch")), **row) for row in map(dict, rows)))


class Measured(NamedTuple):
    """Shares in [0, 1]: accuracy, and accuracy on the worst case found; None where nothing was measured."""

    accuracy: float | None
    pgd_accuracy: float | None


def measure(
    model: nn.Module, images: Images, labels: Tensor, ids: Tensor, *, threat: ThreatModel, seed: int, size: int
) -> Measured:
    """Accuracy, clean and after PGD-10, on the samples `ids` (n,), in eval mode and batches of `size`."""
    if not len(ids):
        return Measured(None, None)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    right, held = 0, 0
    for batch in torch.split(ids, size):
        x, y = images(batch).to(device), labels[batch].to(device)
        right += _count_right(model, x, y)
        if threat.eps:
            draws = Draws(seed, batch.to(device))
            x_adv = worst_case(model, x, y, threat, draws=draws, steps=_PGD_STEPS, relative_step=2.5)
            held += _count_right(model, x_adv, y)
    return Measured(right / len(ids), held / len(ids) if threat.eps else None)


def _count_right(model: nn.Module, x: Tensor, y: Tensor) -> int:
    with frozen(model), torch.no_grad():
        return int((model(x).argmax(1) == y).sum())

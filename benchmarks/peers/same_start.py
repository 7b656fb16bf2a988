"""Auto-PGD from the same random starts as AutoAttack's own code: do both give every image the same verdict?

    python -m benchmarks.peers.same_start --models models.json --net mnist_lenet5_plain --dataset mnist \
        --data npz:mnist_test.npz --eps 0.1 --eps2 1.5

A run from a random start is luck by a point or so of robust accuracy; whether two programs do the same is seen only
where they start at the same place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from unittest.mock import patch

import click
import torch
from torch import Tensor

from advbench.attacks.gradient.apgd import apgd
from advbench.attacks.gradient.apgd_t import apgd_t
from advbench.attacks.gradient.auto_pgd_loop import _on_border
from advbench.core.draws import Draws
from advbench.core.norms import lengths, per_sample
from advbench.types import ThreatModel, norm_name
from benchmarks.peers.compare import Subjects, load_subjects, of_subjects
from benchmarks.peers.rivals import autoattack


@click.command()
@of_subjects
@click.option("--eps", required=True, type=float, help="linf radius.")
@click.option("--eps2", required=True, type=float, help="The same in l2.")
def main(models: str, net: str, dataset: str, data: str, samples: int, eps: float, eps2: float) -> None:  # noqa: PLR0917
    """Print a line of a table per norm and loss."""
    subjects = load_subjects(models, net, dataset, data, samples)
    click.echo("| net | norm | loss | images | hold under ours | under AutoAttack's | verdicts that differ |")
    click.echo("|" + "---|" * 7)
    for norm, radius in ((math.inf, eps), (2.0, eps2)):
        for loss in ("ce", "dlr"):
            ours, theirs = holding(subjects, ThreatModel(norm, radius), loss)
            click.echo(_line(subjects, norm, loss, ours, theirs))
        ours, theirs = holding_towards(subjects, ThreatModel(norm, radius))
        click.echo(_line(subjects, norm, "dlr-targeted", ours, theirs))


def holding(subjects: Subjects, threat: ThreatModel, loss: str) -> tuple[Tensor, Tensor]:
    """Which images (B,) hold under our attack, and under AutoAttack's."""
    model, x, y = subjects.model, subjects.x, subjects.y
    noise = _noise(x, threat.norm)
    start = x + threat.radius * noise / torch.as_tensor(per_sample(lengths(noise, threat.norm), noise))
    mine = apgd(model, x, y, threat, draws=Draws(0, torch.arange(len(x))), loss=loss, x_start=start)  # type: ignore[arg-type]
    with _drawing(noise):
        theirs = autoattack((f"apgd-{loss}",), threat.norm, threat.radius)(model, x.clone(), y.clone())
    with torch.no_grad():
        return model(mine).argmax(1) == y, model(theirs).argmax(1) == y


def holding_towards(subjects: Subjects, threat: ThreatModel) -> tuple[Tensor, Tensor]:
    """The same of `apgd_t` and its AutoAttack original, which is handed our start of each image towards each class."""
    from autoattack.autopgd_base import APGDAttack

    model, x, y = subjects.model, subjects.x, subjects.y
    draws, turn = Draws(0, torch.arange(len(x))), count()
    places = {image.numpy().tobytes(): place for place, image in enumerate(x)}
    run = APGDAttack.attack_single_run

    def from_ours(self: object, part: Tensor, labels: Tensor) -> object:
        rows = torch.tensor([places[image.numpy().tobytes()] for image in part])
        return run(self, part, labels, _on_border(part, threat, draws.rows(rows).branch("towards"), next(turn)))

    mine = apgd_t(model, x, y, threat, draws=draws)
    with patch.object(APGDAttack, "attack_single_run", from_ours):
        theirs = autoattack(("apgd-t",), threat.norm, threat.radius)(model, x.clone(), y.clone())
    with torch.no_grad():
        return model(mine).argmax(1) == y, model(theirs).argmax(1) == y


def _line(subjects: Subjects, norm: float, loss: str, ours: Tensor, theirs: Tensor) -> str:
    counts = f"{int(ours.sum())} | {int(theirs.sum())} | {int((ours != theirs).sum())}"
    return f"| {subjects.name} | {norm_name(norm)} | {loss} | {len(subjects.x)} | {counts} |"


def _noise(x: Tensor, norm: float) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    if norm == math.inf:
        return 2.0 * torch.rand(x.shape, generator=generator) - 1.0
    return torch.randn(x.shape, generator=generator)


@contextmanager
def _drawing(noise: Tensor) -> Iterator[None]:
    """Inside, torch draws this noise (B, ...) whenever it is asked for noise of that shape, and nothing else."""

    def give(of: Tensor, *shape: object, **_: object) -> Tensor:
        if tuple(torch.Size(shape[0] if len(shape) == 1 else shape)) != tuple(of.shape):  # type: ignore[arg-type]
            raise AssertionError(f"asked for noise of {shape}, the start has {tuple(of.shape)}")
        return of.clone()

    normal = lambda *shape, **settings: give(noise, *shape, **settings)  # noqa: E731
    uniform = lambda *shape, **settings: give((noise + 1.0) / 2.0, *shape, **settings)  # noqa: E731
    with patch("torch.randn", normal), patch("torch.rand", uniform):
        yield


if __name__ == "__main__":
    main()

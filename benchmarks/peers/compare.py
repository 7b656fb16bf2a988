"""Run our attacks and their rivals on the same images, judge both by one judge, and write the table.

    python -m benchmarks.peers.compare --models models.json --net mnist_lenet5_plain --data npz:mnist_test.npz \
        --dataset mnist --eps 0.1 --eps2 1.5 --eps1 10 --samples 200 --rows results/peers.csv

Rows that the file already has are not computed again. `--seeds 5` repeats each duel with other random numbers; the
table has the means. `--table docs/peers.md` writes the table from the file.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from advbench.bench.evaluate import evaluate
from advbench.bench.judge import judge
from advbench.datasets.load import load_dataset
from advbench.models.load import load_model
from advbench.registry import ATTACKS
from advbench.types import ThreatModel, norm_name
from benchmarks.peers.duels import Duel, duels
from benchmarks.peers.rivals import Attack
from benchmarks.peers.table import write_table

KEY = ["net", "attack", "params", "norm", "eps", "library", "n", "seed"]


@dataclass(frozen=True, eq=False)
class Subjects:
    """A net and the images it classifies correctly, among the first n of its test set; seed: of the attacks."""

    name: str
    model: nn.Module
    x: Tensor
    y: Tensor
    n: int
    seed: int = 0


class Counted(nn.Module):
    """The model, with its passes counted: [forwards, backwards] of single images."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.passes = model, [0, 0]

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        self.passes[0] += len(x)
        if logits.requires_grad:
            logits.register_hook(self._backward)  # type: ignore[no-untyped-call]
        return logits

    def _backward(self, grad: Tensor) -> None:
        self.passes[1] += len(grad)


def ours(duel: Duel, subjects: Subjects) -> dict[str, object]:
    """The row of our attack."""
    start = time.perf_counter()
    threat = ThreatModel(duel.norm, duel.eps)
    settings: dict[str, Any] = {"seed": subjects.seed, **duel.params}
    found = evaluate(subjects.model, subjects.x, subjects.y, attack=duel.attack, threat=threat, **settings)
    seconds = time.perf_counter() - start
    assert found.x_adv is not None
    cost = (float(found.forwards.double().mean()), float(found.backwards.double().mean()), seconds)
    return _row(duel, subjects, "advbench", found.x_adv, cost)


def theirs(duel: Duel, library: str, attack: Attack, subjects: Subjects) -> dict[str, object]:
    """The row of a rival; a rival that raises is a row with its error and no numbers."""
    counted = Counted(subjects.model).eval()
    torch.manual_seed(subjects.seed)
    np.random.seed(subjects.seed)
    start = time.perf_counter()
    try:
        x_adv = attack(counted, subjects.x.clone(), subjects.y.clone()).detach().float()
    except Exception as error:
        return {**_names(duel, subjects, library), "error": f"{type(error).__name__}: {error}"[:120]}
    seconds = time.perf_counter() - start
    size = max(len(subjects.x), 1)
    cost = (counted.passes[0] / size, counted.passes[1] / size, seconds)
    return _row(duel, subjects, library, x_adv, cost)


def _names(duel: Duel, subjects: Subjects, library: str) -> dict[str, object]:
    return {
        "net": subjects.name,
        "attack": duel.attack,
        "params": " ".join(f"{key}={value}" for key, value in duel.params.items()),
        "norm": norm_name(duel.norm),
        "eps": "" if duel.eps is None else f"{duel.eps:.6g}",
        "library": library,
        "n": subjects.n,
        "seed": subjects.seed,
    }


def _row(
    duel: Duel, subjects: Subjects, library: str, x_adv: Tensor, cost: tuple[float, float, float]
) -> dict[str, object]:
    threat = ThreatModel(duel.norm, duel.eps)
    # Libraries clip in float32: an image out of the box by rounding is put back before it is judged.
    point = x_adv.clamp(-1e-6, 1 + 1e-6).clamp(0, 1)
    verdict = judge(
        subjects.model, subjects.x, point, label=subjects.y, target=torch.full_like(subjects.y, -1), threat=threat
    )
    distance = torch.where(verdict.reached, verdict.distances[duel.norm], math.inf)
    return {
        **_names(duel, subjects, library),
        "robust": 100.0 * int((~verdict.reached).sum()) / subjects.n,
        "median": float(distance.median()),
        **dict(zip(("forwards", "backwards", "seconds"), cost, strict=True)),
    }


def of_subjects(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the options that `load_subjects` needs."""
    for option in (
        click.option("--samples", default=200, show_default=True),
        click.option("--data", required=True, help="The images, such as npz:mnist_test.npz."),
        click.option("--dataset", required=True, help="mnist or cifar10: gives shape and classes."),
        click.option("--net", required=True, help="The name of one of them."),
        click.option("--models", required=True, help="The JSON file of the nets (see `sequential:`)."),
    ):
        command = option(command)
    return command


@click.command()
@of_subjects
@click.option("--eps", required=True, type=float, help="linf radius of the attacks with a fixed radius.")
@click.option("--eps2", required=True, type=float, help="The same in l2.")
@click.option("--eps1", required=True, type=float, help="The same in l1.")
@click.option("--only", default="", help="Only this attack (comma separated names).")
@click.option("--slow", is_flag=True, help="The slow duels instead of the others.")
@click.option("--seeds", default=1, show_default=True, help="Repetitions with other random numbers.")
@click.option("--rows", required=True, type=click.Path(path_type=Path), help="The CSV file that rows are added to.")
@click.option("--table", type=click.Path(path_type=Path), help="Write this Markdown file from the rows.")
def main(  # noqa: PLR0917 - click hands them over by name
    models: str, net: str, dataset: str, data: str, samples: int, eps: float, eps2: float, eps1: float,
    only: str, slow: bool, seeds: int, rows: Path, table: Path | None,
) -> None:  # fmt: skip
    """Compare on one net."""
    subjects = load_subjects(models, net, dataset, data, samples)
    wanted = set(only.split(",")) if only else set(ATTACKS.names())
    for duel in duels({math.inf: eps, 2.0: eps2, 1.0: eps1}):
        if duel.attack not in wanted or duel.slow != slow or duel.attack not in ATTACKS:
            continue
        for now in (replace(subjects, seed=seed) for seed in range(seeds)):
            _fill(rows, _names(duel, now, "advbench"), partial(ours, duel, now))
            for library, attack in duel.rivals.items():
                _fill(rows, _names(duel, now, library), partial(theirs, duel, library, attack, now))
    if table is not None:
        write_table(pd.read_csv(rows, keep_default_na=False), table)


def load_subjects(models: str, net: str, dataset: str, data: str, samples: int) -> Subjects:
    """The net and those of the first `samples` test images that it classifies correctly."""
    model = load_model(f"sequential:{models}#{net}", dataset=dataset)
    images = load_dataset(data, "test")
    ids = torch.arange(samples)
    x, y = images.images(ids), images.labels[ids]
    with torch.no_grad():
        right = model(x).argmax(1) == y
    return Subjects(net, model, x[right], y[right], samples)


def _fill(rows: Path, names: dict[str, object], run: Callable[[], dict[str, object]]) -> None:
    """Append the row unless it is there."""
    known = pd.read_csv(rows, keep_default_na=False, dtype=str) if rows.exists() else pd.DataFrame(columns=KEY)
    if bool((known[KEY] == pd.Series({key: str(names[key]) for key in KEY})).all(axis=1).any()):
        return
    row = {"robust": "", "median": "", "forwards": "", "backwards": "", "seconds": "", "error": "", **run()}
    click.echo(" ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    pd.concat([known, pd.DataFrame([row])]).to_csv(rows, index=False)


if __name__ == "__main__":
    main()

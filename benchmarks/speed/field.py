"""Seconds of every attack and their ratio to the floor: the bare passes that it asked for, at the best batch size.

    python -m benchmarks.speed.field --model sequential:models.json#lenet5 --data npz:mnist_test.npz --out field.csv

The floor of an attack is forwards x (seconds of a bare forward pass) + backwards x (seconds of a bare forward and
backward pass, less those of the forward), as counted by the model wrapper; it is measured right before each attack.
One thread and CPU seconds: other work on the machine counts against nobody.
A ratio below 1 is possible: the model is made faster to attack, and the batch is cut to fit the cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from math import inf
from pathlib import Path

import click
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from advbench.bench.evaluate import evaluate
from advbench.datasets.load import load_dataset
from advbench.models.load import load_model
from advbench.registry import ATTACKS, AttackInfo, Entry
from advbench.types import ThreatModel, norm_name
from benchmarks.speed.floor import BATCHES, bare_passes, seconds

RADII = {0.0: 20.0, 1.0: 5.0, 2.0: 1.0, inf: 0.1}
BARE = 4  # passes of each image in a measurement of the floor
QUERIES = 500  # where an attack has a cap on its queries


@click.command()
@click.option("--model", required=True)
@click.option("--dataset", default="mnist", show_default=True)
@click.option("--data", required=True)
@click.option("--samples", default=64, show_default=True)
@click.option("--only", default="", help="Only these attacks (comma separated).")
@click.option("--longest", default=2500, show_default=True, help="Leave out what declares more passes than that.")
@click.option("--out", required=True, type=click.Path(path_type=Path))
def main(  # noqa: PLR0917 - click hands them over by name
    model: str, dataset: str, data: str, samples: int, only: str, longest: int, out: Path
) -> None:
    """Time each attack once, in the largest norm it knows, at a middling radius or without one."""
    torch.set_num_threads(1)
    net = load_model(model, dataset=dataset)
    images = load_dataset(data, "test")
    ids = torch.arange(samples)
    x, y = images.images(ids), images.labels[ids]
    wanted = [entry for entry in ATTACKS if (not only or entry.name in only.split(",")) and _affordable(entry, longest)]
    rows = [_row(entry, net, x, y) for entry in tqdm(wanted)]
    table = pd.DataFrame(rows).sort_values("ratio")
    table.to_csv(out, index=False)
    click.echo(table.to_string(index=False, float_format="%.3g"))


def _affordable(entry: Entry[AttackInfo], longest: int) -> bool:
    required = [p for p in entry.parameters().values() if p.default is p.empty]
    declared = entry.info.cost or (longest, longest)
    return not required and (sum(declared) <= longest or "queries" in entry.parameters())


def _row(entry: Entry[AttackInfo], net: nn.Module, x: Tensor, y: Tensor) -> dict[str, object]:
    norm = max(entry.info.norms)
    threat = ThreatModel(norm, None if entry.info.minimum_norm else RADII[norm])
    params = {"queries": QUERIES} if "queries" in entry.parameters() and "population" not in entry.parameters() else {}
    forward, both = floor_of(net, x, y, time.process_time)
    found = []
    run = lambda: found.append(evaluate(net, x, y, attack=entry.name, threat=threat, **params))  # type: ignore[arg-type]  # noqa: E731
    elapsed = seconds(run, time.process_time)
    forwards, backwards = int(found[0].forwards.sum()), int(found[0].backwards.sum())
    floor = forwards * forward + backwards * max(both - forward, 0.0)
    return {
        "attack": entry.name,
        "norm": norm_name(norm),
        "forwards": forwards / len(x),
        "backwards": backwards / len(x),
        "seconds": elapsed,
        "floor": floor,
        "ratio": elapsed / floor if floor else float("nan"),
    }


def floor_of(net: nn.Module, x: Tensor, y: Tensor, clock: Callable[[], float]) -> tuple[float, float]:
    """Seconds of one image's forward pass, and of its forward and backward pass, at the best batch size."""
    sizes = [size for size in BATCHES if size <= len(x)] or [len(x)]
    both = min(seconds(partial(bare_passes, net, x, y, passes=BARE, batch=size), clock) for size in sizes)
    return min(_forward(net, x, size, clock) for size in sizes), both / (BARE * len(x))


def _forward(net: nn.Module, x: Tensor, size: int, clock: Callable[[], float]) -> float:
    def passes() -> None:
        with torch.no_grad():
            for _ in range(BARE):
                for part in torch.split(x, size):
                    net(part)

    return seconds(passes, clock) / (BARE * len(x))


if __name__ == "__main__":
    main()

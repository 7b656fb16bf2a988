"""AttackBench's optimality of our minimum-norm attacks and the peers', at a fixed budget of passes per sample.

    python -m benchmarks.peers.optimality --models models.json --net mnist_lenet5_plain --dataset mnist \
        --data npz:mnist_test.npz --samples 100 --out distances.csv
    python -m benchmarks.peers.optimality --out distances.csv --table docs/optimality.md

The first runs what the file lacks, attack by attack and sample by sample; the second writes the page from the file.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from advbench.datasets.load import load_dataset
from advbench.models.load import load_model
from advbench.store import atomic_write
from advbench.types import ConfigError, norm_name
from benchmarks.peers.budgeted import Budgeted, BudgetSpentError
from benchmarks.peers.contenders import Contender, contenders
from benchmarks.peers.optimality_page import write_page

KEY = ["net", "norm", "library", "attack", "settings", "budget"]
NORMS = {norm_name(norm): norm for norm in (0.0, 1.0, 2.0, math.inf)}


def distances_of(
    contender: Contender, model: nn.Module, x: Tensor, y: Tensor, *, norm: float, budget: int
) -> pd.DataFrame:
    """A row per image of x (B, C, H, W): distance (0: clean error, inf: no example), passes, seconds, error.

    seconds are those of the whole call, shared evenly. An attack that raises keeps what it had found until then, and
    its rows say what it raised.
    """
    with torch.no_grad():
        right = model(x).argmax(1) == y
    victim = Budgeted(model, x[right], y[right], norm=norm, budget=budget).eval()
    torch.manual_seed(0)
    np.random.seed(0)  # what some of the libraries draw from
    start, error = time.perf_counter(), ""
    try:
        victim.note_result(contender.run(victim, x[right].clone(), y[right].clone()).detach().float())
    except BudgetSpentError:
        pass
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}".splitlines()[0][:100]
    seconds = (time.perf_counter() - start) / max(1, int(right.sum()))
    table = pd.DataFrame({"distance": np.zeros(len(x)), "forwards": 0, "backwards": 0, "seconds": 0.0, "error": error})
    found = {"distance": victim.nearest, "forwards": victim.forwards, "backwards": victim.backwards}
    for column, values in found.items():
        table.loc[right.numpy(), column] = values.numpy()
    table.loc[right.numpy(), "seconds"] = seconds
    return table


def missing(known: pd.DataFrame, names: dict[str, object], samples: int) -> list[int]:
    """Which of the first `samples` images the file lacks for this contender."""
    same = (known[list(names)].astype(str) == pd.Series({key: str(value) for key, value in names.items()})).all(axis=1)
    have = set(known.loc[same, "sample"].astype(int))
    return [index for index in range(samples) if index not in have]


def current(rows: pd.DataFrame, budget: int) -> pd.DataFrame:
    """The rows of contenders with the settings that they have today."""
    known = {
        (name, contender.library, contender.attack, contender.settings)
        for name, norm in NORMS.items()
        for contender in contenders(norm, budget)
    }
    keys = zip(rows["norm"], rows["library"], rows["attack"], rows["settings"], strict=True)
    return rows[[key in known for key in keys]]


def load(path: Path) -> pd.DataFrame:
    """The stored rows; none if there is no file."""
    if not path.exists():
        return pd.DataFrame(columns=[*KEY, "sample", "distance", "forwards", "backwards", "seconds", "error"])
    return pd.read_csv(path, keep_default_na=False, dtype={"settings": str, "error": str})


@click.command()
@click.option("--models", help="The JSON file of the nets (see `sequential:`).")
@click.option("--net", help="The name of one of them; without it nothing is run.")
@click.option("--dataset", default="mnist", show_default=True, help="mnist or cifar10: gives shape and classes.")
@click.option("--data", help="The images, such as npz:mnist_test.npz.")
@click.option("--samples", default=100, show_default=True, help="The first so many images.")
@click.option("--norms", default="l0,l1,l2,linf", show_default=True)
@click.option("--budget", default=1000, show_default=True, help="Forwards plus backwards per sample.")
@click.option("--again", default="", help="Forget these attacks of this net first (comma separated library:attack).")
@click.option("--only", default="", help="Only these (comma separated library:attack).")
@click.option("--skip", default="", help="Not these.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The CSV file that rows are added to.")
@click.option("--table", type=click.Path(path_type=Path), help="Write this Markdown file from the rows.")
def main(  # noqa: PLR0917 - click hands them over by name
    models: str | None, net: str | None, dataset: str, data: str | None, samples: int, norms: str, budget: int,
    again: str, only: str, skip: str, out: Path, table: Path | None,
) -> None:  # fmt: skip
    """Run what is missing and write the page."""
    if net is not None:
        if models is None or data is None:
            raise click.UsageError("--net needs --models and --data")
        chosen = [NORMS[name] for name in _known_norms(norms)]
        model = load_model(f"sequential:{models}#{net}", dataset=dataset)
        images = load_dataset(data, "test")
        ids = torch.arange(samples)
        x, y = images.images(ids), images.labels[ids]
        _forget(out, net, _names(again))
        wanted, unwanted = _names(only), _names(skip)
        for norm in chosen:
            for contender in contenders(norm, budget):
                name = f"{contender.library}:{contender.attack}"
                if name not in unwanted and (not wanted or name in wanted):
                    _fill(out, contender, model, x, y, net=net, norm=norm, budget=budget)
    if table is not None:
        write_page(current(load(out), budget), table, budget=budget)


def _known_norms(names: str) -> list[str]:
    found = names.split(",")
    if unknown := [name for name in found if name not in NORMS]:
        raise ConfigError(f"--norms must be among {', '.join(NORMS)}, got {', '.join(unknown)}")
    return found


def _names(text: str) -> set[str]:
    return {name for name in text.split(",") if name}


def _fill(
    out: Path, contender: Contender, model: nn.Module, x: Tensor, y: Tensor, *, net: str, norm: float, budget: int
) -> None:
    """Append the rows that the file lacks."""
    values = (net, norm_name(norm), contender.library, contender.attack, contender.settings, budget)
    names: dict[str, object] = dict(zip(KEY, values, strict=True))
    known = load(out)
    rows = missing(known, names, len(x))
    if not rows:
        return
    found = distances_of(contender, model, x[rows], y[rows], norm=norm, budget=budget)
    _store(out, pd.concat([known, _named(found, names, rows)]))
    click.echo(
        f"{' '.join(map(str, values))}: {len(rows)} images, median {found['distance'].median():.4g}, "
        f"{found['forwards'].mean():.0f} + {found['backwards'].mean():.0f} passes, {found['seconds'].sum():.1f} s "
        f"{found['error'].iloc[0]}"
    )


def _named(found: pd.DataFrame, names: dict[str, object], rows: list[int]) -> pd.DataFrame:
    keys = pd.DataFrame([names] * len(found))
    return pd.concat([keys, pd.DataFrame({"sample": rows}), found], axis=1)


def _forget(out: Path, net: str, names: set[str]) -> None:
    known = load(out)
    gone = (known["net"] == net) & (known["library"] + ":" + known["attack"]).isin(names)
    if gone.any():
        _store(out, known[~gone])


def _store(out: Path, rows: pd.DataFrame) -> None:
    atomic_write(out, lambda file: file.write(rows.to_csv(index=False).encode()))


if __name__ == "__main__":
    main()

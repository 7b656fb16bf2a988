"""CPU seconds of our attacks, of their floor and of the same attacks by other libraries, paired.

    python -m benchmarks.speed.duels --models models.json --data npz:mnist_test.npz --rows duels.csv

Each round of a duel measures the floor (the bare passes that ours asked for, at the best batch size), ours, and every
rival, one after the other; ratios are taken within a round and their median is shown. One thread; CPU seconds instead
of wall time, because other work on the machine counts against nobody then. Dear attacks get fewer images: what `--work`
allows. Duels that the file has are not run again.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import click
import pandas as pd
import torch

from advbench.bench.evaluate import evaluate
from advbench.registry import ATTACKS
from advbench.types import ThreatModel, norm_name
from benchmarks.peers.compare import Counted, Subjects, load_subjects
from benchmarks.peers.duels import Duel, duels
from benchmarks.peers.rivals import Attack
from benchmarks.speed.allocator import as_it_comes
from benchmarks.speed.field import floor_of
from benchmarks.speed.floor import seconds

OURS = "advbench"
FEWEST, FEWEST_SLOW = 10, 4  # images of a duel, however dear
UNKNOWN = 5000  # passes of an attack that declares no cost
COLUMNS = [
    "attack", "params", "norm", "n", "round", "library", "forwards", "backwards", "seconds", "floor", "error"
]  # fmt: skip


@click.command()
@click.option("--models", required=True, help="The JSON file of the nets (see `sequential:`).")
@click.option("--net", default="mnist_lenet5_plain", show_default=True)
@click.option("--dataset", default="mnist", show_default=True)
@click.option("--data", required=True, help="The images, such as npz:mnist_test.npz.")
@click.option("--samples", default=100, show_default=True, help="The most images of a duel.")
@click.option("--work", default=20_000, show_default=True, help="Images times declared passes of a duel, about.")
@click.option("--eps", default=0.1, show_default=True, help="linf radius of the attacks with a fixed radius.")
@click.option("--eps2", default=1.5, show_default=True, help="The same in l2.")
@click.option("--eps1", default=10.0, show_default=True, help="The same in l1.")
@click.option("--rounds", default=1, show_default=True)
@click.option("--only", default="", help="Only these attacks (comma separated).")
@click.option("--rows", required=True, type=click.Path(path_type=Path), help="The CSV file that rows are added to.")
def main(  # noqa: PLR0917 - click hands them over by name
    models: str, net: str, dataset: str, data: str, samples: int, work: int, eps: float, eps2: float, eps1: float,
    rounds: int, only: str, rows: Path,
) -> None:  # fmt: skip
    """Time what is missing and print the table."""
    torch.set_num_threads(1)
    wanted = set(only.split(",")) if only else set(ATTACKS.names())
    for duel in sorted(duels({math.inf: eps, 2.0: eps2, 1.0: eps1}), key=lambda duel: duel.slow):
        if duel.attack not in wanted:
            continue
        n = images_of(duel, samples, work)
        known = _load(rows)
        if n in _sizes(known, duel):
            continue
        subjects = load_subjects(models, net, dataset, data, n)
        for turn in range(rounds):
            known = pd.concat([known, pd.DataFrame(one_round(duel, subjects, turn))[COLUMNS]])
            known.to_csv(rows, index=False)
        click.echo("\n".join(table(_of(known, duel))[2:]))
    click.echo("\n".join(table(_load(rows))))


def images_of(duel: Duel, samples: int, work: int) -> int:
    """How many images the duel gets: `samples`, or fewer if the attack declares more passes than `work` allows."""
    queries = duel.params.get("queries")
    passes = queries if isinstance(queries, int) else sum(ATTACKS[duel.attack].info.cost or (UNKNOWN, 0))
    return min(samples, max(FEWEST_SLOW if duel.slow else FEWEST, work // max(1, passes)))


def one_round(duel: Duel, subjects: Subjects, turn: int) -> list[dict[str, object]]:
    """A row for ours, with its floor, and one per rival; a rival that raises has its error and no numbers."""
    names = {**_names(duel), "n": subjects.n, "round": turn}
    threat, size = ThreatModel(duel.norm, duel.eps), max(1, len(subjects.x))
    forward, both = floor_of(subjects.model, subjects.x, subjects.y, time.process_time)
    found = []
    model, x, y = subjects.model, subjects.x, subjects.y
    run = lambda: found.append(evaluate(model, x, y, attack=duel.attack, threat=threat, **duel.params))  # type: ignore[arg-type]  # noqa: E731
    spent = seconds(run, time.process_time)
    forwards, backwards = int(found[0].forwards.sum()), int(found[0].backwards.sum())
    floor = forwards * forward + backwards * max(both - forward, 0.0)
    passes = {"forwards": forwards / size, "backwards": backwards / size}
    made = [{**names, "library": OURS, **passes, "seconds": spent, "floor": floor, "error": ""}]
    made += [{**names, **_rival_row(library, attack, subjects)} for library, attack in duel.rivals.items()]
    return made


def _rival_row(library: str, attack: Attack, subjects: Subjects) -> dict[str, object]:
    counted, error = Counted(subjects.model).eval(), ""
    x, y, size = subjects.x.clone(), subjects.y.clone(), max(1, len(subjects.x))
    start = time.process_time()
    try:
        with as_it_comes():
            attack(counted, x, y)
    except Exception as raised:
        error = type(raised).__name__
    passes = {"forwards": counted.passes[0] / size, "backwards": counted.passes[1] / size}
    spent = time.process_time() - start
    return {"library": library, **passes, "seconds": spent, "floor": math.nan, "error": error}


def table(rows: pd.DataFrame) -> list[str]:
    """Markdown lines, a line per duel: medians over the rounds, ratios taken within a round."""
    lines = [
        "| attack | norm | n | ours: passes per image | floor | ours | ours / floor | rivals: seconds, times ours |",
        "|" + "---|" * 8,
    ]
    for (attack, params, norm, n), duel in rows.groupby(["attack", "params", "norm", "n"], sort=False):
        ours = duel[duel["library"] == OURS].set_index("round")
        rivals = [
            _rival(str(library), part.set_index("round"), ours)
            for library, part in duel[duel["library"] != OURS].groupby("library", sort=False)
        ]
        name = f"`{attack}`" + (f" {params}" if params else "")
        passes = f"{ours['forwards'].median():.0f} + {ours['backwards'].median():.0f}"
        ratio = f"{(ours['seconds'] / ours['floor']).median():.2f}"
        seconds = f"{ours['floor'].median():.3g} | {ours['seconds'].median():.3g} | {ratio}"
        lines.append(f"| {name} | {norm} | {n} | {passes} | {seconds} | {'; '.join(rivals)} |")
    return lines


def _rival(library: str, rows: pd.DataFrame, ours: pd.DataFrame) -> str:
    if errors := [text for text in rows["error"] if text]:
        return f"{library} {errors[0]}"
    ratio = (rows["seconds"] / ours["seconds"]).median()
    passes = f"{rows['forwards'].median():.0f} + {rows['backwards'].median():.0f}"
    return f"{library} {rows['seconds'].median():.3g}, {ratio:.2f} ({passes})"


def _names(duel: Duel) -> dict[str, object]:
    params = " ".join(f"{key}={value}" for key, value in duel.params.items())
    return {"attack": duel.attack, "params": params, "norm": norm_name(duel.norm)}


def _of(rows: pd.DataFrame, duel: Duel) -> pd.DataFrame:
    same = pd.Series(True, index=rows.index)
    for key, value in _names(duel).items():
        same &= rows[key] == value
    return rows[same]


def _sizes(rows: pd.DataFrame, duel: Duel) -> set[int]:
    return set(_of(rows, duel)["n"].astype(int))


def _load(rows: Path) -> pd.DataFrame:
    if not rows.exists():
        return pd.DataFrame(columns=COLUMNS)
    return pd.read_csv(rows, keep_default_na=False, na_values={"floor": [""]}, dtype={"params": str, "error": str})


if __name__ == "__main__":
    main()

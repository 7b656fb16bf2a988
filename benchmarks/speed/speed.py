"""Seconds of PGD and its ratio to the floor, to itself on a grid of radii, and to the peers that are installed.

Everything is paired: each round runs every contender once, ratios are taken within a round, and their median is shown.

    python -m benchmarks.speed.speed --model sequential:models.json#lenet5 --data npz:mnist_test.npz --out speed
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from tqdm import tqdm

from advbench.bench.evaluate import evaluate, evaluate_grid
from advbench.bench.judge import judge
from advbench.bench.scene import Assault, Execution
from advbench.datasets.load import load_dataset
from advbench.datasets.select import select
from advbench.models.load import load_model
from advbench.registry import ATTACKS
from advbench.types import Outcomes, Radius, ThreatModel
from benchmarks.speed.allocator import as_it_comes
from benchmarks.speed.floor import BATCHES, bare_passes, seconds
from benchmarks.speed.peers import Attack, in_batches, installed

PARTS = 8  # radii of the grid: eps / 8, 2 eps / 8, ..., eps


@dataclass(frozen=True, eq=False)
class Setting:
    """One model, its samples and one PGD."""

    model: nn.Module
    x: Tensor
    y: Tensor
    eps: float
    steps: int
    step_size: float

    @property
    def pgd(self) -> dict[str, object]:
        return {"steps": self.steps, "step_size": self.step_size, "random_start": False}

    def ours(self, precision: str = "float32") -> Outcomes:
        threat = ThreatModel(math.inf, self.eps)
        return evaluate(self.model, self.x, self.y, threat=threat, precision=precision, **self.pgd)  # type: ignore[arg-type]

    @property
    def radii(self) -> tuple[Radius, ...]:
        return tuple(Radius(repr(self.eps * part / PARTS)) for part in range(1, PARTS + 1))

    def grid(self, grid: Sequence[Radius], nested: bool, params: Mapping[str, object]) -> Outcomes:
        assault = Assault(ATTACKS["pgd"], params, nested=nested)
        return evaluate_grid(
            self.model, self.x, self.y, None, assault=assault, norm=math.inf, grid=grid, execution=Execution()
        )

    def robust(self, x_adv: Tensor) -> float:
        """Share that is right at x and at x_adv, by the same judge for everybody."""
        target = torch.full_like(self.y, -1)
        verdict = judge(self.model, self.x, x_adv, label=self.y, target=target, threat=ThreatModel(math.inf, self.eps))
        clean = judge(self.model, self.x, self.x, label=self.y, target=target, threat=ThreatModel(math.inf, self.eps))
        return float((~verdict.reached & ~clean.reached).float().mean())


def contenders(setting: Setting, *, peers: bool) -> dict[str, Callable[[], float]]:
    """name -> work that returns the robust accuracy it found (nan where there is none)."""
    model, x, y = setting.model, setting.x, setting.y

    def floor(batch: int) -> float:
        bare_passes(model, x, y, passes=setting.steps, batch=batch)
        return math.nan

    def ours(precision: str) -> Callable[[], float]:
        return lambda: _robust(setting.ours(precision))

    work: dict[str, Callable[[], float]] = {
        **{f"bare passes, batch {batch}": partial(as_it_comes()(floor), batch) for batch in BATCHES},
        **{f"bare passes, memory kept, batch {batch}": partial(floor, batch) for batch in BATCHES},
        "advbench, one call": ours("float32"),
        "advbench, one call, bfloat16": ours("bfloat16"),
    }
    attacks = installed(eps=setting.eps, step_size=setting.step_size, steps=setting.steps) if peers else {}
    for name, attack in attacks.items():
        own = _own_best_batch(attack, setting)
        for size, label in ((len(x), "one call"), (own, f"batch {own}")):
            work[f"{name}, {label}"] = partial(_judged_peer, setting, attack, size)
    return work


def measure(work: dict[str, Callable[[], float]], rounds: int) -> pd.DataFrame:
    """A row per contender: median seconds, median ratio to the floor of the same round, robust accuracy.

    The floor is the bare loop that was fastest over all rounds, with or without the memory kept as we keep it.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    robust: dict[str, float] = {}
    for _ in tqdm(range(rounds), desc="rounds"):
        for name, act in work.items():
            found: list[float] = []
            times[name].append(seconds(lambda act=act, found=found: found.append(act())))
            robust[name] = found[0]
    table = pd.DataFrame(times)
    floors = table[[name for name in table if name.startswith("bare passes")]]
    ratio = table.div(table[floors.median().idxmin()], axis=0)
    return pd.DataFrame(
        {"seconds": table.median(), "times the floor": ratio.median(), "robust accuracy": pd.Series(robust)}
    )


def grid_cost(setting: Setting, rounds: int, *, nested: bool, params: Mapping[str, object]) -> float:
    """Seconds of a grid of 8 radii over those of its most expensive single radius, median over rounds."""
    ratios = []
    for _ in range(rounds):
        whole = seconds(partial(setting.grid, setting.radii, nested, params))
        singles = [seconds(partial(setting.grid, [radius], nested, params)) for radius in setting.radii]
        ratios.append(whole / max(singles))
    return float(pd.Series(ratios).median())


def draw(table: pd.DataFrame, title: str, path: Path) -> None:
    """Bars of the cost in units of the floor."""
    figure = Figure(figsize=(7, 0.4 * len(table) + 1.4), layout="constrained")
    axes = figure.subplots()
    ordered = table.iloc[::-1]
    colours = ["#1a6faf" if name.startswith("advbench") else "#9a9a9a" for name in ordered.index]
    bars = axes.barh(list(ordered.index), ordered["times the floor"], color=colours)
    axes.bar_label(bars, [f"{value:.2f}" for value in ordered["times the floor"]], padding=3)
    axes.axvline(1.0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlabel("time / time of the bare passes")
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    figure.savefig(path, dpi=150)


@click.command()
@click.option("--model", "models", multiple=True, required=True, help="Model spec; may be given several times.")
@click.option("--data", required=True, help="Dataset spec, for example mnist or npz:PATH.")
@click.option("--samples", default=1000, show_default=True)
@click.option("--eps", default=0.3, show_default=True)
@click.option("--steps", default=40, show_default=True)
@click.option("--step-size", default=0.01, show_default=True)
@click.option("--peers/--no-peers", default=True, show_default=True, help="Time the libraries that are installed.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("speed"), show_default=True)
def main(
    *,
    models: Sequence[str],
    data: str,
    samples: int,
    eps: float,
    steps: int,
    step_size: float,
    peers: bool,
    rounds: int,
    threads: int,
    device: str,
    out: Path,
) -> None:
    """Time PGD on each model against the floor and the installed peers; write OUT.csv and OUT-N.png."""
    torch.set_num_threads(threads)
    dataset = load_dataset(data, split="test")
    ids = select(dataset, samples, 0, choose="first")
    x, y = dataset.images(ids).to(device), dataset.labels[ids].to(device)
    tables = []
    for number, name in enumerate(models):
        model = load_model(name, shape=dataset.shape, classes=len(dataset.classes)).to(device)
        setting = Setting(model, x, y, eps, steps, step_size)
        table = measure(contenders(setting, peers=peers), rounds)
        title = f"PGD-{steps}, linf {eps:g}, {samples} images: {name.rsplit('#')[-1]}"
        click.echo(f"\n{title}\n{table.to_string(float_format='{:.3f}'.format)}")
        own_step = {"steps": steps, "random_start": False}
        for nested in (False, True):
            for words, params in ((f"step {step_size:g}", setting.pgd), (f"step 2.5 eps / {steps}", own_step)):
                cost = grid_cost(setting, rounds, nested=nested, params=params)
                kind = "nested" if nested else "every"
                click.echo(f"grid of {PARTS} radii ({kind}, {words}) / its most expensive one: {cost:.2f}")
        draw(table, title, out.with_name(f"{out.name}-{number}.png"))
        tables.append(table.assign(model=name))
    pd.concat(tables).rename_axis("contender").to_csv(out.with_suffix(".csv"))


def _own_best_batch(attack: Attack, setting: Setting) -> int:
    few = slice(0, BATCHES[-1])
    with as_it_comes():
        cost = {
            size: seconds(partial(in_batches, attack, setting.model, setting.x[few], setting.y[few], batch=size))
            for size in BATCHES
        }
    return min(cost, key=cost.__getitem__)


def _judged_peer(setting: Setting, attack: Attack, batch: int) -> float:
    with as_it_comes():
        x_adv = in_batches(attack, setting.model, setting.x, setting.y, batch=batch)
    return setting.robust(x_adv)


def _robust(outcomes: Outcomes) -> float:
    return float((outcomes.clean_correct & ~outcomes.fooled).float().mean())


if __name__ == "__main__":
    main()

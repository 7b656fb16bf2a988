"""`advbench train`: one model, one training, its weights and its curve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from advbench.cli.outputs import OUT_FILE
from advbench.cli.settings import settings

if TYPE_CHECKING:
    from advbench.defenses.curve import Curve


@click.command(
    epilog="Example: advbench train small_cnn --dataset digits --defense adversarial --norm inf --eps 0.2 --epochs 10 "
    "--out robust.safetensors"
)
@click.argument("model")
@click.option("--dataset", required=True, help="A name or a spec, such as npz:PATH; its training part is used.")
@click.option("--train-data", help="Train on this dataset instead, such as npz:PATH.")
@click.option("--defense", default="none", show_default=True, help="See: advbench list defenses.")
@click.option("--norm", help="The threat to train against: 0, 1, 2 or inf (the default).")
@click.option("--eps", help="Its radius in input units, such as 0.3 or 8/255.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training data.")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of the defense or the training (lr, ...); repeatable.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--allow-code", is_flag=True, help="Run model code that MODEL names (python:module:function).")
@click.option("--out", required=True, type=OUT_FILE, help="FILE.safetensors")
def train(
    *,
    model: str,
    dataset: str,
    train_data: str | None,
    defense: str,
    norm: str | None,
    eps: str | None,
    epochs: int | None,
    params: tuple[str, ...],
    seed: int,
    device: str,
    allow_code: bool,
    out: Path,
) -> None:
    """Train MODEL, with a defense or without, and write its weights, its curve as JSON and as a picture.

    An interrupted training goes on at its last epoch when the same command is given again.
    """
    from advbench.bench.train_once import Request, train_once
    from advbench.core.devices import choose_device

    named = {"norm": norm, "eps": eps, "epochs": epochs}
    given = settings(params) | {name: value for name, value in named.items() if value is not None}
    request = Request(model, train_data or dataset, defense, given, seed=seed, allow_code=allow_code)
    trained = train_once(request, out, device=choose_device(device))
    picture = out.with_suffix(".curve.png")
    _draw(trained.curve, picture)
    click.echo(f"wrote {trained.weights}, {trained.curve_file} and {picture}")


def _draw(curve: Curve, path: Path) -> None:
    """Loss and accuracies over the epochs, as a PNG."""
    from matplotlib.figure import Figure

    from advbench.store import atomic_write

    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    number = [epoch.epoch for epoch in curve.epochs]
    losses = [epoch.loss for epoch in curve.epochs]
    left.plot(number, losses, marker="o", color="black")
    left.set(xlabel="epoch", ylabel="training loss", ylim=(0, 1.05 * max(losses)))
    lines = (
        ("train", [epoch.train_accuracy for epoch in curve.epochs], "C0", "-"),
        ("train, PGD-10", [epoch.train_pgd_accuracy for epoch in curve.epochs], "C1", "-"),
        ("held out", [epoch.held_out_accuracy for epoch in curve.epochs], "C0", "--"),
        ("held out, PGD-10", [epoch.held_out_pgd_accuracy for epoch in curve.epochs], "C1", "--"),
    )
    for label, shares, color, style in lines:
        if None not in shares:
            percent = [100.0 * share for share in shares if share is not None]
            right.plot(number, percent, label=label, marker="o", color=color, linestyle=style)
    right.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(0, 101))
    right.legend()
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    atomic_write(path, lambda file: figure.savefig(file, format="png", dpi=120))

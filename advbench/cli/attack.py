"""`advbench attack`: one attack on one model."""

from __future__ import annotations

from pathlib import Path

import click

from advbench.cli.outputs import OUT_FOLDER
from advbench.cli.settings import settings
from advbench.types import ConfigError


@click.command(
    epilog="Example: advbench attack pgd --model small_cnn --dataset digits --norm inf --eps 8/255 --param steps=20"
)
@click.argument("name")
@click.option("--model", required=True, help="A name or a spec, such as torchvision:resnet18@IMAGENET1K_V1.")
@click.option("--weights", type=click.Path(dir_okay=False, path_type=Path), help="A file; without one, it is trained.")
@click.option("--dataset", required=True, help="A name or a spec, such as npz:PATH.")
@click.option("--norm", default="inf", show_default=True, help="0, 1, 2 or inf.")
@click.option("--eps", help="Radius in input units, such as 8/255; without one, the nearest example is sought.")
@click.option("--samples", default=64, show_default=True, type=click.IntRange(1))
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the attack; repeatable.")
@click.option("--goal", default="untargeted", show_default=True, help="Or random, least_likely, next, a class.")
@click.option("--budget", type=click.IntRange(1), help="Forward plus backward passes that a sample may take.")
@click.option("--image", type=click.Path(dir_okay=False, path_type=Path), help="Attack this picture instead.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--micro-batch", type=click.IntRange(1), help="Samples at once; found by itself if not given.")
@click.option("--allow-code", is_flag=True, help="Run model code that --model names (python:module:function).")
@click.option("--out", type=OUT_FOLDER, help="Default: a folder of its own in results/attacks.")
@click.pass_context
def attack(
    context: click.Context,
    *,
    name: str,
    model: str,
    weights: Path | None,
    dataset: str,
    norm: str,
    eps: str | None,
    samples: int,
    params: tuple[str, ...],
    goal: str,
    budget: int | None,
    image: Path | None,
    seed: int,
    device: str,
    micro_batch: int | None,
    allow_code: bool,
    out: Path | None,
) -> None:
    """Attack one model with NAME, print what came of it and draw x, x_adv and ten times their difference.

    Everything lands in the folder --out: the stored cell, the matrix file that repeats it, and grid.png. A class as the
    --goal is a number or a name.
    """
    from advbench.bench.export import export
    from advbench.bench.grid import write_grid
    from advbench.bench.progress import notes_of
    from advbench.bench.single import Single, attack_once, usual_folder
    from advbench.registry import ATTACKS, CONTROLS

    single = Single(
        attack=name,
        model=model,
        dataset=dataset,
        norm=norm,
        eps=eps,
        samples=samples,
        weights=weights,
        params=settings(params, entries=[table[name] for table in (ATTACKS, CONTROLS) if name in table]),
        goal=goal,
        budget=budget,
        image=image,
        seed=seed,
        allow_code=allow_code,
    )
    out = out or usual_folder(single)
    tally = attack_once(single, out, device=device, micro_batch=micro_batch)
    if not tally.selected:
        raise ConfigError(f"{name} cannot do this: {tally.reason}")
    click.echo(export(tally.folder, "markdown"), nl=False)
    for cell in tally.cells:
        for note in notes_of(cell.summary) if cell.status == "stored" else ():  # the run has said those of a new cell
            click.echo(note)
        if cell.status in ("done", "stored") and write_grid(cell.folder, out / "grid.png"):
            click.echo(f"wrote {cell.folder} and {out / 'grid.png'}")
    context.exit(tally.exit_code)

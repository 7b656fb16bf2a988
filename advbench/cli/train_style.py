"""`advbench train-style`: a network that paints in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from advbench.cli.outputs import OUT_FILE
from advbench.cli.settings import settings
from advbench.types import ConfigError

FILE = click.Path(dir_okay=False, path_type=Path)
# kind -> the options that mean something to it, beside those that all kinds take
KINDS = {"transform": ("norm",), "adaptive": ("layer",), "contrastive": ("layer",), "norms": ()}

HELP = """Train a network that paints photographs, for `advbench picture fast_style` and `adaptive_style`.

transform and adaptive keep every tenth photograph apart and tell the loss on these, where there are ten; adaptive
needs ten styles for that, of which it does the same. contrastive and norms train on all.

\b
transform     one network for the given styles, which may be blended (fast_style)
adaptive      a decoder for any style, by statistics of features (adaptive_style)
contrastive   the same, with styles told apart by a learned code (adaptive_style); three trainings of --steps each
norms         no network, but a figure: losses with instance and batch norm, for one style
"""


@click.command(
    help=HELP,
    epilog="Example: advbench train-style transform --model torchvision:squeezenet1_1@IMAGENET1K_V1 --style starry.jpg "
    "--images photos --out starry.safetensors",
)
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option("--model", required=True, help="The network whose features judge: a name or a spec.")
@click.option("--weights", type=FILE, help="A file with its weights.")
@click.option("--model-param", "model_params", multiple=True, metavar="KEY=VALUE", help="Of the model; repeatable.")
@click.option("--dataset", help="The data whose classes and image size the model has.  [default: ImageNet]")
@click.option("--style", "styles", multiple=True, type=FILE, help="A style image; repeatable: one network holds all.")
@click.option("--styles", "style_folder", type=click.Path(file_okay=False, path_type=Path), help="Or a folder of them.")
@click.option("--images", required=True, type=click.Path(file_okay=False, path_type=Path), help="Photographs.")
@click.option("--steps", default=2000, show_default=True, type=click.IntRange(1))
@click.option("--batch", default=4, show_default=True, type=click.IntRange(1))
@click.option("--side", default=128, show_default=True, type=click.IntRange(16), help="Of the square crops.")
@click.option("--lr", default=2e-3, show_default=True, type=float)
@click.option("--style-weight", type=float, help="Against the content's 1.  [default: depends on KIND]")
@click.option("--norm", type=click.Choice(["instance", "batch"]), help="Of transform.  [default: instance]")
@click.option(
    "--layer",
    help="Of adaptive and contrastive: whose features are decoded.  [default: the first at a quarter of the size]",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--allow-code", is_flag=True, help="Run model code that --model names (python:module:function).")
@click.option(
    "--out",
    required=True,
    type=OUT_FILE,
    help="FILE.safetensors, of norms FILE.png; FILE.csv beside it gets the losses.",
)
def train_style(
    *,
    kind: str,
    model: str,
    weights: Path | None,
    model_params: tuple[str, ...],
    dataset: str | None,
    styles: tuple[Path, ...],
    style_folder: Path | None,
    images: Path,
    steps: int,
    batch: int,
    side: int,
    lr: float,
    style_weight: float | None,
    norm: str | None,
    layer: str | None,
    seed: int,
    allow_code: bool,
    out: Path,
) -> None:
    """Check the options, train, and tell how the loss changed."""
    _check(kind, {"norm": norm, "layer": layer})

    from advbench.bench.style_training import StyleJob, compare_norm_losses, train_style_network
    from advbench.report.norm_curves import write_norm_curves

    job = StyleJob(
        kind=kind,
        model=model,
        weights=weights,
        dataset=dataset,
        styles=styles,
        style_folder=style_folder,
        images=images,
        steps=steps,
        batch=batch,
        side=side,
        learning_rate=lr,
        style_weight=style_weight,
        norm=norm or "instance",
        layer=layer,
        seed=seed,
        allow_code=allow_code,
        model_params=settings(model_params, option="--model-param"),
    )
    if kind == "norms":
        write_norm_curves(out, compare_norm_losses(job, out), batch=batch, side=side)
    else:
        for change in train_style_network(job, out):
            click.echo(f"loss {change}")
    click.echo(f"wrote {out}")


def _check(kind: str, given: Mapping[str, str | None]) -> None:
    """Raises ConfigError for an option that means nothing to the kind."""
    odd = [name for name, value in given.items() if value is not None and name not in KINDS[kind]]
    if odd:
        takers = ", ".join(each for each, names in KINDS.items() if odd[0] in names)
        raise ConfigError(f"train-style {kind} takes no --{odd[0]}; it is of {takers}")

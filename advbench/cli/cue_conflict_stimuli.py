"""`advbench cue-conflict-stimuli`: pictures with the shape of one class and the texture of another."""

from __future__ import annotations

from pathlib import Path

import click

from advbench.cli.outputs import OUT_FOLDER

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    name="cue-conflict-stimuli",
    epilog="Example: advbench cue-conflict-stimuli --dataset cifar10 --class cat --class ship --each 10 "
    "--model torchvision:squeezenet1_1@IMAGENET1K_V1 --out stimuli",
)
@click.option("--dataset", required=True, help="The images: a name, npz:FILE or folder:FOLDER (a folder per class).")
@click.option("--split", default="test", show_default=True, help="Of the dataset.")
@click.option("--class", "classes", multiple=True, help="A class by name; repeatable.  [default: all]")
@click.option("--each", default=1, show_default=True, type=click.IntRange(1), help="Pictures of each ordered pair.")
@click.option("--model", required=True, help="The network that paints; suits: VGG-19, SqueezeNet.")
@click.option("--weights", type=FILE, help="A file with its weights.")
@click.option("--model-dataset", help="The data whose classes and channels --model has.  [default: ImageNet]")
@click.option("--side", default=128, show_default=True, type=click.IntRange(16), help="Of a picture, in pixels.")
@click.option(
    "--style-weight",
    default=100.0,
    show_default=True,
    type=float,
    help="Against the content's 1; less keeps more of the shape.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--allow-code", is_flag=True, help="Run model code that --model names (python:module:function).")
@click.option("--out", required=True, type=OUT_FOLDER, help="The folder to make.")
def cue_conflict_stimuli(
    *,
    dataset: str,
    split: str,
    classes: tuple[str, ...],
    each: int,
    model: str,
    weights: Path | None,
    model_dataset: str | None,
    side: int,
    style_weight: float,
    seed: int,
    allow_code: bool,
    out: Path,
) -> None:
    """Paint pictures for `advbench cue-conflict` from your own classes, by style transfer.

    For every ordered pair of classes an image of the one lends its shape, an image of the other its texture. Small
    images are enlarged to --side first. The folder gets PNG files and labels.csv, with how well each came out:
    style_left (share of the distance in style that is left), edges (correlation with the shape's image).
    A picture takes seconds on one core.
    """
    from tqdm import tqdm

    from advbench.bench.stimulus_folder import StimulusJob, make_stimuli

    job = StimulusJob(
        painter=model,
        dataset=dataset,
        weights=weights,
        painter_dataset=model_dataset,
        split=split,
        classes=classes,
        each=each,
        side=side,
        style_weight=style_weight,
        seed=seed,
        allow_code=allow_code,
    )
    with tqdm(unit="picture", disable=None) as bar:

        def told(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        made = make_stimuli(job, out, told=told)
    click.echo(
        f"{made.pictures} pictures; distance in style {1 - made.style_left:.0%} lower (median); correlation of edges "
        f"with the shape's image {made.edges:.2f}, with the texture's {made.other_edges:.2f}; wrote {out}/labels.csv"
    )

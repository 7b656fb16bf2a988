"""`advbench picture`: images by optimisation, or by a network that was trained to make them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from advbench.cli.outputs import OUT_FILE
from advbench.cli.settings import parsed, settings
from advbench.types import ConfigError, Json

if TYPE_CHECKING:
    from torch import Tensor

    from advbench.bench.picture_sources import Source

FILE = click.Path(dir_okay=False, path_type=Path)
_EPILOG = """\b
Networks that suit: texture, style, arf      VGG-19 (their default), then SqueezeNet
                    visualize, maco, dream   GoogLeNet, VGG, ResNet, SqueezeNet
                    inversion                VGG, SqueezeNet, ResNet
                    plug_in_inversion        ResNet, vision transformers, MLPs
                    efros_leung, wei_levoy   need none

Example: advbench picture visualize --model torchvision:squeezenet1_1@IMAGENET1K_V1 --target class:zebra --out zebra.png
"""


class _Remembering(click.Command):
    """A command that knows how it was called, for the file that it writes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["words"] = shlex.join(["advbench", "picture", *args])
        return super().parse_args(ctx, args)


@click.command(
    cls=_Remembering,
    epilog=_EPILOG,
)
@click.argument("method")
@click.option("--model", help="A name or a spec, such as torchvision:resnet18@IMAGENET1K_V1.")
@click.option("--weights", type=FILE, help="A file, such as `train` writes.")
@click.option("--model-param", "model_params", multiple=True, metavar="KEY=VALUE", help="Of the model; repeatable.")
@click.option("--dataset", help="The data whose classes and image size the model has.  [default: ImageNet]")
@click.option("--target", help='What to look for: "class:zebra", LAYER, LAYER:CHANNEL@centre, sums.')
@click.option("--image", "pictures", multiple=True, type=FILE, help="The picture to start from; repeatable for frames.")
@click.option("--style", "styles", multiple=True, type=FILE, help="A style image; repeatable.")
@click.option("--guide", type=FILE, help="A picture whose features are looked for.")
@click.option("--images", "folder", type=click.Path(file_okay=False, path_type=Path), help="A folder of photographs.")
@click.option("--network", type=FILE, help="A file that `train-style` wrote.")
@click.option("--size", metavar="H[xW]", help="Of the picture.  [default: the image's, or what the method finds fit]")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 64), help="How many different pictures.")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the method; repeatable.")
@click.option(
    "--vary",
    metavar="KEY=V1,V2,...",
    help="A labelled strip: a picture for each value of a parameter, target, style, image.",
)
@click.option("--true-size", is_flag=True, help="Write small pictures pixel by pixel: else those are enlarged.")
@click.option("--every", type=click.IntRange(1), help="Previews every so many steps, in OUT.previews.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--allow-code", is_flag=True, help="Run model code that --model names (python:module:function).")
@click.option("--out", required=True, type=OUT_FILE, help="FILE.png; FILE.gif or FILE.mp4 for frames.")
@click.pass_context
def picture(
    context: click.Context,
    *,
    method: str,
    model: str | None,
    weights: Path | None,
    model_params: tuple[str, ...],
    dataset: str | None,
    target: str | None,
    pictures: tuple[Path, ...],
    styles: tuple[Path, ...],
    guide: Path | None,
    folder: Path | None,
    network: Path | None,
    size: str | None,
    count: int,
    params: tuple[str, ...],
    vary: str | None,
    true_size: bool,
    every: int | None,
    seed: int,
    device: str,
    allow_code: bool,
    out: Path,
) -> None:
    """Make a picture by METHOD (see: advbench list syntheses; advbench show synthesis METHOD).

    A run that was interrupted goes on where it was when the same command is given again. The file says how it was made
    (PNG text: command, seed, versions). Pictures of less than 128 pixels are drawn with larger ones, to at least 256;
    their true size is in the text too.
    """
    from advbench.bench.picture_sources import Source, read_size
    from advbench.bench.picturing import sizes_itself
    from advbench.registry import SYNTHESES

    entry = SYNTHESES[method]
    source = Source(
        model or _usual_model(method, asked=bool(pictures or styles or vary)),
        weights,
        dataset,
        allow_code,
        pictures,
        styles,
        guide,
        folder,
        network,
        target,
        read_size(size),
        settings(model_params, option="--model-param"),
        only_made=sizes_itself(entry),
    )
    chosen = settings(params, entries=[entry])
    words = str(context.meta["words"])
    question = _Question(method, chosen, seed, count, words, vary, not true_size, every, device)
    _make(source, question, out)


@dataclass(frozen=True)
class _Question:
    """What is to be made of a source, and how it is told."""

    method: str
    params: Mapping[str, Json]
    seed: int
    count: int
    words: str
    vary: str | None
    enlarge: bool
    every: int | None
    device: str


def _make(source: Source, question: _Question, out: Path) -> None:
    """Make and write the picture or the strip. Mistakes are told before work starts."""
    import torch

    from advbench.bench.picture_advice import advice
    from advbench.bench.picture_run import Asked, picture_facts, run_picture
    from advbench.bench.picture_sources import materials_of
    from advbench.bench.picture_strip import read_variation, run_strip, varied
    from advbench.bench.picturing import arguments_of
    from advbench.registry import SYNTHESES
    from advbench.report.picture_file import check_suffix, write_pictures
    from advbench.report.picture_strip import check_strip, write_strip

    check_suffix(out)
    variation = None if question.vary is None else read_variation(question.vary)
    if variation is not None:
        check_strip(out)
        source = _with_first_value(source, variation.key, variation.values[0])
    on_gpu = question.device == "cuda" or (question.device == "auto" and torch.cuda.is_available())
    materials = materials_of(source, torch.device("cuda" if on_gpu else "cpu"))
    asked = Asked(question.method, materials, question.params, question.seed, question.count, question.words)
    facts, every = picture_facts(asked), question.every

    def preview(name: str, images: Tensor) -> None:
        write_pictures(out.with_name(f"{out.name}.previews") / f"{name}.png", images, facts, enlarge=question.enlarge)

    if variation is None:
        arguments_of(SYNTHESES[question.method], materials, question.params)
        write_pictures(out, run_picture(asked, out, every=every, preview=preview), facts, enlarge=question.enlarge)
    else:
        strip = run_strip(varied(asked, variation, parsed), variation, out, every=every, preview=preview)
        write_strip(out, variation.key, strip, facts, enlarge=question.enlarge)
    click.echo(f"wrote {out}")
    if materials.model is not None and (hint := advice(question.method, materials.model)):
        click.echo(hint, err=True)


def _usual_model(method: str, *, asked: bool) -> str | None:
    """The network that a method takes if none is named. asked: whether there are images to make something of."""
    from advbench.bench.picture_advice import DEFAULT_MODELS

    usual = DEFAULT_MODELS.get(method) if asked else None
    if usual:
        click.echo(f"no --model: {method} takes {usual}, downloaded once", err=True)
    return usual


def _with_first_value(source: Source, key: str, value: str) -> Source:
    """The source with the first value of what varies. Raises ConfigError if that is given as well."""
    given = {"target": source.target, "image": source.pictures, "style": source.styles}
    if given.get(key):
        raise ConfigError(f"--vary {key}: --{key} is given as well")
    if key == "target":
        return replace(source, target=value)
    if key == "image":
        return replace(source, pictures=(Path(value),))
    return replace(source, styles=(Path(value),)) if key == "style" else source

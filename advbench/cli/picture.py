"""`advbench picture`: images by optimisation, or by a network that was trained to make them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from advbench.cli.settings import settings

if TYPE_CHECKING:
    from torch import Tensor

FILE = click.Path(dir_okay=False, path_type=Path)


class _Remembering(click.Command):
    """A command that knows how it was called, for the file that it writes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["words"] = shlex.join(["advbench", "picture", *args])
        return super().parse_args(ctx, args)


@click.command(
    cls=_Remembering,
    epilog="Example: advbench picture visualize --model torchvision:squeezenet1_1@IMAGENET1K_V1 --target class:340 "
    "--out zebra.png",
)
@click.argument("method")
@click.option("--model", help="A name or a spec, such as torchvision:resnet18@IMAGENET1K_V1.")
@click.option("--weights", type=FILE, help="A file, such as `train` writes.")
@click.option("--dataset", help="The data whose classes and image size the model has.  [default: ImageNet]")
@click.option("--target", help='What to look for: "class:340", LAYER, LAYER:CHANNEL@centre, sums.')
@click.option("--image", "pictures", multiple=True, type=FILE, help="The picture to start from; repeatable for frames.")
@click.option("--style", "styles", multiple=True, type=FILE, help="A style image; repeatable.")
@click.option("--guide", type=FILE, help="A picture whose features are looked for.")
@click.option("--images", "folder", type=click.Path(file_okay=False, path_type=Path), help="A folder of photographs.")
@click.option("--network", type=FILE, help="A file that `train-style` wrote.")
@click.option("--size", metavar="H[xW]", help="Of the picture.  [default: the image's, or what the method finds fit]")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 64), help="How many different pictures.")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the method; repeatable.")
@click.option("--every", type=click.IntRange(1), help="Previews every so many steps, in OUT.previews.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--allow-code", is_flag=True, help="Run model code that --model names (python:module:function).")
@click.option("--out", required=True, type=FILE, help="FILE.png; FILE.gif or FILE.mp4 for frames.")
@click.pass_context
def picture(
    context: click.Context,
    *,
    method: str,
    model: str | None,
    weights: Path | None,
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
    every: int | None,
    seed: int,
    device: str,
    allow_code: bool,
    out: Path,
) -> None:
    """Make a picture by METHOD (see: advbench list syntheses; advbench show synthesis METHOD).

    A run that was interrupted goes on where it was when the same command is given again. The file says how it was made
    (PNG text: command, seed, versions).
    """
    import torch

    from advbench.bench.picture_run import Asked, picture_facts, run_picture
    from advbench.bench.picture_sources import Source, materials_of, read_size
    from advbench.bench.picturing import arguments_of
    from advbench.registry import SYNTHESES
    from advbench.report.picture_file import check_suffix, write_pictures

    entry, given = SYNTHESES[method], settings(params)
    check_suffix(out)
    source = Source(
        model, weights, dataset, allow_code, pictures, styles, guide, folder, network, target, read_size(size)
    )
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    materials = materials_of(source, torch.device("cuda" if on_gpu else "cpu"))
    arguments_of(entry, materials, given)  # mistakes are told before work starts
    asked = Asked(method, materials, given, seed, count, str(context.meta["words"]))
    facts = picture_facts(asked)

    def preview(name: str, images: Tensor) -> None:
        write_pictures(out.with_name(f"{out.name}.previews") / f"{name}.png", images, facts)

    write_pictures(out, run_picture(asked, out, every=every, preview=preview), facts)
    click.echo(f"wrote {out}")

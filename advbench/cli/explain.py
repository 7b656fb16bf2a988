"""`advbench explain`: what in an image speaks for a class."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import click

from advbench.cli.outputs import OUT_FILE
from advbench.cli.settings import settings
from advbench.types import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from advbench.bench.explained_images import Shown
    from advbench.bench.explanation import Method, Panel, Question
    from advbench.report.comparison_sheet import Drawn, Shared

FILE = click.Path(dir_okay=False, path_type=Path)


class _Remembering(click.Command):
    """A command that knows how it was called, for the file that it writes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["words"] = shlex.join(["advbench", "explain", *args])
        return super().parse_args(ctx, args)


@click.command(
    cls=_Remembering,
    epilog="Example: advbench explain grad_cam,saliency --model torchvision:resnet18@IMAGENET1K_V1 --image dog.jpg "
    "--top 2 --out dog.png",
)
@click.argument("method", metavar="METHOD[,METHOD...]")
@click.option("--model", "specs", multiple=True, required=True, help="A name or a spec; a second one for METHOD@2.")
@click.option("--weights", multiple=True, type=FILE, help="A file, such as `train` writes; one per --model, in order.")
@click.option("--image", "images", multiple=True, type=FILE, help="A picture; repeatable.")
@click.option("--images", "folder", type=click.Path(file_okay=False, path_type=Path), help="Or a folder of pictures.")
@click.option("--dataset", help="Or samples of a dataset: a name or a spec.")
@click.option("--samples", type=click.IntRange(1, 64), help="How many of them.  [default: 6 of a dataset]")
@click.option("--classes-of", help="The dataset whose classes and image size the pictures get.  [default: ImageNet]")
@click.option("--size", type=click.IntRange(8), help="Side of a picture or of a folder's images.  [default: 224]")
@click.option("--class", "classes", multiple=True, help="Explain this class (number or name); repeatable.")
@click.option("--target", "targets", multiple=True, help='Or this score: "class:tabby - class:lynx", log_prob:y, ...')
@click.option("--top", type=click.IntRange(1, 20), help="Or the TOP most likely classes.  [default: the predicted one]")
@click.option("--layer", help="For methods that look at a layer.")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="KEY or METHOD.KEY; repeatable.")
@click.option("--control", is_flag=True, help="Beside each map: random weights, and the map shuffled.")
@click.option("--metrics", "measured", is_flag=True, help="Below each map: how faithful it is, in numbers.")
@click.option(
    "--box", "boxes", multiple=True, metavar="LEFT,TOP,RIGHT,BOTTOM",
    help="Where the object is, in shares of the picture shown, for --metrics; one per picture.",
)  # fmt: skip
@click.option(
    "--draw", default="auto", show_default=True, type=click.Choice(["auto", "map", "overlay", "both", "colour"])
)
@click.option("--scale", default="image", show_default=True, type=click.Choice(["image", "all", "none"]))
@click.option("--columns", default=6, show_default=True, type=click.IntRange(2, 12), help="Most pictures in a line.")
@click.option("--width", default=7.2, show_default=True, type=click.FloatRange(3, 40), help="Of the figure, in inches.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--allow-code", is_flag=True, help="Run model code that --model names (python:module:function).")
@click.option("--out", required=True, type=OUT_FILE, help="FILE.png, or FILE.npz for the raw signed maps.")
@click.pass_context
def explain(
    context: click.Context,
    *,
    method: str,
    specs: tuple[str, ...],
    weights: tuple[Path, ...],
    images: tuple[Path, ...],
    folder: Path | None,
    dataset: str | None,
    samples: int | None,
    classes_of: str | None,
    size: int | None,
    classes: tuple[str, ...],
    targets: tuple[str, ...],
    top: int | None,
    layer: str | None,
    params: tuple[str, ...],
    control: bool,
    measured: bool,
    boxes: tuple[str, ...],
    draw: Drawn,
    scale: Shared,
    columns: int,
    width: float,
    seed: int,
    device: str,
    allow_code: bool,
    out: Path,
) -> None:
    """Draw heat maps of METHOD (see: advbench list attributions) for pictures or for samples of a dataset.

    Several methods stand side by side; METHOD@2 looks into the second --model. With several classes there is a column
    for each, or a row where there are several methods. How to read a map is said below it, and in the file itself
    (PNG text: caption, description, command, seed, versions). Maps are made on --device, --metrics on the CPU.
    """
    from advbench.bench.asked_scores import asked_scores
    from advbench.bench.explained_images import Source, explained_images
    from advbench.bench.explanation import Question, random_copy, with_layers
    from advbench.core.devices import choose_device
    from advbench.models.predict import predict
    from advbench.report.comparison_sheet import Looks, Words, comparison_sheet
    from advbench.report.heat_sheet import write_heat_sheet

    chosen, place = _methods(method, params, layer, len(specs)), choose_device(device)
    _check_files(out, specs, weights)
    shown = explained_images(Source(images, folder, dataset, samples, classes_of, size, seed))
    x, nets = shown.x.to(place), [net.to(place) for net in _nets(specs, weights, shown, allow_code=allow_code)]
    logits = predict(nets[0], x).cpu()
    asked = asked_scores(logits, shown.classes, classes=classes, targets=targets, top=top)
    others = [random_copy(net, x, seed) for net in nets] if control else []
    objects = _objects(boxes, shown.x, measured)
    question, made = _made(with_layers(Question(x, asked, chosen, nets, others, seed, objects)), measured)
    if out.suffix == ".npz":
        _write_maps(out, question, made, shown.titles)
    else:
        seen = [shown.classes[guess] for guess in logits.argmax(1).tolist()]
        words = Words(shown.titles, _heads(shown, logits), seen, _named(specs, weights), _facts(context, seed))
        write_heat_sheet(out, comparison_sheet(question, made, words, Looks(draw, scale, columns, width)))
    click.echo(f"wrote {out}")


def _methods(text: str, params: Sequence[str], layer: str | None, nets: int) -> list[Method]:
    """The methods that METHOD[,METHOD...] names, with what --param and --layer give them."""
    from advbench.bench.explanation import methods
    from advbench.registry import ATTRIBUTIONS

    names = [name.strip() for name in text.split(",")]
    entries = [ATTRIBUTIONS[name.partition("@")[0]] for name in names]
    return methods(names, settings(params, entries=entries), layer=layer, nets=nets)


def _objects(boxes: Sequence[str], x: Tensor, measured: bool) -> Tensor | None:
    """(B, H, W) bool: the pixels of x (B, C, H, W) in the boxes; None without any."""
    import torch

    if not boxes:
        return None
    if not measured or len(boxes) != len(x):
        raise ConfigError(f"--box is for --metrics, one per picture: {len(x)} pictures, {len(boxes)} boxes")
    masks = []
    for text in boxes:
        try:
            left, top, right, bottom = (float(part) for part in text.split(","))
        except ValueError:
            raise ConfigError(f"--box {text}: four numbers LEFT,TOP,RIGHT,BOTTOM are expected") from None
        if not (0.0 <= left < right <= 1.0 and 0.0 <= top < bottom <= 1.0):
            raise ConfigError(f"--box {text}: shares of the picture are expected, 0 <= LEFT < RIGHT <= 1, TOP < BOTTOM")
        rows, columns = ((torch.arange(size) + 0.5) / size for size in x.shape[2:])
        masks.append(((rows >= top) & (rows < bottom))[:, None] & (columns >= left) & (columns < right))
    return torch.stack(masks)


def _made(question: Question, measured: bool) -> tuple[Question, list[Panel]]:
    """The question on the CPU, and its maps with their notes."""
    from advbench.bench.explanation import panels
    from advbench.bench.explanation_measures import measured as with_measures

    made = panels(question, tell=_tell)
    question = replace(question, x=question.x.cpu(), nets=[net.cpu() for net in question.nets])
    if measured:
        made = with_measures(question, made, tell=_tell)
    _tell("")
    return question, made


def _check_files(out: Path, specs: Sequence[str], weights: Sequence[Path]) -> None:
    from advbench.models.load import comes_trained

    if out.suffix not in (".png", ".npz"):
        raise ConfigError(f"--out must end in .png or .npz, got {out.name}")
    if len(weights) > len(specs):
        raise ConfigError(f"{len(weights)} --weights for {len(specs)} --model; give one for each, in order")
    for spec, file in zip_longest(specs, weights):
        if not comes_trained(spec, weights=file):
            raise ConfigError(f"{spec} has no weights: an untrained net explains nothing; train one and give --weights")


def _nets(specs: Sequence[str], weights: Sequence[Path], shown: Shown, *, allow_code: bool) -> list[nn.Module]:
    from advbench.models.load import load_model

    shape = (int(shown.x.shape[1]), int(shown.x.shape[2]), int(shown.x.shape[3]))
    return [
        load_model(spec, shape=shape, classes=len(shown.classes), weights=file, allow_code=allow_code)
        for spec, file in zip_longest(specs, weights)
    ]


def _named(specs: Sequence[str], weights: Sequence[Path]) -> list[str]:
    """The nets as a figure names them: without the folders that they lie in."""
    names = [spec.rpartition("/")[2] for spec in specs]
    return [f"{name}, {file.name}" if file else name for name, file in zip_longest(names, weights)]


def _heads(shown: Shown, logits: Tensor) -> list[str]:
    """What the first net sees in each image, and what it is if that is known and something else."""
    chances, best = logits.softmax(1).max(1)
    heads = []
    for chance, guess, label in zip(chances.tolist(), best.tolist(), shown.labels, strict=True):
        truth = "" if label in (None, guess) else f"\nlabelled {shown.classes[label]}"
        heads.append(f"{shown.classes[guess]}, {chance:.0%}{truth}")
    return heads


def _facts(context: click.Context, seed: int) -> dict[str, str]:
    import platform
    from importlib.metadata import version

    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "matplotlib"))
    return {
        "Title": "Heat maps of image classifiers",
        "Software": f"advbench {version('advbench')}",
        "Command": str(context.meta["words"]),
        "Seed": str(seed),
        "Versions": f"Python {platform.python_version()}, {versions}",
    }


def _write_maps(out: Path, question: Question, made: Sequence[Panel], titles: Sequence[str]) -> None:
    """The raw signed maps, and beside each which image, score, method and control it belongs to."""
    import numpy as np

    from advbench.store import atomic_write

    arrays = {f"map_{number}": panel.heat.numpy() for number, panel in enumerate(made)}
    arrays["images"] = question.x.numpy()
    arrays["image"] = np.array([panel.sample for panel in made])
    arrays["title"] = np.array([titles[panel.sample] for panel in made])
    arrays["score"] = np.array([question.asked[panel.asked].texts[panel.sample] for panel in made])
    arrays["method"] = np.array([question.methods[panel.method].entry.name for panel in made])
    arrays["control"] = np.array([panel.control for panel in made])
    atomic_write(out, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def _tell(text: str) -> None:
    """Show what is being worked on, where somebody is looking."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", nl=False, err=True)

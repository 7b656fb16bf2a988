"""`advbench features`: what a network has learned, as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from advbench.cli.outputs import OUT_FILE
from advbench.types import ConfigError

# view -> the options that mean something to it, beside those of the model and its images
VIEWS = {
    "layers": (),
    "filters": ("layer", "scale", "pixel_space"),
    "activations": ("layer", "channels", "scale", "queries"),
    "patches": ("layer", "channels", "count", "optimised"),
    "top9": ("layer", "channels", "count", "optimised"),
    "neighbours": ("layer", "count", "queries", "metric"),
    "pca": ("layer", "attack", "norm", "eps", "param"),
    "tsne": ("layer", "perplexity", "attack", "norm", "eps", "param"),
    "evolution": ("layer", "channels", "epochs", "projected"),
    "compare": (),
    "grabcut": ("queries",),
}

HELP = """Draw VIEW of what a network has learned.

\b
layers       every layer: output, receptive field, stride (printed)
filters      the weights of a convolution (the first)
activations  the maps that a layer puts out for one image
patches      what excites a channel most, over all images
top9         the same with the deconvnet projection of the unit
neighbours   the nearest images in feature space and in pixels
pca, tsne    all images in the plane and on a grid; with --attack, where it takes them
evolution    train --model and watch its features form
compare      dead units, aliasing, repeated filters of several models
grabcut      the object that the prediction hangs on, cut out by its saliency (extra: opencv)
"""


@click.command(
    help=HELP,
    epilog="Example: advbench features top9 --model torchvision:squeezenet1_1@IMAGENET1K_V1 --images photos/ "
    "--layer features.7 --out top9.png",
)
@click.argument("view", type=click.Choice(list(VIEWS)), metavar="VIEW")
@click.option("--model", required=True, multiple=True, help="A name or a spec; for `compare` one or more, repeated.")
@click.option("--weights", multiple=True, type=click.Path(dir_okay=False, path_type=Path), help="A file per model.")
@click.option("--dataset", help="A name or a spec, such as folder:PATH#imagenet.")
@click.option("--images", type=click.Path(file_okay=False, path_type=Path), help="Or a folder of pictures, no labels.")
@click.option("--samples", type=click.IntRange(1), help="How many of them.  [default: at most 1000]")
@click.option("--size", type=click.IntRange(8), help="Side that a folder's pictures are brought to.  [default: 224]")
@click.option("--layer", multiple=True, help="See `features layers`; for `evolution` several.")
@click.option("--channels", help="Such as 3,17,40-47; for `evolution` how many of each layer.")
@click.option("--count", type=click.IntRange(1), help="Patches or neighbours in a row.  [default: 9 or 6]")
@click.option("--queries", help="Images to look at, such as 0,12,40; the first is 0.")
@click.option("--metric", type=click.Choice(["l2", "cosine"]), help="Of the neighbours.  [default: l2]")
@click.option("--scale", type=click.Choice(["each", "global"]), help="One scale per tile or one for all.")
@click.option("--pixel-space", is_flag=True, help="First filters as they act on pixels: divided by the model's std.")
@click.option("--perplexity", type=click.FloatRange(1.0), help="Of t-SNE.  [default: 30]")
@click.option("--epochs", type=click.IntRange(2), help="Of the training that is watched.  [default: 10]")
@click.option("--optimised", is_flag=True, help="Before the patches, the image that excites the channel most.")
@click.option("--projected", is_flag=True, help="For evolution: what the units respond to, by deconvnet projection.")
@click.option("--attack", help="For pca and tsne: where this attack takes the images, beside noise of the same size.")
@click.option("--norm", help="Of the attack: 0, 1, 2 or inf.  [default: inf]")
@click.option("--eps", help="Its radius in input units, such as 8/255.")
@click.option("--param", multiple=True, metavar="KEY=VALUE", help="A parameter of the attack; repeatable.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--allow-code", is_flag=True, help="Run model code that --model names (python:module:function).")
@click.option("--out", type=OUT_FILE, help="FILE.png; `layers` prints instead.")
def features(
    *,
    view: str,
    model: tuple[str, ...],
    weights: tuple[Path, ...],
    dataset: str | None,
    images: Path | None,
    samples: int | None,
    size: int | None,
    layer: tuple[str, ...],
    channels: str | None,
    count: int | None,
    queries: str | None,
    metric: str | None,
    scale: str | None,
    pixel_space: bool,
    perplexity: float | None,
    epochs: int | None,
    optimised: bool,
    projected: bool,
    attack: str | None,
    norm: str | None,
    eps: str | None,
    param: tuple[str, ...],
    seed: int,
    allow_code: bool,
    out: Path | None,
) -> None:
    """Check the options, look, and draw."""
    given = {
        "layer": bool(layer), "channels": channels, "count": count, "queries": queries, "metric": metric,
        "scale": scale, "pixel_space": pixel_space, "perplexity": perplexity, "epochs": epochs,
        "optimised": optimised, "projected": projected, "attack": attack, "norm": norm, "eps": eps, "param": param,
    }  # fmt: skip
    _check(view, given, images=images is not None, dataset=dataset is not None, out=out is not None)

    from advbench.cli.feature_views import DRAWN, Request, numbers
    from advbench.cli.settings import settings
    from advbench.registry import ATTACKS

    attacks = [] if attack is None else [ATTACKS[attack]]
    request = Request(
        models=model, weights=weights, dataset=dataset, images=images, samples=samples, size=size, layers=layer,
        channels=numbers(channels, "--channels"), count=count, queries=numbers(queries, "--queries"),
        metric=metric or "l2", scale=scale, pixel_space=pixel_space, perplexity=perplexity or 30.0,
        epochs=epochs or 10, seed=seed, allow_code=allow_code, optimised=optimised, projected=projected,
        attack=attack, norm=norm or "inf", eps=eps, params=settings(param, entries=attacks),
        out=out or Path("layers"),
    )  # fmt: skip
    DRAWN[view](request)
    if view != "layers":
        click.echo(f"wrote {out}")


def _check(view: str, given: Mapping[str, object], *, dataset: bool, images: bool, out: bool) -> None:
    """Raises ConfigError for an option that means nothing to the view, and for what is missing or too much."""
    odd = [name for name, value in given.items() if value and name not in VIEWS[view]]
    if odd:
        raise ConfigError(f"features {view} takes no --{odd[0].replace('_', '-')}")
    attack = given["attack"]
    if bool(attack) != bool(given["eps"]) or (not attack and (given["norm"] or given["param"])):
        raise ConfigError(f"features {view}: --attack needs --eps, and --eps, --norm and --param need --attack")
    if dataset and images:
        raise ConfigError("features needs --dataset or --images, not both")
    if not out and view != "layers":
        raise ConfigError(f"features {view} needs --out FILE.png")

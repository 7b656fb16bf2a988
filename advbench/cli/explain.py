"""`advbench explain`: what in an image speaks for a class."""

from __future__ import annotations

from pathlib import Path

import click

from advbench.types import ConfigError


@click.command(
    epilog="Example: advbench explain grad_cam --model torchvision:resnet18@IMAGENET1K_V1 --image dog.jpg --out dog.png"
)
@click.argument("method")
@click.option("--model", required=True, help="A name or a spec, such as sequential:LAYERS.json#NAME.")
@click.option("--weights", type=click.Path(dir_okay=False, path_type=Path), help="A file, such as `train` writes.")
@click.option("--image", type=click.Path(dir_okay=False, path_type=Path), help="One picture.")
@click.option("--dataset", help="Or samples of a dataset: a name or a spec.")
@click.option("--samples", default=6, show_default=True, type=click.IntRange(1, 64), help="How many of the dataset.")
@click.option("--size", type=click.IntRange(8), help="Side of a picture or of a folder's images.  [default: 224]")
@click.option("--class", "index", type=click.IntRange(0), help="Explain this class; default: the predicted one.")
@click.option("--layer", help="For methods that look at a layer.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--allow-code", is_flag=True, help="Run model code that --model names (python:module:function).")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="FILE.png")
def explain(
    *,
    method: str,
    model: str,
    weights: Path | None,
    image: Path | None,
    dataset: str | None,
    samples: int,
    size: int | None,
    index: int | None,
    layer: str | None,
    seed: int,
    allow_code: bool,
    out: Path,
) -> None:
    """Draw the heat map of METHOD (see: advbench list attributions) for a picture or for samples of a dataset."""
    import torch

    from advbench.attributions.explain import explain as explained
    from advbench.datasets.class_names import class_names
    from advbench.datasets.images import read_image
    from advbench.datasets.load import load_dataset
    from advbench.datasets.select import select
    from advbench.models.load import comes_trained, load_model
    from advbench.models.predict import predict
    from advbench.report.heat_sheet import write_heat_sheet

    if (image is None) == (dataset is None):
        raise ConfigError("explain needs either --image or --dataset")
    if not comes_trained(model, weights=weights):
        raise ConfigError(f"{model} has no weights: an untrained net explains nothing; train one and give --weights")
    if image is not None:
        x, names = read_image(image, size=size or 224)[None], class_names("imagenet")
    else:
        data = load_dataset(str(dataset), size=size)
        ids = select(data, samples, seed)
        x, names = data.images(ids), data.classes
    shape = (int(x.shape[1]), int(x.shape[2]), int(x.shape[3]))
    net = load_model(model, shape=shape, classes=len(names), weights=weights, allow_code=allow_code)
    chance, best = predict(net, x).softmax(1).max(1)
    if index is not None and index >= len(names):
        raise ConfigError(f"--class {index}: the classes are 0 .. {len(names) - 1}")
    y = best if index is None else torch.full_like(best, index)
    params = {} if layer is None else {"layer": layer}
    heat = explained(method, net, x, y, seed=seed, sample_ids=None, **params)
    titles = [
        f"predicted {names[int(k)]} ({float(p):.1%})\nexplained: {names[int(c)]}"
        for k, p, c in zip(best, chance, y, strict=True)
    ]
    write_heat_sheet(out, x, heat, titles, method)
    click.echo(f"wrote {out}")

"""Are the maps true to the network? Deletion and ROAD against random maps; what is left when weights or class change.

    python -m benchmarks.faithfulness --model torchvision:squeezenet1_1 --weights W.safetensors --photos FOLDER

For each method: the area under the deletion curve (metrics/deletion.py: raw score of the predicted class, removed
pixels filled in from their surroundings), on how many photos it is smaller than that of two random maps; the gap of
ROAD (metrics/road.py); the cascading weight randomisation (metrics/randomisation.py) and the likeness to the maps of a
random other class (metrics/random_logit.py). One random map draws every pixel, the other a coarse grid that is
enlarged: it takes whole places away at a time, as a class activation map does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import click
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from advbench.core.draws import Draws
from advbench.core.targets import logit
from advbench.datasets.images import read_image
from advbench.metrics.deletion import deletion
from advbench.metrics.pixel_strength import pixel_strength
from advbench.metrics.random_logit import random_logit
from advbench.metrics.randomisation import randomisation
from advbench.metrics.road import road
from advbench.models.load import load_model
from advbench.models.predict import predict
from advbench.registry import ATTRIBUTIONS

# What keeps a method affordable on a processor; everything else is the method's default.
PARAMETERS: Mapping[str, Mapping[str, object]] = {
    "integrated_gradients": {"nodes": 16, "most": 16},
    "smooth_grad": {"samples": 10},
    "occlusion": {"window": 56, "stride": 28},
    "rise": {"masks": 400},
}
METHODS = "gradient,smooth_grad,integrated_gradients,grad_cam,grad_cam_pp,hires_cam,layer_cam,occlusion"
CASCADED = "gradient,input_x_gradient,grad_cam,hires_cam,guided_backprop,deconvnet"
COARSE = 13  # cells per side of the coarse random map, as many as Grad-CAM sees on SqueezeNet
AT_A_TIME = 10
FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)  # of ROAD


@click.command()
@click.option("--model", "spec", required=True, help="Model spec.")
@click.option("--weights", type=click.Path(exists=True, path_type=Path))
@click.option("--photos", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--count", default=100, show_default=True, help="The first so many photos by name.")
@click.option("--size", default=224, show_default=True)
@click.option("--methods", default=METHODS, show_default=True, help="For deletion, with commas; empty: none.")
@click.option("--roads", default=METHODS, show_default=True, help="For ROAD, with commas; empty: none.")
@click.option("--road-photos", default=40, show_default=True)
@click.option("--cascade", default=CASCADED, show_default=True, help="For randomisation, with commas; empty: none.")
@click.option("--cascade-photos", default=8, show_default=True)
@click.option("--steps", default=20, show_default=True, help="Of the deletion curve.")
@click.option("--seed", default=0, show_default=True)
def main(
    *,
    spec: str,
    weights: Path | None,
    photos: Path,
    count: int,
    size: int,
    methods: str,
    roads: str,
    road_photos: int,
    cascade: str,
    cascade_photos: int,
    steps: int,
    seed: int,
) -> None:
    """Print the tables, as Markdown."""
    paths = sorted(path for path in photos.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg"))[:count]
    x = torch.stack([read_image(path, size=size) for path in paths])
    model = load_model(spec, weights=weights, shape=(3, size, size), classes=1000)
    y = predict(model, x, batch=16).argmax(1)
    if named := [name for name in methods.split(",") if name]:
        click.echo(_markdown(_deletions(model, x, y, named, steps=steps, seed=seed)))
    if named := [name for name in roads.split(",") if name]:
        few = slice(0, road_photos)
        click.echo(_markdown(_gaps(model, x[few], y[few], named, seed)))
    if named := [name for name in cascade.split(",") if name]:
        few = slice(0, cascade_photos)
        click.echo(_markdown(_cascades(model, x[few], y[few], named, seed)))


def _deletions(model: nn.Module, x: Tensor, y: Tensor, methods: list[str], *, steps: int, seed: int) -> pd.DataFrame:
    """A row per method: mean area, on how many photos it beats either random map, seconds per photo for the maps."""
    draws = Draws(seed, torch.arange(len(x)))
    areas = {name: _areas(model, x, y, heat, steps) for name, heat in _random_maps(x, draws).items()}
    seconds = {}
    for name in methods:
        start = time.perf_counter()
        heat = strengths(name, model, x, y, draws)
        seconds[name] = (time.perf_counter() - start) / len(x)
        areas[name] = _areas(model, x, y, heat, steps)
    return pd.DataFrame(
        {
            "deletion area": {name: f"{float(area.mean()):.3f}" for name, area in areas.items()},
            "below random pixels": {name: int((area < areas["random pixels"]).sum()) for name, area in areas.items()},
            "below coarse random": {name: int((area < areas["random, coarse"]).sum()) for name, area in areas.items()},
            "s per photo": {name: f"{seconds[name]:.2f}" if name in seconds else "" for name in areas},
        }
    )


def _gaps(model: nn.Module, x: Tensor, y: Tensor, methods: list[str], seed: int) -> pd.DataFrame:
    """A row per method: the mean gap of ROAD, in probability of the class, and on how many photos it is above 0."""
    draws = Draws(seed, torch.arange(len(x)))
    gaps = {name: _roads(model, x, y, heat) for name, heat in _random_maps(x, draws).items()}
    for name in methods:
        gaps[name] = _roads(model, x, y, strengths(name, model, x, y, draws))
    return pd.DataFrame(
        {
            "road": {name: f"{float(gap.mean()):.3f}" for name, gap in gaps.items()},
            "above 0": {name: int((gap > 0).sum()) for name, gap in gaps.items()},
            "above coarse random": {name: int((gap > gaps["random, coarse"]).sum()) for name, gap in gaps.items()},
        }
    )


def _random_maps(x: Tensor, draws: Draws) -> Mapping[str, Tensor]:
    coarse = functional.interpolate(draws.uniform((1, COARSE, COARSE), "coarse map"), size=x.shape[2:], mode="bilinear")
    return {"random pixels": draws.uniform((1, *x.shape[2:]), "random map"), "random, coarse": coarse}


def strengths(name: str, model: nn.Module, x: Tensor, y: Tensor, draws: Draws) -> Tensor:
    """(B, 1, H, W): the maps, as `pixel_strength` ranks their pixels."""
    parts = []
    for rows in tqdm(torch.split(torch.arange(len(x)), AT_A_TIME), desc=name):
        heat = ATTRIBUTIONS[name].function(model, x[rows], y[rows], draws=draws.rows(rows), **PARAMETERS.get(name, {}))
        assert isinstance(heat, Tensor)
        parts.append(pixel_strength(heat))
    return torch.cat(parts)


def _areas(model: nn.Module, x: Tensor, y: Tensor, heat: Tensor, steps: int) -> Tensor:
    parts = [
        deletion(
            model, x[rows], logit(y[rows]), heat[rows], draws=Draws(0, rows), steps=steps, baseline="surroundings"
        ).area
        for rows in tqdm(torch.split(torch.arange(len(x)), AT_A_TIME), desc="deletion")
    ]
    return torch.cat(parts)


def _roads(model: nn.Module, x: Tensor, y: Tensor, heat: Tensor) -> Tensor:
    parts = [
        road(model, x[rows], y[rows], heat[rows], draws=Draws(0, rows), fractions=FRACTIONS).gap
        for rows in tqdm(torch.split(torch.arange(len(x)), AT_A_TIME), desc="road")
    ]
    return torch.cat(parts)


def _cascades(model: nn.Module, x: Tensor, y: Tensor, methods: list[str], seed: int) -> pd.DataFrame:
    """A row per method: rank correlation with its map once top, half and all layers forgot, and for another class."""
    rows, draws = {}, Draws(seed, torch.arange(len(x)))
    for name in tqdm(methods, desc="randomisation"):
        params = PARAMETERS.get(name, {})

        def explain(net: nn.Module, y: Tensor, name: str = name, params: Mapping[str, object] = params) -> Tensor:
            heat = ATTRIBUTIONS[name].function(net, x, y, draws=draws, **params)
            assert isinstance(heat, Tensor)
            return heat

        found = randomisation(model, x, partial(explain, y=y), seed=seed, stages=8)
        other = random_logit(partial(explain, model), y, model(x[:1]).shape[1], draws=draws)
        mean = found.correlation.nanmean(1).tolist()
        rows[name] = {
            "first eighth": f"{mean[0]:.2f}",
            "half": f"{mean[3]:.2f}",
            "all": f"{mean[-1]:.2f}",
            "score": f"{found.score:.2f}",
            "left out": str(found.blank),
            "badge": found.badge,
            "other class": f"{other.score:.2f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _markdown(table: pd.DataFrame) -> str:
    head = ["method", *map(str, table.columns)]
    body = [[str(name), *map(str, values)] for name, values in zip(table.index, table.to_numpy(), strict=True)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *body]) + "\n"


if __name__ == "__main__":
    main()

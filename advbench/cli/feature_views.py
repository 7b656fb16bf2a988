"""The views of `advbench features`, one function each: look, then draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import click
import torch
from torch import Tensor

from advbench.cli.feature_cutouts import cutouts_view
from advbench.cli.feature_embeddings import pca_view, tsne_view
from advbench.cli.feature_optimised import optimised_images
from advbench.cli.feature_sources import (
    Request,
    both,
    called,
    chosen_layer,
    pictures,
    shown,
    sizes,
    trained_model,
)
from advbench.datasets.load import load_dataset
from advbench.defenses.settings import Training
from advbench.defenses.train import train
from advbench.features.activations import activations, features
from advbench.features.comparison import comparison
from advbench.features.deconv_projection import deconv_projection
from advbench.features.evolution import EPOCHS, Evolution, projections
from advbench.features.filters import Scale, filters
from advbench.features.layers import feature_layer, first_convolution, layers, map_layer, resolve_layer, weighted_layers
from advbench.features.neighbours import Metric, Neighbours, label_agreement, neighbours, possible_agreement
from advbench.features.patches import crops, fields, patches, strongest_channels
from advbench.models.load import load_model
from advbench.report.feature_plots import write_comparison, write_evolution
from advbench.report.feature_sheets import Words, write_activations, write_filters
from advbench.report.feature_strips import write_neighbours, write_patches
from advbench.types import ConfigError

__all__ = ["DRAWN", "Request", "numbers"]

_MOST_MAPS = 256
_QUERIES = 4
_PROBE = 256  # images that an evolution is seen on


def numbers(text: str | None, option: str) -> tuple[int, ...]:
    """3,17,40-42 as (3, 17, 40, 41, 42). Raises ConfigError for anything else."""
    found: list[int] = []
    for part in (text or "").split(",") if text else []:
        low, _, high = part.strip().partition("-")
        if not low.isdecimal() or (high and not high.isdecimal()):
            raise ConfigError(f"{option} {text}: whole numbers and ranges such as 3,17,40-42 are allowed")
        if int(high or low) < int(low):
            raise ConfigError(f"{option} {text}: the range {part.strip()} holds nothing; smaller number first")
        found += range(int(low), int(high or low) + 1)
    return tuple(dict.fromkeys(found))


def _layers(request: Request) -> None:
    shape, classes = sizes(request)
    model = trained_model(request, shape, classes, untrained=True)
    rows = [("layer", "type", "output", "field", "stride")]
    for layer in layers(model, shape, progress=shown()):
        field = "-" if layer.field is None else f"{layer.field[0]} x {layer.field[1]}{' *' if layer.clipped else ''}"
        stride = "-" if layer.stride is None else f"{layer.stride[0]:g} x {layer.stride[1]:g}"
        rows.append((layer.name, layer.kind, " x ".join(map(str, layer.shape)), field, stride))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    click.echo(f"\nfield: pixels that the central unit sees, of {shape[1]} x {shape[2]}; * cut by the border")


def _filters(request: Request) -> None:
    shape, classes = sizes(request)
    model = trained_model(request, shape, classes)
    layer = chosen_layer(request, model, first_convolution)
    scale = cast("Scale", request.scale or "each")
    weight = filters(model, layer, pixel_space=request.pixel_space)
    out, inputs, height, width = weight.shape
    said = "each filter on its own symmetric scale" if scale == "each" else "all filters on one symmetric scale"
    space = "divided by the std of the model's normalisation: as they act on pixels" if request.pixel_space else (
        "as stored: they act on what the layer is given"
    )  # fmt: skip
    more = "" if inputs in (1, 3) else " A corner of the out x in filters; deeper filters say little by themselves."
    words = Words(
        f"Filters of layer {layer}, {request.called}",
        f"{out} filters of {inputs} x {height} x {width}, {space}; {said}, mid grey is 0.{more}",
    )
    write_filters(request.out, weight, words, scale=scale)


def _activations(request: Request) -> None:
    source, model = both(request)
    layer = chosen_layer(request, model, lambda net: map_layer(net, source.shape))
    chosen = request.queries or (0,)
    x = source.read(torch.tensor(chosen[:1]))
    output = activations(model, x, layer)[0]
    if output.dim() != 3:
        raise ConfigError(f"{layer}: its output {tuple(output.shape)} is no map; see advbench features layers")
    channels = _channels(request, len(output)) or list(range(min(len(output), _MOST_MAPS)))
    scale = cast("Scale", request.scale or "global")
    silent = int((output[channels].flatten(1).amax(1) <= 0).sum())
    said = "one scale for all, to the 99.8th percentile" if scale == "global" else "each map on its own scale"
    words = Words(
        f"Activations of layer {layer}, {request.called}",
        f"Image {source.title_of(chosen[0])}. {len(channels)} of {len(output)} channels of {output.shape[1]} x "
        f"{output.shape[2]}, {said}; {silent} are silent here.",
    )
    write_activations(request.out, x[0], output[channels], channels, words, scale=scale)


def _patches(request: Request) -> None:
    _strips(request, projected=False)


def _top9(request: Request) -> None:
    _strips(request, projected=True)


def _strips(request: Request, *, projected: bool) -> None:
    source, model = both(request)
    layer = chosen_layer(request, model, lambda net: map_layer(net, source.shape))
    asked = list(request.channels)
    channels = asked or strongest_channels(
        model, layer, source.read, source.ids, 5 if projected else 8, progress=shown()
    )
    found = patches(model, layer, source.read, source.ids, channels, count=request.count or 9, progress=shown())
    boxes = fields(model, found, source.shape)
    seen: list[list[Tensor]] | None = None
    if projected:
        seen = []
        for units, ids, places in zip(found.units(), found.ids, boxes, strict=True):
            signals = deconv_projection(model, source.read(ids), layer, units)
            seen.append([s[:, b.top : b.bottom, b.left : b.right] for s, b in zip(signals, places, strict=True)])
    how = "" if asked else " Channels: those that single out some of these images most."
    below = (
        " Below each patch: its deconvnet projection around grey, on a scale to its 99.6th percentile."
        if projected
        else ""
    )
    words = Words(
        f"What excites channels of layer {layer}, {request.called}",
        f"The strongest units over {len(source.ids)} images of {source.name}, at most one per image: their receptive "
        f"fields, light where a border cuts them, image number and activation.{how}{below}",
    )
    made = optimised_images(model, layer, channels, source.shape, request.seed) if request.optimised else None
    patches_of = crops(source.read, found, boxes)
    write_patches(request.out, found, patches_of, boxes, words, projections=seen, optimised=made)


def _neighbours(request: Request) -> None:
    source, model = both(request)
    layer = chosen_layer(request, model, lambda net: feature_layer(net, source.shape))
    images = source.read(source.ids)
    metric = cast("Metric", request.metric)
    count = min(request.count or 6, len(images) - 1)
    vectors = features(model, layer, lambda ids: images[ids], source.ids, progress=shown())
    everyone = neighbours(vectors, source.ids, count=count, metric=metric)
    queries = torch.tensor(request.queries or _clear_cases(everyone))
    spaces = [
        (f"{layer}\n{metric}", neighbours(vectors, queries, count=count, metric=metric)),
        (f"pixels\n{metric}", neighbours(images, queries, count=count, metric=metric)),
    ]
    agreement = ""
    if source.labels is not None:
        in_pixels = neighbours(images, source.ids, count=count, metric=metric)
        agreement = (
            f" Over all images {label_agreement(everyone, source.labels):.1%} of these neighbours bear their query's "
            f"label, {label_agreement(in_pixels, source.labels):.1%} in pixels; at most "
            f"{possible_agreement(source.labels, count):.1%} could."
        )
    how = (
        ""
        if request.queries
        else " Queries: those whose nearest image in feature space stands out most from the next ones."
    )
    words = Words(
        f"Nearest images in feature space and in pixels, {request.called}",
        f"{len(images)} images of {source.name}; features: layer {layer}, maps averaged over places, nothing "
        f"standardised; the query itself is left out; below each its label and distance.{how}{agreement}",
    )
    names = [source.title_of(i) for i in range(len(images))]
    write_neighbours(request.out, list(images), spaces, names, words)


def _clear_cases(everyone: Neighbours) -> list[int]:
    clear = everyone.distances[:, 0] / everyone.distances[:, -1].clamp_min(1e-300)
    return clear.sort(stable=True).indices[:_QUERIES].tolist()


def _evolution(request: Request) -> None:
    if request.dataset is None:
        raise ConfigError("features evolution needs --dataset: its training part is trained on")
    training, probe = load_dataset(request.dataset, "train"), pictures(request)
    if request.weights:
        raise ConfigError("features evolution trains the model itself: leave --weights out")
    model = load_model(
        request.model, shape=probe.shape, classes=len(probe.classes), seed=request.seed, allow_code=request.allow_code
    )
    chosen = [resolve_layer(model, name) for name in request.layers] or weighted_layers(model, probe.shape)[:5]
    followed = request.channels[0] if request.channels else 3
    looks = (0, *EPOCHS, request.epochs)
    evolution = Evolution(probe.read(probe.ids[:_PROBE]), chosen, channels=followed, epochs=looks, seed=request.seed)
    evolution(0, model)
    curve = train(
        model, training.images, training.labels, training=Training(epochs=request.epochs), seed=request.seed,
        progress=shown(), on_epoch=lambda epoch: evolution(epoch.epoch, model),
    )  # fmt: skip
    accuracy = [(e.epoch, e.held_out_accuracy) for e in curve.epochs if e.held_out_accuracy is not None]
    what = ", as its deconvnet projection around grey where the layer has a map" if request.projected else ""
    words = Words(
        f"Features of {request.called} while it learns {probe.name}",
        f"Left: of {len(evolution.probe)} test images the one with the strongest unit of a channel (drawn once){what}, "
        "after each epoch looked at; 0 is before training. Right: how alike a layer is to itself at the look before; 1 "
        "means settled.",
    )
    projected = [projections(evolution, kept, model) for kept in evolution.checkpoints] if request.projected else None
    write_evolution(request.out, evolution, accuracy, words, projected=projected)


def _compare(request: Request) -> None:
    source = pictures(request)
    compared = []
    for which, name in enumerate(request.models):
        model = trained_model(request, source.shape, len(source.classes), which=which)
        found = comparison(model, source.read, source.ids)
        compared.append((called(name), found, filters(model, found.first_layer)))
    words = Words(
        "First filters, dead channels, aliasing and repetition",
        f"Filters: one scale per network, mid grey is 0. Dead: 0 everywhere in all {len(source.ids)} images of "
        f"{source.name}. Near-duplicate: |cosine| of two filters is 0.95 or more.",
    )
    write_comparison(request.out, compared, words)


def _channels(request: Request, count: int) -> list[int]:
    if request.channels and max(request.channels) >= count:
        raise ConfigError(f"--channels: the layer's are 0 .. {count - 1}")
    return list(request.channels)


DRAWN: Mapping[str, Callable[[Request], None]] = {
    "layers": _layers,
    "filters": _filters,
    "activations": _activations,
    "patches": _patches,
    "top9": _top9,
    "neighbours": _neighbours,
    "pca": pca_view,
    "tsne": tsne_view,
    "evolution": _evolution,
    "compare": _compare,
    "grabcut": cutouts_view,
}

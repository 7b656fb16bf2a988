"""The views of `advbench features` that lay images out in the plane, and where an attack takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.bench.evaluate import check_assault, evaluate_grid
from advbench.bench.given import given
from advbench.bench.scene import Assault, Execution
from advbench.cli.feature_sources import Pictures, Request, both, chosen_layer, shown
from advbench.core.call_checks import known_parameters
from advbench.core.draws import Draws
from advbench.core.projections import within
from advbench.core.sampling import on_sphere
from advbench.features.activations import features
from advbench.features.embedding import on_grid, pca, tsne, usable_perplexity
from advbench.features.layers import feature_layer
from advbench.models.predict import predict
from advbench.registry import ATTACKS
from advbench.report.feature_moves import Move, write_moves
from advbench.report.feature_plots import write_embedding
from advbench.report.feature_sheets import Words
from advbench.types import ConfigError, Radius, ThreatModel, norm_name, norm_of


class Embedded(NamedTuple):
    """Points (N, 2) of each batch of features, the names of the axes, and what was done."""

    points: list[Tensor]
    axes: tuple[str, str]
    said: str


class Embedding(NamedTuple):
    """A way into the plane, by name: from batches of features (N, D) to their points."""

    name: str
    embed: Callable[[Request, list[Tensor]], Embedded]


class Strike(NamedTuple):
    """An attack that can be, and how far it may go; radius: as it was written."""

    assault: Assault
    threat: ThreatModel
    radius: Radius


def pca_view(request: Request) -> None:
    """The first two principal components; of an attack, those of the clean images."""
    _in_the_plane(request, Embedding("PCA", _pca))


def tsne_view(request: Request) -> None:
    """t-SNE; of an attack, of all images together."""
    _in_the_plane(request, Embedding("t-SNE", _tsne))


def _pca(request: Request, batches: list[Tensor]) -> Embedded:
    found = pca(batches[0], 2)
    points = [(batch.double() - found.mean) @ found.components.T for batch in batches]
    one, two = (100 * float(share) for share in found.explained)
    axes = (f"component 1 ({one:.1f} % of the variance)", f"component 2 ({two:.1f} %)")
    return Embedded(points, axes, "features centred, nothing standardised")


def _tsne(request: Request, batches: list[Tensor]) -> Embedded:
    together = torch.cat(batches)
    points = tsne(together, perplexity=request.perplexity, seed=request.seed)
    used = usable_perplexity(len(together), request.perplexity)
    said = f"perplexity {used:.3g}, after PCA to 50 dimensions; distances between groups mean nothing"
    return Embedded(list(torch.split(points, len(batches[0]))), ("t-SNE 1", "t-SNE 2"), said)


def _in_the_plane(request: Request, way: Embedding) -> None:
    strike = None if request.attack is None else _strike(request)
    source, model = both(request)
    layer = chosen_layer(request, model, lambda net: feature_layer(net, source.shape))
    if strike is not None:
        _moves(request, source, model, layer, way=way, strike=strike)
        return
    vectors = features(model, layer, source.read, source.ids, progress=shown())
    (points,), axes, said = way.embed(request, [vectors])
    words = Words(
        f"{way.name} of layer {layer}, {request.called}",
        f"{len(points)} images of {source.name}; {said}. Right: each image in a cell of its own, the sum of squared "
        "moves as small as possible.",
    )
    groups = None if source.labels is None else (source.labels, source.classes)
    write_embedding(
        request.out, points, on_grid(points), source.read(source.ids), groups=groups, axes_names=axes, words=words
    )


def _strike(request: Request) -> Strike:
    """Raises ConfigError for an attack that cannot be, before any work."""
    radius = Radius(str(request.eps))
    threat = ThreatModel(norm_of(request.norm), float(radius))
    entry = ATTACKS[str(request.attack)]
    known_parameters(entry, request.params)
    params = {name: given(entry.name, entry.parameters()[name], value) for name, value in request.params.items()}
    assault = Assault(entry, params, "untargeted", request.seed)
    check_assault(assault, threat, (radius,))
    return Strike(assault, threat, radius)


def _moves(request: Request, source: Pictures, model: nn.Module, layer: str, *, way: Embedding, strike: Strike) -> None:
    images = source.read(source.ids)
    seen = predict(model, images).argmax(1)
    rows = (seen == (seen if source.labels is None else source.labels)).nonzero().flatten()
    if len(rows) < 4:
        raise ConfigError(f"{len(rows)} of {len(images)} images are classified correctly: too few to show")
    x, y = images[rows], seen[rows]
    attacked = _attacked(model, x, y, strike)
    noise = on_sphere(x, strike.threat, Draws(request.seed, rows))
    noisy = within(strike.threat, x)(x + noise, torch.arange(len(x)))
    batches = [features(model, layer, z.__getitem__, torch.arange(len(x))) for z in (x, attacked, noisy)]
    points, axes, said = way.embed(request, batches)
    found = [predict(model, z).argmax(1) for z in (attacked, noisy)]
    size = f"{norm_name(strike.threat.norm)} {strike.radius}"
    moves = [
        Move(f"{title}, {size}: {int((kinds != y).sum())} of {len(y)} found as another class", place, kinds)
        for title, place, kinds in zip((str(request.attack), "random noise"), points[1:], found, strict=True)
    ]
    far = [float(_relative(batches[0], batch).median()) for batch in batches[1:]]
    words = Words(
        f"{way.name} of layer {layer}, {request.called}: where an attack takes the images",
        f"The {len(y)} of {len(images)} images of {source.name} that are classified correctly; {said}. Filled: the "
        "clean image, by its class. Hollow: where it goes, by the class found there. Right: the control, one random "
        f"step of the same size. In all dimensions the features move by {far[0]:.2f} of their length, with noise by "
        f"{far[1]:.2f} (medians).",
    )
    write_moves(request.out, points[0], y, moves, names=source.classes, axes_names=axes, words=words)


def _attacked(model: nn.Module, x: Tensor, y: Tensor, strike: Strike) -> Tensor:
    how = Execution(None, "float32", None)
    grid = (strike.radius,)
    found = evaluate_grid(model, x, y, None, assault=strike.assault, norm=strike.threat.norm, grid=grid, execution=how)
    assert found.x_adv is not None
    return found.x_adv


def _relative(clean: Tensor, moved: Tensor) -> Tensor:
    """(N,): how far the features (N, D) move, over their length."""
    far, length = ((part * part).sum(1).sqrt() for part in (moved - clean, clean))
    return far / torch.where(length > 0, length, 1.0)

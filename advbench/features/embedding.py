"""Many images in the plane: PCA, t-SNE, and points moved to the cells of a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from advbench.types import ConfigError

_FIRST_REDUCED_TO = 50  # van der Maaten and Hinton 2008, section 4.2 uses 30; scikit-learn advises 50


@dataclass(frozen=True, eq=False)
class Pca:
    """points (N, d) = (features - mean) @ components.T; components (d, D) orthonormal; explained (d,): shares in [0, 1]
    of the whole variance, decreasing."""

    points: Tensor
    components: Tensor
    mean: Tensor
    explained: Tensor


def pca(features: Tensor, dims: int = 2) -> Pca:
    """Principal components of features (N, D), in float64, by a singular value decomposition.

    Each component's entry of the largest magnitude is positive, so that the signs do not depend on the order of the
    rows. Nothing is standardised. Raises ConfigError unless 1 <= dims <= min(N, D).
    """
    data = features.flatten(1).double()
    if not 1 <= dims <= min(data.shape):
        raise ConfigError(f"PCA of {data.shape[0]} images with {data.shape[1]} features cannot give {dims} dimensions")
    mean = data.mean(0)
    _, lengths, components = torch.linalg.svd(data - mean, full_matrices=False)
    # Magnitudes equal up to rounding count as equal, and the first of them decides.
    large = components.abs() >= components.abs().amax(1, keepdim=True) * (1 - 1e-9)
    leading = components.gather(1, large.int().argmax(1, keepdim=True))
    components = components * torch.where(leading < 0, -1.0, 1.0)
    variance = lengths.square()
    explained = variance / variance.sum().clamp_min(torch.finfo(variance.dtype).tiny)
    return Pca((data - mean) @ components[:dims].T, components[:dims], mean, explained[:dims])


def tsne(features: Tensor, *, perplexity: float = 30.0, seed: int = 0) -> Tensor:
    """t-SNE of features (N, D): (N, 2) float64, by scikit-learn. van der Maaten and Hinton 2008.

    After PCA to at most 50 dimensions; started from PCA, early exaggeration 12, automatic learning rate, 1000
    iterations. Distances between clusters and their sizes mean nothing. perplexity: lowered to (N - 1) / 3 for fewer
    images. Raises ConfigError for fewer than 4 images.
    """
    from sklearn.manifold import TSNE

    if len(features) < 4:
        raise ConfigError(f"t-SNE needs at least 4 images, got {len(features)}")
    reduced = pca(features, min(_FIRST_REDUCED_TO, len(features), features.flatten(1).shape[1])).points
    if reduced.shape[1] < 2:
        reduced = torch.cat([reduced, torch.zeros_like(reduced)], 1)
    method = TSNE(
        perplexity=usable_perplexity(len(features), perplexity),
        early_exaggeration=12.0,
        learning_rate="auto",
        max_iter=1000,
        init="pca",
        random_state=seed,
    )
    return torch.from_numpy(np.asarray(method.fit_transform(reduced.numpy()), dtype=np.float64))


def usable_perplexity(count: int, perplexity: float) -> float:
    """`perplexity`, or what `count` images allow: each point must have about three times as many others."""
    return min(perplexity, (count - 1) / 3)


def on_grid(points: Tensor, rows: int | None = None, columns: int | None = None) -> Tensor:
    """The cell (N,) int64, counted row by row, that each of the points (N, 2) moves to: each cell holds one at most.

    The sum of squared distances is the smallest possible (linear assignment). The points are first stretched to the
    grid; the first coordinate runs to the right, the second up. Default: the smallest square with room for all.
    Raises ConfigError if the grid has fewer cells than there are points.
    """
    count = len(points)
    columns = columns or (math.ceil(math.sqrt(count)) if rows is None else -(-count // rows))
    rows = rows or -(-count // columns)
    if rows * columns < count:
        raise ConfigError(f"{count} images do not fit into {rows} x {columns} cells")
    if not count:
        return torch.zeros(0, dtype=torch.int64)
    _, cells = linear_sum_assignment(assignment_costs(points, rows, columns).numpy())
    return torch.from_numpy(np.asarray(cells, dtype=np.int64))


def assignment_costs(points: Tensor, rows: int, columns: int) -> Tensor:
    """Squared distance (N, rows * columns) of each point (N, 2), stretched to [0, 1], from each cell's centre."""
    low, high = points.double().amin(0), points.double().amax(0)
    inside = (points.double() - low) / (high - low).clamp_min(1e-300)
    down, right = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    cells = torch.stack([(right + 0.5) / columns, 1.0 - (down + 0.5) / rows], -1).flatten(0, 1).double()
    return (inside[:, None] - cells[None]).square().sum(2)

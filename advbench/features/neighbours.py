"""The nearest images in a feature space or in pixels. Krizhevsky et al. 2012, figure 4."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from advbench.types import ConfigError

Metric = Literal["l2", "cosine"]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The k nearest of each of Q queries, the nearest (rank 1) in column 0; the query itself is not among them.

    queries (Q,), positions (Q, k): rows of the features; distances (Q, k) float64; labels (Q, k), None if unknown.
    """

    metric: str
    queries: Tensor
    positions: Tensor
    distances: Tensor
    labels: Tensor | None = None


def neighbours(
    features: Tensor, queries: Tensor, *, count: int = 5, metric: Metric = "l2", labels: Tensor | None = None
) -> Neighbours:
    """The `count` rows of features (N, D) nearest to its rows `queries` (Q,) int64, nothing standardised.

    l2: the length of the difference. cosine: 1 minus the cosine of the angle, in [0, 2]; a row of zeros is at 1 from
    all. Of equals the earlier row comes first. labels: (N,). Raises ConfigError if there are not `count` other rows.
    """
    if metric not in _DISTANCES:
        raise ConfigError(f"metric must be {' or '.join(_DISTANCES)}, got {metric!r}")
    flat = features.flatten(1).double()
    if not 1 <= count <= len(flat) - 1:
        raise ConfigError(f"{len(flat)} images have {max(len(flat) - 1, 0)} neighbours each, {count} were asked for")
    found = []
    for query in queries.tolist():  # one row of distances at a time: all differences at once may not fit
        distance = _DISTANCES[metric](flat, flat[query])  # (N,)
        distance[query] = float("inf")
        nearest = distance.sort(stable=True)
        found.append((nearest.values[:count], nearest.indices[:count]))
    distances = torch.stack([values for values, _ in found]) if found else flat.new_zeros(0, count)
    positions = torch.stack([indices for _, indices in found]) if found else queries.new_zeros(0, count)
    return Neighbours(metric, queries, positions, distances, None if labels is None else labels[positions])


def label_agreement(found: Neighbours, labels: Tensor) -> float:
    """Share of the neighbours that bear the label of their query; labels (N,) of all rows."""
    return float((labels[found.positions] == labels[found.queries][:, None]).float().mean())


def possible_agreement(labels: Tensor, count: int) -> float:
    """The largest `label_agreement` that `count` neighbours of every row can reach: a label may be rarer than that."""
    others = (labels[:, None] == labels[None]).sum(1) - 1
    return float(others.clamp_max(count).float().mean()) / count


def _l2(rows: Tensor, query: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(rows - query, dim=1)
    return lengths


def _cosine(rows: Tensor, query: Tensor) -> Tensor:
    return 1.0 - functional.cosine_similarity(rows, query[None], dim=1, eps=1e-300)


_DISTANCES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"l2": _l2, "cosine": _cosine}

"""Neighbours equal brute force; PCA is a rotation with fixed signs; the grid is a cheapest permutation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.features.embedding import assignment_costs, on_grid, pca, tsne, usable_perplexity
from advbench.features.neighbours import label_agreement, neighbours, possible_agreement
from advbench.types import ConfigError


def cloud(count: int, dims: int, seed: int) -> Tensor:
    return torch.randn(count, dims, generator=torch.Generator().manual_seed(seed))


@given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 99), st.sampled_from(["l2", "cosine"]))
def test_neighbours_are_those_of_brute_force(count: int, dims: int, seed: int, metric: str) -> None:
    rows = cloud(count, dims, seed).double()
    found = neighbours(rows, torch.arange(count), count=count - 1, metric=metric)  # type: ignore[arg-type]
    for i in range(count):
        one = rows[i].tolist()

        def distance(j: int, one: list[float] = one) -> float:
            other = rows[j].tolist()
            if metric == "l2":
                return math.dist(one, other)
            dot = sum(a * b for a, b in zip(one, other, strict=True))
            return 1.0 - dot / (math.hypot(*one) * math.hypot(*other))

        expected = sorted(distance(j) for j in range(count) if j != i)
        assert i not in found.positions[i].tolist()
        assert torch.allclose(found.distances[i], torch.tensor(expected, dtype=torch.float64), atol=1e-9)
        assert math.isclose(distance(int(found.positions[i, 0])), expected[0], abs_tol=1e-9)


def test_the_same_image_is_at_distance_0_and_labels_come_along() -> None:
    images = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    images[3] = images[1]
    labels = torch.tensor([4, 7, 4, 7, 5])
    found = neighbours(images, torch.tensor([1]), count=2, labels=labels)
    assert int(found.positions[0, 0]) == 3
    assert float(found.distances[0, 0]) == 0.0
    assert found.labels is not None
    assert int(found.labels[0, 0]) == 7
    assert label_agreement(found, labels) == 0.5
    # 4, 7, 4, 7 have one other each among two neighbours, 5 has none.
    assert math.isclose(possible_agreement(labels, 2), 4 / 10, rel_tol=1e-6)
    # Pixel space is raw L2.
    other = int(found.positions[0, 1])
    assert math.isclose(float(found.distances[0, 1]), float((images[1] - images[other]).norm()), rel_tol=1e-6)


@given(st.integers(2, 10), st.integers(1, 6), st.integers(0, 99))
def test_pca_with_all_components_gives_the_data_back(count: int, dims: int, seed: int) -> None:
    data = cloud(count, dims, seed)
    found = pca(data, min(count, dims))
    assert torch.allclose(found.points @ found.components + found.mean, data.double(), atol=1e-9)
    unit = torch.eye(len(found.components), dtype=torch.float64)
    assert torch.allclose(found.components @ found.components.T, unit, atol=1e-9)
    assert math.isclose(float(found.explained.sum()), 1.0, abs_tol=1e-9)
    assert bool((found.explained.diff() <= 1e-12).all())


@given(st.integers(0, 99))
def test_the_signs_of_pca_do_not_depend_on_the_order(seed: int) -> None:
    data = cloud(9, 4, seed)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(pca(data[order]).points, pca(data).points[order], atol=1e-8)
    components = pca(data, 4).components
    assert bool((components.gather(1, components.abs().argmax(1, keepdim=True)) > 0).all())


def test_pca_by_hand() -> None:
    found = pca(torch.tensor([[0.0, 3.0], [4.0, 3.0]]), 1)
    assert found.components.tolist() == [[1.0, 0.0]]
    assert found.points.flatten().tolist() == [-2.0, 2.0]
    assert float(found.explained[0]) == 1.0


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 99), st.booleans())
def test_the_grid_is_a_permutation_no_dearer_than_the_greedy_one(
    rows: int, columns: int, seed: int, full: bool
) -> None:
    count = rows * columns if full else max(1, rows * columns - 2)
    points = cloud(count, 2, seed)
    cells = on_grid(points, rows, columns)
    assert len(set(cells.tolist())) == count
    costs = assignment_costs(points, rows, columns)
    free = costs.clone()
    greedy = 0.0
    for i in range(count):
        cell = int(free[i].argmin())
        greedy += float(costs[i, cell])
        free[:, cell] = torch.inf
    assert float(costs[torch.arange(count), cells].sum()) <= greedy + 1e-9


def test_points_on_a_grid_stay_where_they_are() -> None:
    points = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])  # right and up
    assert on_grid(points).tolist() == [0, 1, 2, 3]


@pytest.mark.slow
def test_tsne_keeps_three_groups_apart_and_repeats() -> None:
    groups = torch.arange(3).repeat_interleave(30)
    data = cloud(90, 60, 1) + 12.0 * torch.nn.functional.one_hot(groups, 60)
    points = tsne(data, seed=3)
    found = neighbours(points, torch.arange(90), count=5)
    assert label_agreement(found, groups) > 0.95
    assert torch.equal(points, tsne(data, seed=3))


def test_few_images_get_a_perplexity_that_fits() -> None:
    assert usable_perplexity(1000, 30.0) == 30.0
    assert usable_perplexity(10, 30.0) == 3.0
    assert tsne(cloud(6, 1, 0)).shape == (6, 2)


def test_mistakes_are_told() -> None:
    with pytest.raises(ConfigError, match="1 neighbours each, 3 were asked"):
        neighbours(cloud(2, 3, 0), torch.tensor([0]), count=3)
    with pytest.raises(ConfigError, match="metric must be"):
        neighbours(cloud(2, 3, 0), torch.tensor([0]), count=1, metric="l1")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cannot give 4"):
        pca(cloud(9, 3, 0), 4)
    with pytest.raises(ConfigError, match="do not fit"):
        on_grid(cloud(5, 2, 0), 2, 2)
    with pytest.raises(ConfigError, match="at least 4"):
        tsne(cloud(3, 2, 0))

"""The optimality benchmark: what is run, what is not run twice, and the page."""

from __future__ import annotations

from math import inf
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from advbench.registry import ATTACKS
from benchmarks.peers.contenders import OURS, Contender, contenders
from benchmarks.peers.optimality import KEY, current, distances_of, missing
from benchmarks.peers.optimality_page import ranked, verdict, write_page

WEIGHTS = torch.tensor([[1.0, -2.0, 0.5, 1.5]])


class Plane(nn.Module):
    """Class 1 above a plane, class 0 below it."""

    def forward(self, z: Tensor) -> Tensor:
        score = z.flatten(1) @ WEIGHTS.T - 0.6
        return torch.cat([-score, score], 1)


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    x = 0.5 + 0.1 * torch.rand(4, 1, 2, 2, generator=torch.Generator().manual_seed(0)) - 0.05
    y = Plane()(x).argmax(1)
    return x, torch.where(torch.arange(4) == 3, 1 - y, y)  # the last one is a clean error


@pytest.mark.slow
@pytest.mark.parametrize("norm", [0.0, 1.0, 2.0, inf])
@pytest.mark.parametrize("budget", [30, 1000])
def test_all_our_minimum_norm_attacks_run_under_a_budget(
    norm: float, budget: int, images: tuple[Tensor, Tensor]
) -> None:
    x, y = images
    mine = [each for each in contenders(norm, budget) if each.library == OURS]
    able = [entry.name for entry in ATTACKS if norm in entry.info.norms and _is_nearest(entry.name)]
    assert sorted(each.attack for each in mine) == sorted(able)
    exact = (Plane()(x)[:, 1].abs() / WEIGHTS.abs().sum()).double()
    for contender in mine:
        table = distances_of(contender, Plane(), x, y, norm=norm, budget=budget)
        assert (table["error"] == "").all(), table["error"].tolist()
        assert table["distance"].iloc[3] == 0
        if norm == inf:
            assert (table["distance"].to_numpy()[:3] >= exact.numpy()[:3] - 1e-6).all()


def _is_nearest(name: str) -> bool:
    return ATTACKS[name].function.__module__.startswith("advbench.attacks.minimum_norm.")


def test_an_attack_that_raises_keeps_what_it_had_found(images: tuple[Tensor, Tensor]) -> None:
    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        model(torch.where(y.reshape(-1, 1, 1, 1) == 1, 0.0, torch.tensor([1.0, 0.0, 1.0, 1.0]).reshape(1, 1, 2, 2)))
        raise RuntimeError("cannot go on")

    table = distances_of(Contender("peer", "walk", "", run), Plane(), *images, norm=inf, budget=10)
    assert table["error"].tolist() == ["RuntimeError: cannot go on"] * 4
    assert np.isfinite(table["distance"]).all()
    assert table["forwards"].tolist() == [1, 1, 1, 0]


def test_only_missing_samples_are_run() -> None:
    names: dict[str, object] = dict(zip(KEY, ("net", "l2", "peer", "walk", "", 10), strict=True))
    known = pd.DataFrame([{**names, "sample": sample} for sample in (0, 2)])
    assert missing(known, names, 4) == [1, 3]
    assert missing(known, {**names, "budget": 20}, 2) == [0, 1]
    assert missing(known, names, 1) == []


def test_rows_of_settings_that_nobody_has_any_more_are_left_out() -> None:
    old, new = (dict(zip(KEY, ("net", "l2", OURS, "fmn", f"steps={steps}", 10), strict=True)) for steps in (7, 5))
    assert current(pd.DataFrame([old, new]), 10)["settings"].tolist() == ["steps=5"]


def _rows(**distances: list[float]) -> pd.DataFrame:
    found = []
    for who, values in distances.items():
        library, attack = who.split("_")
        for sample, distance in enumerate(values):
            names = dict(zip(KEY, ("net", "l2", library, attack, "steps=1", 10), strict=True))
            found.append({**names, "sample": sample, "distance": distance, "forwards": 2, "backwards": 1, "error": ""})
    return pd.DataFrame(found)


def test_the_page_ranks_and_says_who_is_behind(tmp_path: Path) -> None:
    # best: 1, 2, 4 (E = 4); room 4 - 7 / 3. both: area 8 / 3, 1 - (1 / 3) / (5 / 3) = 0.8.
    rows = _rows(advbench_near=[1, 3, 4], peer_far=[2, 2, inf], peer_half=[1, 2])
    write_page(rows, tmp_path / "page.md", budget=10)
    text = (tmp_path / "page.md").read_text()
    assert "| net | l2 | 3 | `near` | 0.800 | peer far | 0.800 | " in text
    assert text.count("| tied |") == 1
    assert "half" not in text  # it has not seen all samples
    assert "| 2 + 1 |" in text
    assert text.isascii()
    with pytest.raises(ValueError, match="no rows with a budget of 20"):
        write_page(rows, tmp_path / "page.md", budget=20)


def test_ranks_are_by_optimality() -> None:
    table = pd.DataFrame({"a x": [1.0, 3.0, 4.0], "b y": [1.0, 2.0, 4.0], "c z": [inf, inf, inf]})
    found = ranked(table)
    assert list(found) == ["b y", "a x", "c z"]
    assert found["b y"].value == 1.0
    assert found["c z"].value == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("ours", "theirs", "words"), [(0.9, 0.8, "ours first"), (0.8, 0.805, "tied"), (0.8, 0.9, "behind by 0.100")]
)
def test_a_tie_is_within_a_hundredth(ours: float, theirs: float, words: str) -> None:
    assert verdict(ours, theirs) == words

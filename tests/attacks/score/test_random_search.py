"""random_search: the best candidate is returned, samples leave when they have reached the goal."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.attacks.score.random_search import random_search
from advbench.core.draws import Counter, Draws
from advbench.registry import ATTACKS
from advbench.types import ConfigError, Evaluation, ThreatModel
from tests.attacks.small_nets import conv_net, images
from tests.strategies import seeds

# An attack that asks for scores, its parameters, and the least queries with which it gets away from x.
LEAST: list[tuple[str, Mapping[str, float], int]] = [
    ("square", {}, 2),
    ("sparse_rs", {}, 2),
    ("patch_rs", {}, 2),
    ("parsimonious", {}, 2),
    ("simba", {}, 2),
    ("bandits", {}, 4),
    ("nes", {}, 52),
    ("nes", {"pairs": 3}, 8),
    ("spsa", {}, 130),
    ("one_pixel", {"population": 30}, 31),
    ("zoo", {"step_size": 0.5}, 1 + 2 * (2 * 36 + 1) + 5),
    ("zoo", {"step_size": 0.5, "coordinates": 8, "search_steps": 3}, 1 + 3 * 2 * (2 * 8 + 1) + 5),
]


@given(seeds(), st.integers(0, 5), st.integers(0, 12), st.floats(0.0, 0.6))
def test_it_returns_the_first_success_or_the_lowest_loss(seed: int, count: int, steps: int, goal: float) -> None:
    values = torch.rand(count, steps + 1, generator=torch.Generator().manual_seed(seed))
    asked: list[list[int]] = []

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        asked.append(rows.tolist())
        return Evaluation(z[:, 0], z[:, 0] < goal)

    found = random_search(
        values[:, :1].clone(), objective, propose=lambda best, rows, step: values[rows, step + 1, None], steps=steps
    )
    for row in range(count):
        mine = values[row].tolist()
        hits = [i for i, value in enumerate(mine) if value < goal]
        looks = hits[0] + 1 if hits else steps + 1
        assert sum(row in rows for rows in asked) == looks
        assert float(found.z[row, 0]) == float(found.loss[row]) == min(mine[:looks])
        assert bool(found.reached[row]) == bool(hits)


def test_a_loss_that_is_no_number_is_beaten_by_any() -> None:
    values = torch.tensor([[torch.nan, 2.0, torch.nan, 1.0]])
    found = random_search(
        values[:, :1],
        lambda z, rows: Evaluation(z[:, 0], torch.zeros(len(z), dtype=torch.bool)),
        propose=lambda best, rows, step: values[:, step + 1, None],
        steps=3,
    )
    assert found.z.tolist() == [[1.0]]


def _unstable(keys: Tensor, *given: int, stable: bool = False, **options: Any) -> Tensor:
    """argsort as another device may do it: without `stable`, the last of equals comes first."""
    dim = options.get("dim", *given)
    if stable:
        return keys.sort(dim=dim, stable=True).indices
    return keys.shape[dim] - 1 - keys.flip(dim).sort(dim=dim, stable=True).indices


@pytest.mark.parametrize(("name", "norm"), [("sparse_rs", 0.0), ("simba", inf), ("parsimonious", inf)])
def test_equal_keys_of_a_random_order_give_the_same_order_on_any_device(
    name: str, norm: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some 670 of the 150,528 keys of 24 bits of a large image are equal to another one; here they are out of four."""

    def coarse(draws: Draws, shape: tuple[int, ...], purpose: str, counter: Counter = 0) -> Tensor:
        return draws.integers(4, shape, purpose, counter).float() / 4

    monkeypatch.setattr(Draws, "uniform", coarse)
    model = conv_net()
    x, y, draws = images(model, 4)

    def found() -> Tensor:
        return ATTACKS[name].function(
            model, x, y, ThreatModel(norm, 3.0 if norm == 0 else 0.02), draws=draws, queries=9
        )

    here = found()
    monkeypatch.setattr(Tensor, "argsort", _unstable)
    assert torch.equal(found(), here)


def test_the_least_is_known_for_every_attack_that_asks_for_scores() -> None:
    assert {name for name, _, _ in LEAST} == {
        entry.name for entry in ATTACKS if entry.info.access == "scores" and "queries" in entry.parameters()
    }


@pytest.mark.parametrize(("name", "params", "least"), LEAST)
def test_queries_that_never_leave_x_are_refused_and_one_more_moves_it(
    name: str, params: Mapping[str, float], least: int
) -> None:
    """Else x comes back, and the model looks robust."""
    attack, norm = ATTACKS[name].function, max(ATTACKS[name].info.norms)
    model = conv_net()
    x, y, draws = images(model, 24)
    threat = ThreatModel(norm, {0.0: 4.0, 2.0: 3.0, inf: 0.3}[norm])
    with pytest.raises(ConfigError, match=f"queries must be at least {least}, .*, got {least - 1}$"):
        attack(model, x[:0], y[:0], threat, draws=draws.rows(y[:0]), queries=least - 1, **params)
    assert not torch.equal(attack(model, x, y, threat, draws=draws, queries=least, **params), x)

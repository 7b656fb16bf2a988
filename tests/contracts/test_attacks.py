"""Every registered attack and control keeps the laws of `advbench.testing`, on problems of many shapes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advbench.attacks.gradient.pgd import pgd
from advbench.registry import ATTACKS, CONTROLS, AttackInfo, Entry
from advbench.testing import check_attack
from tests.strategies import seeds, shapes


@dataclass(frozen=True)
class Promise:
    """What an attack claims here: see `check_attack`. params keep the tests short, not the laws true."""

    ratio: float | None = None
    params: Callable[[nn.Module], Mapping[str, object]] = lambda model: {}


FEW = Promise(params=lambda model: {"tries": 10})

PROMISES = {
    "fgsm": Promise(ratio=1.0),
    "mi_fgsm": Promise(ratio=1.0),
    "pgd": Promise(ratio=1.02),  # in l2, 40 steps from a random start end 1.4 % short of the best direction
    "loss_ascent": Promise(params=lambda model: {"steps": 8}),
    "fooling": Promise(params=lambda model: {"steps": 15, "step_size": 0.1}),
    "transfer": Promise(
        ratio=1.05,
        params=lambda model: {"substitute": copy.deepcopy(model), "via": partial(pgd, steps=20, random_start=False)},
    ),
    "random_sphere": FEW,
    "random_sign": FEW,
    "gaussian": FEW,
}

METHODS: list[Entry[AttackInfo]] = [*ATTACKS, *CONTROLS]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=[entry.name for entry in METHODS])
def test_it_keeps_the_contract(method: Entry[AttackInfo]) -> None:
    promise = PROMISES.get(method.name, Promise())

    @settings(max_examples=3)
    @given(shapes(largest=3), st.integers(2, 5), seeds())
    def law(shape: tuple[int, int, int], classes: int, seed: int) -> None:
        check_attack(
            method.function,  # type: ignore[arg-type]
            params=promise.params,
            ratio=promise.ratio,
            shape=shape,
            classes=classes,
            batch=4,
            seed=seed,
        )

    law()


def test_every_promise_belongs_to_a_method() -> None:
    assert PROMISES.keys() <= {entry.name for entry in METHODS}

"""Every registered attack and control keeps the laws of `advbench.testing`, on problems of many shapes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advbench.attacks.gradient.pgd import pgd
from advbench.registry import ATTACKS, CONTROLS, AttackInfo, Entry
from advbench.testing import check_attack
from advbench.testing.check_attack import no_params
from tests.strategies import seeds, shapes

# Parameters that keep the tests short, not the laws true.
PARAMETERS: dict[str, Callable[[nn.Module], Mapping[str, object]]] = {
    "loss_ascent": lambda model: {"steps": 8},
    "fooling": lambda model: {"steps": 15, "step_size": 0.1},
    "transfer": lambda model: {
        "substitute": copy.deepcopy(model),
        "via": partial(pgd, steps=20, random_start=False),
    },
    "random_sphere": lambda model: {"tries": 10},
    "random_sign": lambda model: {"tries": 10},
    "gaussian": lambda model: {"tries": 10},
}

METHODS: list[Entry[AttackInfo]] = [*ATTACKS, *CONTROLS]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=[entry.name for entry in METHODS])
def test_it_keeps_the_contract(method: Entry[AttackInfo]) -> None:
    params = PARAMETERS.get(method.name, no_params)

    @settings(max_examples=3)
    @given(shapes(largest=3), st.integers(2, 5), seeds())
    def law(shape: tuple[int, int, int], classes: int, seed: int) -> None:
        check_attack(
            method.function,  # type: ignore[arg-type]
            params=params,
            shape=shape,
            classes=classes,
            batch=4,
            seed=seed,
        )

    law()


def test_every_parameter_belongs_to_a_method() -> None:
    assert PARAMETERS.keys() <= {entry.name for entry in METHODS}

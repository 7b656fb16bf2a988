"""Every registered attack and control keeps the laws of `advbench.testing`, on problems of many shapes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advbench.attacks.gradient.mi_fgsm import mi_fgsm
from advbench.attacks.gradient.pgd import pgd
from advbench.registry import ATTACKS, CONTROLS, AttackInfo, Entry
from advbench.testing import check_attack
from advbench.testing.check_attack import no_params
from tests.strategies import seeds, shapes


def _a_module(model: nn.Module) -> str:
    """The name of a module whose input and output are of one size; one that does nothing if there is none."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Flatten | nn.Identity):
            return name
    model.add_module("nothing", nn.Identity())
    return "nothing"


# Parameters that keep the tests short, not the laws true.
PARAMETERS: dict[str, Callable[[nn.Module], Mapping[str, object]]] = {
    "auto": lambda model: {"steps": 8, "queries": 15},
    "cascade": lambda model: {"steps": 10, "queries": 20, "persistence": 1, "audit": 0.3},
    "ddn": lambda model: {"steps": 50, "gamma": 0.1, "first_radius": 0.02},
    "fmn": lambda model: {"steps": 20},
    "sigma_zero": lambda model: {"steps": 40},
    "alma": lambda model: {"steps": 25},
    "pdpgd": lambda model: {"steps": 25, "dual_step": 2.0},
    "pgd_l0": lambda model: {"steps": 20, "restarts": 1},
    "apgd": lambda model: {"steps": 10},
    "apgd_t": lambda model: {"steps": 10, "target_classes": 2},
    "bim": lambda model: {"steps": 8},
    "max_margin": lambda model: {"steps": 20, "target_classes": 2},
    "memetic": lambda model: {
        "population": 3,
        "generations": 2,
        "steps": 20,
        "child_steps": 8,
        "target_classes": 2,
    },
    "loss_ascent": lambda model: {"steps": 8},
    "admix": lambda model: {"steps": 5, "scales": 2, "mixes": 1},
    "si_fgsm": lambda model: {"steps": 5, "scales": 3},
    "sia": lambda model: {"steps": 5, "copies": 1},
    "vmi_fgsm": lambda model: {"steps": 5, "neighbours": 2},
    "momentum_ascent": lambda model: {"steps": 3, "scales": 2, "mixes": 1},
    "intermediate_level": lambda model: {"steps": 5, "via": partial(mi_fgsm, steps=5)},
    "bpda": lambda model: {"module": _a_module(model), "via": partial(pgd, steps=20, random_start=False)},
    "expectation_over_transformation": lambda model: {"steps": 3, "views": 1},
    "fooling": lambda model: {"steps": 15, "step_size": 0.1},
    "transfer": lambda model: {
        "substitute": copy.deepcopy(model),
        "via": partial(pgd, steps=20, random_start=False),
    },
    "fab": lambda model: {"steps": 8},
    "fab_t": lambda model: {"steps": 6, "target_classes": 2},
    "brendel_bethge": lambda model: {"steps": 2, "starts": 1},
    "ead": lambda model: {"steps": 15, "searches": 5, "step_size": 0.03},
    "lbfgs": lambda model: {"steps": 10, "searches": 4},
    "carlini_wagner": lambda model: {"steps": 10, "searches": 4, "step_size": 0.1},
    "nes": lambda model: {"queries": 55, "pairs": 4, "relative_step": 0.4},
    "spsa": lambda model: {"queries": 55, "pairs": 4, "step_size": 0.1},
    "simba": lambda model: {"queries": 25},
    "sparse_rs": lambda model: {"queries": 30},
    "one_pixel": lambda model: {"queries": 81, "population": 20},
    "parsimonious": lambda model: {"queries": 40},
    "bandits": lambda model: {"queries": 61, "relative_step": 0.3},
    "zoo": lambda model: {"queries": 200, "coordinates": 16},
    "patch_rs": lambda model: {"queries": 30},
    "square": lambda model: {"queries": 15},
    "rays": lambda model: {"queries": 80, "tolerance": 0.03},
    "sign_opt": lambda model: {"queries": 150, "directions": 12},
    "geoda": lambda model: {"queries": 250, "turns": 4},
    "evolutionary": lambda model: {"queries": 60, "sigma": 0.2, "pull": 0.2, "chosen": 0.5},
    "boundary": lambda model: {"queries": 50, "spherical_step": 0.3, "source_step": 0.2},
    "hop_skip_jump": lambda model: {"queries": 110, "first_probes": 15},
    "patch": lambda model: {"steps": 20},
    "spatial": lambda model: {"angles": 3, "shifts": 3},
    "flow": lambda model: {"steps": 6},
    "colour_shift": lambda model: {"tries": 20},
    "semantic": lambda model: {"steps": 4, "restarts": 2},
    "fooling_noise": lambda model: {"steps": 12},
    "evolved_noise": lambda model: {"generations": 12},
    "universal": lambda model: {"epochs": 6},
    "universal_patch": lambda model: {"epochs": 6},
    "top_k_saliency": lambda model: {"steps": 4},
    "mass_center": lambda model: {"steps": 4},
    "targeted_region": lambda model: {"steps": 4},
    "manipulate": lambda model: {"steps": 4},
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

"""Minimum-norm attacks, ours and the peers', each with settings that fit a budget of passes per sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.registry import ATTACKS
from advbench.types import ThreatModel
from benchmarks.peers.rivals import Attack, adv_lib, fab_of_autoattack, foolbox, torchattacks

OURS = "advbench"
SEARCHES = 9  # for the constant of carlini_wagner and ead: the default of all; their steps do not fit
FAB_PASSES = 4  # of a step of our fab that looks at two classes: two forwards, two backwards
FAB_T_PASSES = 27  # of a step of fab_t: nine classes, two forwards and one backward each
LAST = 32  # passes that our searches for a constant keep for the end
STARTS = 231  # forwards, and as many backwards, of our brendel_bethge before and after its steps
FIRST = 25  # queries of foolbox's first point for Brendel and Bethge; by default a thousand, the whole budget


@dataclass(frozen=True, eq=False)
class Contender:
    """An attack of a library; `settings` are those that are not its defaults, as text."""

    library: str
    attack: str
    settings: str
    run: Attack

    @property
    def name(self) -> str:
        return f"{self.library} {self.attack}"


def contenders(norm: float, budget: int) -> list[Contender]:
    """Everybody who looks for the nearest example in `norm`; budget: forwards plus backwards per sample.

    Attacks whose step is one forward and one backward pass get budget / 2 steps, so that schedules end where the
    budget does; those that end earlier by themselves, or whose schedule does not depend on their length, keep their
    defaults.
    """
    return [*_ours(norm, budget), *_adv_lib(norm, budget), *_foolbox(norm, budget), *_others(norm, budget)]


def _ours(norm: float, budget: int) -> list[Contender]:
    steps = budget // 2
    search: dict[str, object] = {"steps": max(1, (steps - LAST) // SEARCHES)}
    params: dict[str, dict[str, object]] = {
        "alma": {"steps": steps, "first_distance": 0.5} if norm == 1 else {"steps": steps},  # as the peer's
        "brendel_bethge": {"steps": max(1, steps - STARTS)},
        "carlini_wagner": search,
        "ddn": {"steps": steps},
        "deepfool": {},
        "ead": search,
        "fab": {"steps": budget // FAB_PASSES, "candidates": 2},
        "fab_t": {"steps": budget // FAB_T_PASSES},
        "fmn": {"steps": steps},
        "lbfgs": search,
        "newton_fool": {},
        "pdpgd": {"steps": steps},
        "sigma_zero": {"steps": steps},
        "sparse_fool": {},
        "superdeepfool": {},
    }
    able = [name for name in params if norm in ATTACKS[name].info.norms]
    return [Contender(OURS, name, _text(params[name]), _our(name, norm, params[name])) for name in able]


def _our(name: str, norm: float, params: Mapping[str, object]) -> Attack:
    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        draws = Draws(0, torch.arange(len(x)))
        return cast(Tensor, ATTACKS[name].function(model, x, y, ThreatModel(norm, None), draws=draws, **params))

    return attack


def _adv_lib(norm: float, budget: int) -> list[Contender]:
    steps = budget // 2
    wanted: dict[str, dict[str, object]] = {
        "fmn": {"norm": norm, "steps": steps},
        "pdpgd": {"norm": norm, "num_steps": steps},
    }
    if norm == 0:
        wanted["sigma_zero"] = {"num_steps": steps}
    else:
        wanted["fab"] = {"norm": norm}
    if norm == 1:
        wanted["alma"] = {"distance": "l1", "init_lr_distance": 0.5, "num_steps": steps}
    if norm == 2:
        wanted |= {
            "alma": {"num_steps": steps},
            "carlini_wagner_l2": {"max_iterations": steps // SEARCHES},
            "ddn": {"steps": steps, "levels": None},
            "df": {"steps": 50},
            "sdf": {},
        }
    if norm == math.inf:
        wanted |= {"carlini_wagner_linf": {"max_iterations": steps // SEARCHES}, "df": {"norm": norm, "steps": 50}}
    return [
        Contender("adv_lib", name, _text(settings, leave=("norm",)), adv_lib(name, **settings))
        for name, settings in wanted.items()
    ]


def _foolbox(norm: float, budget: int) -> list[Contender]:
    steps, name = budget // 2, {0.0: "L0", 1.0: "L1", 2.0: "L2", math.inf: "LInf"}[norm]
    long = "Linf" if norm == math.inf else name
    search: dict[str, object] = {"steps": steps // SEARCHES}
    wanted: dict[str, dict[str, object]] = {f"{name}FMNAttack": {"steps": steps}}
    if norm == 1:
        wanted["EADAttack"] = {**search, "decision_rule": "L1"}
    if norm == 2:
        wanted |= {"DDNAttack": {"steps": steps}, "L2CarliniWagnerAttack": search, "NewtonFoolAttack": {}}
    if norm in {2.0, math.inf}:
        wanted[f"{long}DeepFoolAttack"] = {}
    plain = [
        Contender("foolbox", key, _text(settings), foolbox(key, None, **settings)) for key, settings in wanted.items()
    ]
    walk, length = f"{'Linfinity' if norm == math.inf else name}BrendelBethgeAttack", max(1, steps - FIRST)
    return [*plain, Contender("foolbox", walk, f"steps={length} init_steps={FIRST}", _brendel_bethge(walk, length))]


def _brendel_bethge(name: str, steps: int) -> Attack:
    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        import foolbox as library

        first = library.attacks.LinearSearchBlendedUniformNoiseAttack(steps=FIRST)
        return foolbox(name, init_attack=first, steps=steps)(model, x, y)

    return attack


def _others(norm: float, budget: int) -> list[Contender]:
    if norm == 0:
        return []
    steps = budget // FAB_T_PASSES
    found = [
        Contender("autoattack", "fab", "", fab_of_autoattack(norm, False)),
        Contender("autoattack", "fab_t", f"steps={steps}", fab_of_autoattack(norm, True, steps)),
    ]
    if norm == 1:
        found.append(Contender("torchattacks", "SparseFool", "", torchattacks("SparseFool")))
    return found


def _text(settings: Mapping[str, object], leave: tuple[str, ...] = ()) -> str:
    return " ".join(f"{key}={value}" for key, value in settings.items() if key not in leave)

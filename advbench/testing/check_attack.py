"""The contract of an attack as one call, for our own registry and for attacks of third parties."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from torch import nn

from advbench.core.call_checks import check_count, check_seed, check_value, shown
from advbench.registry import ATTACKS, CONTROLS, AttackInfo, Entry
from advbench.testing.laws import LAWS
from advbench.testing.promises import PROMISES
from advbench.testing.trial import Attack, Params, Trial
from advbench.types import ConfigError


def no_params(model: nn.Module) -> Mapping[str, object]:
    """The attack's defaults."""
    return {}


def check_attack(
    attack: Attack,
    *,
    info: AttackInfo | None = None,
    params: Params = no_params,
    shape: tuple[int, int, int] = (3, 4, 4),
    classes: int = 3,
    batch: int = 6,
    seed: int = 0,
) -> None:
    """Try `attack` on linear models in every norm it declares; AssertionError names the law it breaks and the numbers.

    Always: x_adv in ball and box, finite, like x; x, y and model left as they came, also if the model raises; eps = 0
    changes nothing; the same call gives the same bits; no dependence on batch and order; no NaN from bad gradients;
    empty batch, one sample, one class; NaN and negative counts refused among its parameters; never nearer than the
    closed-form optimum; already wrong stays wrong; no more access to the victim than declared; no fewer successes than
    one random step of the same length. An attack that declares `keeps_label` changes no prediction instead.

    info: what the attack declares (default: its entry in the registry). params: keyword arguments for a given victim
    (a substitute, say). A declared ratio is held to: success, untargeted and targeted, wherever eps is that many times
    the closed-form distance (two classes), and any target reached with a large radius. shape (C, H, W), classes, batch
    and seed make the problems. Raises ConfigError if nothing declares the attack, and for sizes that cannot be.
    """
    if not callable(attack):
        raise ConfigError(f"check_attack takes an attack's function, not its name; got {shown(attack)}")
    check_value("info", info, AttackInfo | None)
    check_value("shape", shape, tuple[int, int, int])
    for name, number in (("classes", classes), ("batch", batch)):
        check_count(name, number)
    check_seed(seed)
    declared, accepted = info or _declared(attack), inspect.signature(attack).parameters
    for norm in declared.norms:
        trial = Trial(
            name=getattr(attack, "__name__", type(attack).__name__),
            attack=attack,
            info=declared,
            params=params,
            ratio=declared.ratio,
            control=any(entry.function is attack for entry in CONTROLS),
            can_target="targeted" in accepted,
            can_start="x_start" in accepted,
            norm=norm,
            shape=shape,
            classes=classes,
            batch=batch,
            seed=seed,
        )
        for law in (*LAWS, *PROMISES):
            law(trial)


def _declared(attack: Attack) -> AttackInfo:
    entries: list[Entry[AttackInfo]] = [*ATTACKS, *CONTROLS]
    for entry in entries:
        if entry.function is attack:
            return entry.info
    raise ConfigError(f"{attack!r} is not registered: decorate it with @attack, or say what it can do with info=")

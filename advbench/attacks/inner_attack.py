"""An attack that is a part of another one: what it must be able to do, asked before it runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

from torch import Tensor

from advbench.registry import ATTACKS, CONTROLS
from advbench.types import ConfigError, ThreatModel, norm_name


def inner_attack(
    via: Callable[..., Tensor], threat: ThreatModel, *, targeted: bool, early_stop: bool = True
) -> Callable[..., Tensor]:
    """`via` with its goal filled in: what is left to give are the model, x, y, the threat and draws.

    via: an attack, registered or not, maybe with parameters filled in. early_stop False: turned off where `via` has it.
    Raises ConfigError if `targeted` but via has no such parameter, and if via is registered without the threat's norm,
    or as an attack on all samples of a call together.
    """
    _check_declared(via, threat)
    parameters = inspect.signature(via).parameters
    if "targeted" in parameters or any(own.kind is own.VAR_KEYWORD for own in parameters.values()):
        via = partial(via, targeted=targeted)
    elif targeted:
        raise ConfigError(f"via: {_name(via)} cannot be targeted: the goal must be untargeted")
    return partial(via, early_stop=False) if "early_stop" in parameters and not early_stop else via


def _check_declared(via: Callable[..., Tensor], threat: ThreatModel) -> None:
    """Raise ConfigError if the registry knows that `via` cannot be a part of an attack under `threat`."""
    function = _function(via)
    info = next((known.info for table in (ATTACKS, CONTROLS) if (known := table.entry_of(function))), None)
    if info is None:
        return
    if threat.norm not in info.norms:
        norms = ", ".join(map(norm_name, info.norms))
        raise ConfigError(f"via: {_name(via)} does not work in {norm_name(threat.norm)}; it has: {norms}")
    if info.together:
        raise ConfigError(
            f"via: {_name(via)} attacks all samples of a call as one set: it cannot be a part of another attack"
        )


def _name(via: Callable[..., Tensor]) -> str:
    return str(getattr(_function(via), "__name__", "this attack"))


def _function(via: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """What is called in the end: a partial of a partial is one partial."""
    return via.func if isinstance(via, partial) else via

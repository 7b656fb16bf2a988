"""Any attack past a module that hides the gradient: BPDA. Athalye et al. 2018, arXiv:1802.00420."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite
from typing import Literal

import torch
from torch import Tensor, nn

from advbench.attacks.arguments import positive
from advbench.attacks.gradient.apgd import apgd
from advbench.attacks.inner_attack import inner_attack
from advbench.core.draws import Draws
from advbench.core.stand_in import StandIn, hard_tanh_step, network_behind, sigmoid_step, standing_in, straight_through
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel


@attack(norms=(1, 2, inf), access="gradient", paper="arXiv:1802.00420", ratio=1.02, cost=(104, 100))
def bpda(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    module: str,
    via: Callable[..., Tensor] = apgd,
    stand_in: Literal["identity", "sigmoid", "hard_tanh"] = "identity",
    threshold: float = 0.5,
    sharpness: float = 1.0,
    targeted: bool = False,
) -> Tensor:
    """x_adv that `via`, an attack with its parameters filled in, finds with another gradient in one module.

    module: its name, as in `named_modules` ("0" is the first of a Sequential). Its forward pass stays exact, so that
    success is what it was; in the backward pass it is replaced by `stand_in`. identity: the gradient goes straight
    through. sigmoid: 1 / (1 + exp(-sharpness (z - threshold))). hard_tanh: straight through, but only where z is within
    1 / sharpness of `threshold`. The last two are for a module that is a step at `threshold`. Norms, radius and cost
    are those of `via`. Raises ConfigError if no module has this name, its output has not as many components as its
    input, sharpness <= 0, threshold is not finite, or `via` cannot have this norm or goal or attacks all samples
    together.
    """
    if not isfinite(threshold):
        raise ConfigError(f"threshold must be finite, got {threshold}")
    surrogate = _STAND_INS[stand_in](threshold, positive("sharpness", sharpness))
    attack_with = inner_attack(via, threat, targeted=targeted)
    with standing_in(model, module, surrogate):
        if not len(x):
            _look_once(model, x)
        return attack_with(model, x, y, threat, draws=draws)


def _look_once(model: nn.Module, x: Tensor) -> None:
    """Send a blank image like those of x (0, C, H, W) to the stand-in, as none comes there by itself.

    A plan asks on no images. Raises ConfigError if the stand-in does not fit its module.
    """
    with torch.enable_grad():
        network_behind(model)(x.new_zeros((1, *x.shape[1:])).requires_grad_())


_STAND_INS: dict[str, Callable[[float, float], StandIn]] = {
    "identity": lambda threshold, sharpness: straight_through,
    "sigmoid": sigmoid_step,
    "hard_tanh": hard_tanh_step,
}

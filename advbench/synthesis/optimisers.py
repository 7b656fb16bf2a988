"""The step rules that pictures with a start are made with, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor
from torch.nn import functional

from advbench.core.step_rules import State, StepRule, adam, cosine, lbfgs
from advbench.types import ConfigError

# Adam comes to rest at the end, so that the last picture is as good as the mean of the last ones.
_RULES: Mapping[str, Callable[[float], StepRule]] = {
    "lbfgs": lambda rate: lbfgs(memory=20),
    "adam": lambda rate: adam(rate, decay=(0.9, 0.99), schedule=cosine(1.0, 0.0)),
}


def optimiser_named(name: str, rate: float, steps: int) -> StepRule:
    """ "lbfgs" (without line search) or "adam" with a learning rate in pixel units that falls from `rate` to 0.

    Raises ConfigError for another name, a rate that is not positive or steps below 0.
    """
    if name not in _RULES:
        raise ConfigError(f"optimiser must be one of {', '.join(_RULES)}, got {name!r}")
    if steps < 0 or rate <= 0:
        raise ConfigError(f"steps must not be negative and rate must be positive, got {steps} and {rate}")
    return _RULES[name](rate)


class Handover:
    """Lets Adam go on at another size with the moments that it had: they are resized as the picture is.

    A descent that is taken up again where a size had just ended starts that size with new moments.
    """

    def __init__(self, rule: StepRule) -> None:
        self.rule = rule
        self.last: State = ()

    def step(self) -> StepRule:
        """The rule for the next size."""
        return StepRule(self._init, self._update)

    def _init(self, z: Tensor) -> State:
        fresh = self.rule.init(z)
        # Adam has two moments of the picture's shape and a counter; what L-BFGS knows has no meaning at another size.
        if not self.last or [part.dim() for part in fresh] != [4, 4, 1]:
            return fresh
        mean, square, count = self.last
        # A loss that does not depend on the size has a gradient per pixel that falls with their number.
        smaller = mean[0].numel() / z[0].numel()
        size = (z.shape[2], z.shape[3])
        return _resized(mean, size) * smaller, _resized(square, size) * smaller**2, count

    def _update(self, grad: Tensor, state: State, progress: float) -> tuple[Tensor, State]:
        move, self.last = self.rule.update(grad, state, progress)
        return move, self.last


def _resized(moment: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(moment, size=size, mode="bilinear")

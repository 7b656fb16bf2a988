"""Why a network does not take images: the layer that refuses, what it takes and what it got."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from advbench.core.call_checks import check_network
from advbench.core.gradients import frozen
from advbench.types import ConfigError

_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError)


@contextmanager
def naming_refusals(model: nn.Module, x: Tensor, *, what: str = "the model", logits: bool = False) -> Iterator[None]:
    """Inside, an error that comes from a network which does not take images like x (B, C, H, W) is a ConfigError.

    Nothing is computed as long as all goes well; then one image is asked for. logits: must the network also give
    (B, K)? Any other error comes through, and the original one is kept as the cause.
    """
    check_network(model, what)
    try:
        yield
    except ConfigError:
        raise
    except _ERRORS as error:
        problem = refusal(model, x[:1], what=what, logits=logits)
        if problem:
            raise ConfigError(problem) from error
        raise


def refusal(model: nn.Module, images: Tensor, *, what: str = "the model", logits: bool = False) -> str:
    """Why the network does not take `images` (A, C, H, W), or, if asked for logits, gives none; "" if it does."""
    answer, problem = asked(model, images, what=what)
    fine = isinstance(answer, Tensor) and answer.dim() == 2 and len(answer) == len(images)
    if problem or not logits or fine:
        return problem
    given = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
    return f"{what} must return logits ({len(images)}, K) for {len(images)} images, it returned {given}"


def asked(model: nn.Module, images: Tensor, *, what: str = "the model") -> tuple[object, str]:
    """What the network says of `images` (A, C, H, W), and why it does not take them, or ""."""
    reached: list[tuple[str, nn.Module, tuple[int, ...]]] = []  # the last layer that the pass came to

    def hook_for(name: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[object, ...]) -> None:
            if inputs and isinstance(inputs[0], Tensor):
                reached[:] = [(name, module, tuple(inputs[0].shape))]

        return hook

    leaves = [(name, module) for name, module in model.named_modules() if not any(module.children())]
    handles = [module.register_forward_pre_hook(hook_for(name)) for name, module in leaves]
    try:
        with torch.no_grad(), frozen(model):
            return model(images), ""
    except _ERRORS as error:
        return None, f"{what} does not take images {tuple(images.shape[1:])}: {_complaint(reached, error)}"
    finally:
        for handle in handles:
            handle.remove()


def _complaint(reached: list[tuple[str, nn.Module, tuple[int, ...]]], error: Exception) -> str:
    """What the layer takes and what it got, where that is the reason; else the error's first line."""
    said = (str(error) or type(error).__name__).splitlines()[0]
    if not reached:
        return said
    name, module, shape = reached[0]
    layer = f"its layer {name!r} ({type(module).__name__})" if name else f"{type(module).__name__}"
    if isinstance(module, nn.Conv2d) and len(shape) == 4 and shape[1] != module.in_channels:
        channels = "channel" if module.in_channels == 1 else "channels"
        return f"{layer} takes {module.in_channels} {channels} and gets {shape[1]}"
    if isinstance(module, nn.Linear) and shape[-1] != module.in_features:
        return f"{layer} takes {module.in_features} values and gets {shape[-1]}"
    return f"at {layer}, which gets {shape}: {said}"

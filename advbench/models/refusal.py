"""Why a network does not take images: the layer that refuses, what it takes and what it got."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from advbench.core.call_checks import check_network
from advbench.core.gradients import frozen
from advbench.types import ConfigError

_Reached = tuple[str, nn.Module, Tensor]  # a layer by name, and what it got

_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError)


@contextmanager
def naming_refusals(
    model: nn.Module, x: Tensor, *, what: str = "the model", logits: bool = False, advice: str = ""
) -> Iterator[None]:
    """Inside, an error that comes from a network which does not take images like x (B, C, H, W) is a ConfigError.

    Nothing is computed as long as all goes well; then one image is asked for. logits: must the network also give
    (B, K)? advice: what the message ends in. Any other error comes through, and the original one is kept as the cause.
    """
    check_network(model, what)
    try:
        yield
    except ConfigError:
        raise
    except _ERRORS as error:
        problem = _scripted(error, what) or refusal(model, x[:1], what=what, logits=logits)
        if problem:
            raise ConfigError(problem + advice) from error
        raise


def refusal(model: nn.Module, images: Tensor, *, what: str = "the model", logits: bool = False) -> str:
    """Why the network does not take `images` (A, C, H, W), or, if asked for logits, gives none; "" if it does."""
    answer, problem = asked(model, images, what=what)
    if problem or not logits:
        return problem
    if not (isinstance(answer, Tensor) and answer.dim() == 2 and len(answer) == len(images)):
        given = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        asked_for = f"{what} must return logits ({len(images)}, K) for {len(images)} images"
        return f"{asked_for}, it returned {given}{_part_that_fits(answer, len(images))}"
    if answer.dtype != images.dtype:
        return f"{what} must return {_type(images)} logits, it returned {_type(answer)}; end it with .float()"
    return ""


def asked(model: nn.Module, images: Tensor, *, what: str = "the model") -> tuple[object, str]:
    """What the network says of `images` (A, C, H, W), and why it does not take them, or ""."""
    reached: list[_Reached] = []  # the last layer that the pass came to

    def hook_for(name: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[object, ...]) -> None:
            if inputs and isinstance(inputs[0], Tensor):
                reached[:] = [(name, module, inputs[0])]

        return hook

    leaves = [(name, module) for name, module in model.named_modules() if not any(module.children())]
    handles = [module.register_forward_pre_hook(hook_for(name)) for name, module in leaves]
    try:
        with torch.no_grad(), frozen(model):
            return model(images), ""
    except _ERRORS as error:
        complaint = _complaint(model, images, reached, error)
        return None, f"{what} does not take images {tuple(images.shape[1:])}: {complaint}"
    finally:
        for handle in handles:
            handle.remove()


def _part_that_fits(answer: object, count: int) -> str:
    """Which part of a network's answer looks like its logits (count, K), and how to hand that out; or ""."""
    parts: Iterable[tuple[object, object]] = ()
    if isinstance(answer, Mapping):
        parts = answer.items()
    elif isinstance(answer, Sequence):
        parts = enumerate(answer)
    for key, part in parts:
        if isinstance(part, Tensor) and part.dim() == 2 and len(part) == count:
            return f"; wrap it in a module that returns model(x)[{key!r}]"
    return ""


def _scripted(error: Exception, what: str) -> str:
    """TorchScript refuses hooks and frozen parameters, in words of its own."""
    if "ScriptModule" not in str(error):
        return ""
    return f"{what} is TorchScript, whose layers cannot be looked into; give the nn.Module that it was made from"


def _type(values: Tensor) -> str:
    """ "float32"."""
    return str(values.dtype).removeprefix("torch.")


def _complaint(model: nn.Module, images: Tensor, reached: list[_Reached], error: Exception) -> str:
    """What the layer takes and what it got, where that is the reason; else the error's first line."""
    said = (str(error) or type(error).__name__).splitlines()[0]
    name, module, given = reached[0] if reached else ("", model, images)
    shape = tuple(given.shape)
    layer = f"its layer {name!r} ({type(module).__name__})" if name else f"{type(module).__name__}"
    if isinstance(module, nn.Conv2d) and len(shape) == 4 and shape[1] != module.in_channels:
        channels = "channel" if module.in_channels == 1 else "channels"
        turned = images.dim() == 4 and shape[1] == images.shape[1] and images.shape[3] == module.in_channels
        remedy = "; channels come second: x.permute(0, 3, 1, 2)" if turned else ""
        return f"{layer} takes {module.in_channels} {channels} and gets {shape[1]}{remedy}"
    if isinstance(module, nn.Linear) and shape[-1] != module.in_features:
        return f"{layer} takes {module.in_features} values and gets {shape[-1]}"
    other = next((each for each in module.parameters() if each.is_floating_point() and each.dtype != given.dtype), None)
    if other is not None and given.is_floating_point():
        remedy = "call model.float()" if images.dtype == torch.float32 else "let both be float32"
        return f"the parameters of {layer} are {_type(other)} and it gets {_type(given)}; {remedy}"
    return f"at {layer}, which gets {shape}: {said}" if reached else said

"""The Python face of the syntheses: a picture by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import get_args

import torch
from torch import Tensor, nn

from advbench.core.annotations import fits
from advbench.core.call_checks import (
    check_count,
    check_network,
    check_parameters,
    check_seed,
    check_value,
    described,
    shown,
)
from advbench.core.draws import Draws
from advbench.core.targets import Target, parse_target
from advbench.models.check import check_images
from advbench.models.refusal import naming_refusals
from advbench.models.target_layers import check_layers
from advbench.registry import SYNTHESES, Entry, SynthesisInfo
from advbench.types import ConfigError


@torch.inference_mode(False)  # there are no gradients in the caller's, if there is one
def picture(
    method: str, model: nn.Module | None, *args: object, seed: int = 0, count: int = 1, **params: object
) -> Tensor:
    """Images (B, C, H, W) in [0, 1] made by the named method, as in picture("visualize", model, "class:258").

    model: None for the few methods that need no network. args, params: the method's own, see `advbench show synthesis
    NAME`; a whole number as the target is a class, and `shape` (C, H, W) has to be that of the network's images. count:
    how many pictures a method that starts from nothing makes, each with random numbers of its own. Raises ConfigError
    for an unknown method or parameter, for a value of another type than the method's, for images outside [0, 1] and for
    a network that does not take images of the picture's shape.
    """
    entry = SYNTHESES[method]
    given, params = _placed(entry, model, args, params)
    check_parameters(entry, params)
    check_steps(entry, params)
    check_seed(seed)
    check_value("count", count, int)
    check_count("count", count)
    first = None if model is None else next(model.parameters(), None)
    ids = torch.arange(count, device=None if first is None else first.device)
    with fitting_pictures(entry, model, {**given, **params}, advice=_SHAPE_ADVICE["shape" in params]):
        made = entry.function(model, *given.values(), draws=Draws(seed, ids), **params)
    assert isinstance(made, Tensor)
    return made


def check_steps(entry: Entry[SynthesisInfo], params: Mapping[str, object]) -> None:
    """Raise ConfigError for fewer steps than one: what a method starts from is no picture by that method."""
    steps = params.get("steps")
    for count in steps if isinstance(steps, list | tuple) else [steps]:
        if isinstance(count, int) and count < 1:
            raise ConfigError(f"{entry.name}: steps must be at least 1, got {count}")


# By whether a shape was given.
_SHAPE_ADVICE = {
    False: "; that is the default of shape=, give shape=(channels, height, width) of images that it takes",
    True: "; shape= is (channels, height, width) of images that it takes",
}


def _placed(
    entry: Entry[SynthesisInfo], model: nn.Module | None, args: Sequence[object], params: Mapping[str, object]
) -> tuple[dict[str, object], dict[str, object]]:
    """What stands beside the model, by name and in order, and the other parameters.

    ConfigError if it is too much, too little, or something else.
    """
    signature = inspect.signature(entry.function, eval_str=True).parameters.values()
    own, *places = (place for place in signature if place.kind is not place.KEYWORD_ONLY)
    if not fits(model, own.annotation):
        check_network(model)
    if len(args) > len(places):
        takes = ", ".join(place.name for place in places)
        raise ConfigError(f"{entry.name} takes {takes} behind the model, and parameters by name; got {len(args)}")
    found = {place.name: value for place, value in zip(places, args, strict=False)}
    others = dict(params)
    for place in places[len(args) :]:
        if place.name in others:
            found[place.name] = others.pop(place.name)
        elif place.default is place.empty:
            raise ConfigError(f"{entry.name} needs {place.name!r} behind the model: {_allowed(place)}")
        else:
            found[place.name] = place.default
    for place in places:
        found[place.name] = value = _as_target(place, found[place.name])
        if not fits(value, place.annotation):
            raise ConfigError(f"{entry.name}: {place.name} must be {_allowed(place)}, got {shown(value)}")
        if isinstance(value, Tensor):
            check_images(value, dtypes=(torch.float32, torch.float64))
        if model is not None and value is not None and Target in get_args(place.annotation):
            check_layers(model, value if isinstance(value, Target) else parse_target(str(value)))
    return found, others


def _as_target(place: inspect.Parameter, value: object) -> object:
    """A class by its number, as `explain` takes it, is the target that says so."""
    return f"class:{value}" if place.name == "target" and fits(value, int) else value


def _allowed(place: inspect.Parameter) -> str:
    """What the place takes, in words."""
    if place.name == "target":
        return 'a class (a number), a target as text ("class:258", "layer4:17") or a Target'
    return described(place.annotation)


@contextmanager
def fitting_pictures(
    entry: Entry[SynthesisInfo], model: nn.Module | None, given: Mapping[str, object], *, advice: str = ""
) -> Iterator[None]:
    """Inside, an error from a network that does not take images of the picture's shape is a ConfigError that says so.

    given: the method's arguments. The picture has their `shape`, or that of the images among them. advice: what the
    message ends in where the shape decides.
    """
    shape = given.get("shape", getattr(entry.parameters().get("shape"), "default", None))
    images = [value for value in given.values() if isinstance(value, Tensor) and value.dim() == 4]
    if model is None or (not images and not fits(shape, tuple[int, int, int])):
        yield
        return
    first = next(model.parameters(), torch.zeros(()))
    canvas = images[0] if images else torch.zeros((1, *shape), device=first.device)  # type: ignore[misc]
    with naming_refusals(model, canvas, advice="" if images else advice):
        yield

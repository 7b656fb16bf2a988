"""The Python face of the syntheses: a picture by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

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
)
from advbench.core.draws import Draws
from advbench.models.check import check_images
from advbench.models.refusal import naming_refusals
from advbench.registry import SYNTHESES, Entry, SynthesisInfo
from advbench.types import ConfigError


@torch.inference_mode(False)  # there are no gradients in the caller's, if there is one
def picture(
    method: str, model: nn.Module | None, *args: object, seed: int = 0, count: int = 1, **params: object
) -> Tensor:
    """Images (B, C, H, W) in [0, 1] made by the named method, as in picture("visualize", model, "class:258").

    model: None for the few methods that need no network. args, params: the method's own, see `advbench show synthesis
    NAME`. count: how many pictures a method that starts from nothing makes, each with random numbers of its own. Raises
    ConfigError for an unknown method or parameter, for a value of another type than the method's, for images outside
    [0, 1] and for a network that does not take images of the picture's shape.
    """
    entry = SYNTHESES[method]
    given = _placed(entry, model, args)
    check_parameters(entry, params)
    check_seed(seed)
    check_value("count", count, int)
    check_count("count", count)
    first = None if model is None else next(model.parameters(), None)
    ids = torch.arange(count, device=None if first is None else first.device)
    with fitting_pictures(entry, model, {**given, **params}):
        made = entry.function(model, *args, draws=Draws(seed, ids), **params)
    assert isinstance(made, Tensor)
    return made


def _placed(entry: Entry[SynthesisInfo], model: object, args: Sequence[object]) -> Mapping[str, object]:
    """What stands beside the model, by name. ConfigError if it is too much, too little, or something else."""
    signature = inspect.signature(entry.function, eval_str=True).parameters.values()
    own, *places = (place for place in signature if place.kind is not place.KEYWORD_ONLY)
    if not fits(model, own.annotation):
        check_network(model)
    if len(args) > len(places):
        takes = ", ".join(place.name for place in places)
        raise ConfigError(f"{entry.name} takes {takes} behind the model, and parameters by name; got {len(args)}")
    for place in places[len(args) :]:
        if place.default is place.empty:
            raise ConfigError(f"{entry.name} needs {place.name!r} behind the model: {described(place.annotation)}")
    for place, value in zip(places, args, strict=False):
        check_value(f"{entry.name}: {place.name}", value, place.annotation)
        if isinstance(value, Tensor):
            check_images(value, dtypes=(torch.float32, torch.float64))
    return {place.name: value for place, value in zip(places, args, strict=False)}


@contextmanager
def fitting_pictures(
    entry: Entry[SynthesisInfo], model: nn.Module | None, given: Mapping[str, object]
) -> Iterator[None]:
    """Inside, an error from a network that does not take images of the picture's shape is a ConfigError that says so.

    given: the method's arguments. The picture has their `shape`, or that of the images among them.
    """
    shape = given.get("shape", getattr(entry.parameters().get("shape"), "default", None))
    images = [value for value in given.values() if isinstance(value, Tensor) and value.dim() == 4]
    if model is None or (not images and not fits(shape, tuple[int, int, int])):
        yield
        return
    first = next(model.parameters(), torch.zeros(()))
    canvas = images[0] if images else first.new_zeros((1, *shape))  # type: ignore[misc]
    with naming_refusals(model, canvas):
        yield

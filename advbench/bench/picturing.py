"""What a synthesis is given on the command line: pictures, a target and parameters, by the names in its signature."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench.bench.given import given
from advbench.core.draws import Draws
from advbench.core.journal import phase
from advbench.core.targets import parse_target
from advbench.models.target_layers import check_layers
from advbench.names import nearest
from advbench.registry import SYNTHESES, Entry, SynthesisInfo
from advbench.synthesis.picture import check_steps, fitting_pictures
from advbench.synthesis.visualize.generator import Generator, train_generator
from advbench.types import ConfigError, Json


@dataclass(frozen=True, eq=False)
class Materials:
    """What a picture may be made of; what was not given is None or empty. shape: (C, H, W) of the picture.

    classes: names of the model's.
    """

    model: nn.Module | None = None
    image: Tensor | None = None  # (B, C, H, W)
    styles: tuple[Tensor, ...] = ()  # (1, C, H, W) each
    guide: Tensor | None = None
    images: Tensor | None = None  # many, (N, C, H, W)
    network: nn.Module | None = None
    target: str | None = None
    classes: tuple[str, ...] = ()
    shape: tuple[int, int, int] | None = None


DECODER_STEPS = 300  # a minute on a core for 64 x 64 pixels

# A synthesis's argument -> (what is put there, the option that gives it)
PLACES: Mapping[str, tuple[str, str]] = {
    "model": ("model", "--model"),
    "image": ("image", "--image"),
    "content": ("image", "--image"),
    "sample": ("image", "--image"),
    "photo": ("image", "--image"),
    "styles": ("styles", "--style"),
    "guide": ("guide", "--guide"),
    "images": ("images", "--images"),
    "network": ("network", "--network"),
    "generator": ("images", "--images"),  # a decoder that is trained on them
    "target": ("target", "--target"),
    "layers": ("target", "--target"),
    "layer": ("target", "--target"),
    "shape": ("shape", "--size"),
    "size": ("shape", "--size"),
}


def make(method: str, materials: Materials, params: Mapping[str, Json], *, seed: int, count: int = 1) -> Tensor:
    """The pictures (B, C, H, W) in [0, 1] of the named synthesis.

    params: its other parameters, checked against its signature. Raises ConfigError, before work starts, for what is
    missing, what the method has no use for, and values that do not fit.
    """
    entry = SYNTHESES[method]
    arguments = arguments_of(entry, materials, params)
    device = next((p.device for p in materials.model.parameters()), None) if materials.model is not None else None
    many = 1 if materials.image is None else len(materials.image)
    draws = Draws(seed, torch.arange(max(count, many), device=device))
    if isinstance(photographs := arguments.get("generator"), Tensor):
        arguments["generator"] = _decoder(photographs, seed)
    try:
        with fitting_pictures(entry, materials.model, arguments):
            made = entry.function(**arguments, draws=draws)
    except ConfigError as error:
        if "shapes cannot be multiplied" not in str(error.__cause__):
            raise
        # Linear layers behind flattened maps: a network for images of one size.
        raise ConfigError(f"{method}: {error}; give the size as --size, or a layer before that one") from error
    assert isinstance(made, Tensor)
    return made


def _decoder(photographs: Tensor, seed: int) -> Generator:
    """A decoder of photographs (N, C, H, W), whose training is a phase of the picture."""
    with phase() as (story, _):
        shown = photographs[:1]
        return train_generator(
            photographs,
            seed=seed,
            steps=DECODER_STEPS,
            progress=lambda step, loss: story.tell(step, DECODER_STEPS, shown, torch.tensor([loss])),
        )


def arguments_of(entry: Entry[SynthesisInfo], materials: Materials, params: Mapping[str, Json]) -> dict[str, object]:
    """The arguments of the synthesis but `draws`. Raises ConfigError as `make`."""
    signature = inspect.signature(entry.function, eval_str=True).parameters
    found: dict[str, object] = {}
    used: set[str] = set()
    for name, parameter in signature.items():
        what, option = PLACES.get(name, ("", ""))
        if what == "target" and name != "target" and "target" in signature:
            what = ""  # a layer beside a target is a parameter
        value = getattr(materials, what) if what else None
        if what and value is not None and value != ():
            found[name] = _fitted(name, value, parameter)
            if name == "target" or (name == "layers" and "Target" in str(parameter.annotation)):
                _check_target(str(value), materials.model)
            used.add(what)
        elif what and parameter.default is parameter.empty:
            if name == "model" and type(None) in getattr(parameter.annotation, "__args__", ()):
                found[name] = None
                continue
            raise ConfigError(f"{entry.name} needs {option}")
    _refuse_unused(entry, materials, used)
    own = {name: parameter for name, parameter in entry.parameters().items() if name not in found}
    for name, value in params.items():
        if name not in own:
            settable = [key for key in own if PLACES.get(key, ("",))[0] not in ("image", "styles", "guide", "images")]
            raise ConfigError(
                f"{entry.name} has no parameter {name!r}; {nearest(name, settable)}It has: {', '.join(settable)}"
            )
        found[name] = given(entry.name, own[name], value)
    check_steps(entry, found)
    return found


def sizes_itself(entry: Entry[SynthesisInfo]) -> bool:
    """Whether the picture's size is a parameter of its own, apart from that of the images that are given."""
    return "size" in inspect.signature(entry.function).parameters


def _fitted(name: str, value: object, parameter: inspect.Parameter) -> object:
    """The value as the argument wants it: a size is the shape without channels, `layers` may be a list of names."""
    if name == "size":
        return value[1:]  # type: ignore[index]
    if name == "layers" and "Sequence" in str(parameter.annotation) and "Target" not in str(parameter.annotation):
        return tuple(str(value).replace(" ", "").split(","))
    return value


def _check_target(text: str, model: nn.Module | None) -> None:
    """Raises ConfigError for a target that is none, or that names a layer which the model has not."""
    target = parse_target(text)
    if model is not None:
        check_layers(model, target)


def _refuse_unused(entry: Entry[SynthesisInfo], materials: Materials, used: set[str]) -> None:
    for what, option in dict(PLACES.values()).items():
        value = getattr(materials, what)
        if what not in used | {"model", "shape"} and value is not None and value != ():
            raise ConfigError(f"{entry.name} has no use for {option}")

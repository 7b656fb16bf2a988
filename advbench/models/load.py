"""From a spec to a model: find the architecture, size it for the data, draw or load its weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from advbench.core.annotations import fits
from advbench.core.call_checks import check_count, check_seed, check_value
from advbench.models import timm, torchvision
from advbench.models.sequential import names_weights, read_entry
from advbench.models.spec import Spec, parse_spec
from advbench.models.weights import WeightShapeError, load_weights
from advbench.names import nearest
from advbench.registry import DATASETS, MODELS, Entry, ModelInfo
from advbench.types import ConfigError

_FILES = (".safetensors", ".pt", ".pth")

# Architectures that bring weights unasked: do they, given their parameters?
_BRINGS: Mapping[str, Callable[[Mapping[str, object]], bool]] = {
    "python": lambda params: True,
    "sequential": lambda params: names_weights(read_entry(Path(str(params["file"])), str(params.get("entry", "")))),
}


# What can be known of an architecture's parameters before anything is built.
_CHECKS: Mapping[str, Callable[[Mapping[str, object]], None]] = {
    "torchvision": lambda params: torchvision.check_name(str(params["name"])),
    "timm": lambda params: timm.check_name(str(params["name"])),
}


@dataclass(frozen=True)
class _Request:
    """What a call asks for: the architecture, its parameters, and a weights file to load afterwards."""

    entry: Entry[ModelInfo]
    params: Mapping[str, object]
    file: Path | None


def load_model(
    spec: str,
    *,
    dataset: str | None = None,
    shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    weights: str | Path | None = None,
    seed: int = 0,
    allow_code: bool = False,
    params: Mapping[str, object] | None = None,
) -> nn.Module:
    """The model that `spec` names, in eval mode on the CPU: images (B, C, H, W) in [0, 1] to logits (B, K).

    spec: a registered name, or name:argument@weights#entry. dataset: a registered dataset that gives shape (C, H, W)
    and classes; either may be given instead. weights: a .safetensors, .pt or .pth file, a name that the architecture
    knows (IMAGENET1K_V1), or "none"; without weights they are drawn from `seed`. params: the architecture's own.
    allow_code: lets `python:module:function` run. Raises ConfigError before anything is built if the request makes no
    sense, and if weights do not fit.
    """
    check_value("dataset", dataset, str | None)
    check_seed(seed)
    request = _request(spec, weights, params)
    arguments = dict(request.params)
    if "allow_code" in inspect.signature(request.entry.function).parameters:
        arguments["allow_code"] = allow_code
    sizes = _sizes(request.entry, dataset, shape, classes)
    model = request.entry.function(**sizes, seed=seed, **arguments)
    if not isinstance(model, nn.Module):
        raise TypeError(f"{request.entry.name} returned {type(model).__name__}, not an nn.Module")
    if request.file is not None:
        _fill(model, request.file, sizes)
    return model.eval()


def _fill(model: nn.Module, file: Path, sizes: Mapping[str, object]) -> None:
    """Load the weights in `file`. An error of their sizes says for which data the model was built."""
    try:
        load_weights(model, file)
    except WeightShapeError as error:
        asked = [f"{'images' if name == 'shape' else name} {value}" for name, value in sizes.items()]
        raise ConfigError(f"{error} (built for {', '.join(asked) or 'its own default sizes'})") from None


def comes_trained(spec: str, *, weights: str | Path | None = None, params: Mapping[str, object] | None = None) -> bool:
    """Whether `load_model` of the same arguments gives weights from elsewhere rather than from a seed.

    Builds nothing and runs no code. Raises ConfigError as `load_model` does for a request that makes no sense.
    """
    request = _request(spec, weights, params)
    named = request.params.get("weights", "")
    if request.file is not None or named not in ("", "none"):
        return True
    brings = _BRINGS.get(request.entry.name)
    return named != "none" and brings is not None and brings(request.params)


def _request(spec: str, weights: str | Path | None, params: Mapping[str, object] | None) -> _Request:
    check_value("spec", spec, str)
    check_value("params", params, Mapping | None)
    parsed = parse_spec(spec)
    entry = MODELS[parsed.name]
    given = {**_positional(entry, parsed), **_checked(entry, params or {})}
    chosen = [str(value) for value in (weights, parsed.weights, given.pop("weights", None)) if value]
    if len(set(chosen)) > 1:
        raise ConfigError(f"{parsed.name}: weights are given more than once: {', '.join(chosen)}")
    _check_complete(entry, given)
    source = chosen[0] if chosen else ""
    knows_names = "weights" in entry.parameters()
    is_file = source.endswith(_FILES)
    if source and not is_file and not knows_names and source != "none":
        raise ConfigError(f"{parsed.name} knows no weights named {source!r}; a file ends in {', '.join(_FILES)}")
    if knows_names and source:
        given["weights"] = "none" if is_file else source
    if entry.name in _CHECKS:
        _CHECKS[entry.name](given)
    return _Request(entry, given, Path(source) if is_file else None)


def _positional(entry: Entry[ModelInfo], spec: Spec) -> dict[str, object]:
    """The parts of a spec as parameters: the required one stands behind the colon, `entry` behind the hash."""
    parameters = entry.parameters()
    required = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    found: dict[str, object] = {}
    if spec.argument:
        if not required:
            raise ConfigError(f"{spec}: {entry.name} takes nothing behind the colon; parameters are given separately")
        found[required[0]] = _converted(spec.argument, parameters[required[0]])
    if spec.entry:
        if "entry" not in parameters:
            raise ConfigError(f"{spec}: {entry.name} has no entries, so no #{spec.entry}")
        found["entry"] = spec.entry
    return found


def _checked(entry: Entry[ModelInfo], params: Mapping[str, object]) -> dict[str, object]:
    allowed = entry.parameters()
    for name in params:
        if name not in allowed and name != "weights":
            listed = ", ".join(allowed) or "none"
            raise ConfigError(
                f"{entry.name} has no parameter {name!r}; {nearest(name, list(allowed))}Its parameters: {listed}"
            )
    return {name: _converted(value, allowed[name]) if name in allowed else value for name, value in params.items()}


def _converted(value: object, parameter: inspect.Parameter) -> object:
    """`value` if it has the parameter's type; a path may be written as text. Sizes must be at least 1."""
    kind = parameter.annotation
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{parameter.name} must be of type {kind.__name__}, got {value!r}")
    if kind is int and isinstance(value, int) and value < 1:
        raise ConfigError(f"{parameter.name} must be at least 1, got {value}")
    return value


def _check_complete(entry: Entry[ModelInfo], given: Mapping[str, object]) -> None:
    for name, parameter in entry.parameters().items():
        if parameter.default is parameter.empty and name not in given:
            raise ConfigError(f"{entry.name} needs {name!r}: write {entry.name}:{name.upper()}")


def _sizes(
    entry: Entry[ModelInfo],
    dataset: str | None,
    shape: tuple[int, int, int] | None,
    classes: int | None,
) -> dict[str, object]:
    """shape and classes for the builder: as given, else the dataset's, else the builder's own defaults."""
    if dataset is not None:
        info = DATASETS[dataset.partition(":")[0]].info
        shape, classes = shape or info.shape, classes or info.classes
    given: dict[str, object] = {"shape": shape, "classes": classes}
    sizes = {name: value for name, value in given.items() if value is not None}
    signature = inspect.signature(entry.function).parameters
    for name in ("shape", "classes"):
        if name not in sizes and signature[name].default is inspect.Parameter.empty:
            origin = f"the dataset {dataset!r} does not fix it" if dataset else "give dataset=, or shape= and classes="
            raise ConfigError(f"{entry.name} needs the {name} of its data: {origin}")
    if shape is not None and not (fits(shape, tuple[int, int, int]) and min(shape) >= 1):
        raise ConfigError(f"shape must be (C, H, W), whole numbers of at least 1, got {shape}")
    check_count("classes", classes)
    return sizes

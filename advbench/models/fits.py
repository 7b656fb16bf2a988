"""Does a network take the images of a dataset, and has it its classes? Asked of shapes alone, before any work."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from advbench.models.load import load_model
from advbench.models.refusal import asked
from advbench.models.sequential import names_weights, read_entry
from advbench.models.torchvision import check_classes
from advbench.models.weights import load_weights
from advbench.registry import MODELS
from advbench.types import ConfigError

Value = TypeVar("Value")
IMAGES = 2  # a batch: some layers drop the axis of a lone image


def check_fits(
    name: str,
    *,
    shape: tuple[int, int, int],
    classes: int,
    params: Mapping[str, object],
    weights: str | None = None,
) -> None:
    """Raise ConfigError if the architecture `name` does not map images of `shape` to logits of `classes`, or if its
    weights do not fit it.

    weights: a file that the network is filled from. Nothing is downloaded, no weights are drawn and nothing is
    computed: the network is built on torch's meta device. What runs code of the user's (`python`) is not asked.
    """
    if name == "python":
        return
    if name == "torchvision":
        check_classes(str(params["name"]), str(params.get("weights") or ""), classes)
    build = partial(load_model, name, shape=shape, classes=classes, params=without_weights(name, params))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the networks' own come again when they are built to be used
        model, problem = _built(build, shape, classes)
        if problem:
            raise ConfigError(problem)
        file = weights or _listed_weights(name, params)
        if file is not None:
            load_weights(model, file)  # on meta, names and shapes are compared and nothing is copied


def without_weights(name: str, params: Mapping[str, Value]) -> dict[str, Value | str]:
    """The parameters of the architecture `name` that build it without the weights it would bring."""
    return {**params, **({"weights": "none"} if "weights" in MODELS[name].parameters() else {})}


def _built(build: Callable[[], nn.Module], shape: tuple[int, int, int], classes: int) -> tuple[nn.Module, str]:
    """The network, on the meta device if that will do, and why it does not fit, or ""."""
    try:
        with torch.device("meta"):
            model = build()
        problem = _refusal(model, torch.zeros(IMAGES, *shape, device="meta"), classes)
        if not problem:
            return model, ""
    except RuntimeError:
        pass  # some networks compute with tensors while they are built
    # Some operations have no meta form, too: what counts is whether the network itself refuses.
    model = build()
    return model, _refusal(model, torch.zeros(IMAGES, *shape), classes)


def _refusal(model: nn.Module, images: Tensor, classes: int) -> str:
    """Why the network does not fit, or ""."""
    logits, problem = asked(model, images)
    if not problem and isinstance(logits, Tensor) and logits.ndim == 2 and logits.shape[1] != classes:
        return f"the model gives {logits.shape[1]} logits per image, the data has {classes} classes"
    return problem


def _listed_weights(name: str, params: Mapping[str, object]) -> Path | None:
    """The file of weights that a list of layers names, unless the matrix asks to go without."""
    if name != "sequential" or params.get("weights") == "none":
        return None
    listing = Path(str(params["file"]))
    entry = read_entry(listing, str(params.get("entry") or ""))
    return listing.parent / str(entry["file"]) if names_weights(entry) else None

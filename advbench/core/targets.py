"""What is looked at: a number per sample read off one forward pass, from the logits or from inside the network.

A target is what an attribution explains and what an optimised image excites. Targets add and scale, and text names
them: "class:258", "log_prob:258", "prob:258", "features.12:17" (channel 17, mean over its map), "features.12:17@6,6"
(one unit), "features.12:17@centre", "features.12:17@max" (the strongest unit of each sample), "features.12" (half the
squared length of the layer), "class:258 - 0.5 * class:281".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from advbench.core.activations import check_reached, record
from advbench.types import ConfigError


@dataclass(frozen=True, eq=False)
class Reading:
    """One forward pass of A samples: the model's output (A, ...), named layers' outputs, and the samples' rows (A,)."""

    output: Tensor
    layers: Mapping[str, Tensor]
    rows: Tensor


@dataclass(frozen=True, eq=False)
class Target:
    """What to read: read(reading) gives a score (A,), differentiable; `layers` are those it needs recorded.

    whole: does it read the model's output? If not, a pass may end at the last of the layers. parts: the same score as
    a sum over layers, (layer, output (A, ...), rows (A,)) -> (A,). Who forms each part as the pass comes to its layer
    gets the gradients of the parts one by one on the way back, where those of `read` are all formed before it begins.
    """

    read: Callable[[Reading], Tensor]
    layers: tuple[str, ...] = ()
    name: str = "score"
    whole: bool = True
    parts: Callable[[str, Tensor, Tensor], Tensor] | None = None


Place = tuple[int, int] | str  # (row, column) in the map, or "mean", "centre", "max"
Explained = Tensor | Target  # classes (B,) int64, meaning their raw scores, or any target


def as_target(y: Explained) -> Target:
    """y itself, or the raw score of the classes y (B,)."""
    return y if isinstance(y, Target) else logit(y)


def logit(y: Tensor | int) -> Target:
    """The raw score of class y: one for all samples, or (B,) one for each."""
    pick = _of_class(y)
    return Target(lambda reading: pick(reading.output, reading.rows), name=f"class:{_named(y)}")


def log_probability(y: Tensor | int) -> Target:
    """log softmax of the scores at class y: its gradient is that of the score minus what the other classes gain."""
    pick = _of_class(y)
    return Target(lambda reading: pick(reading.output.log_softmax(1), reading.rows), name=f"log_prob:{_named(y)}")


def probability(y: Tensor | int) -> Target:
    """softmax of the scores at class y. Its gradient vanishes where the model is sure."""
    pick = _of_class(y)
    return Target(lambda reading: pick(reading.output.softmax(1), reading.rows), name=f"prob:{_named(y)}")


def unit(layer: str, channel: int, place: Place = "mean") -> Target:
    """A channel of a layer (A, C, H, W), (A, T, C) or (A, C): its mean, the unit at a place, the central, the largest.

    Raises ConfigError, at the first pass, for a channel or a place outside of the layer's output.
    """
    where = "" if place == "mean" else f"@{place if isinstance(place, str) else f'{place[0]},{place[1]}'}"
    return Target(
        lambda reading: _of_channel(reading.layers[layer], layer, channel, place),
        (layer,),
        f"{layer}:{channel}{where}",
        whole=False,
    )


def energy(layer: str) -> Target:
    """Half the squared length of a layer's output: its gradient there is the activation itself."""
    return Target(lambda reading: 0.5 * reading.layers[layer].flatten(1).square().sum(1), (layer,), layer, whole=False)


def of_output(score: Callable[[Tensor], Tensor], name: str = "score") -> Target:
    """Any function of the model's output (A, ...) that gives (A,)."""
    return Target(lambda reading: score(reading.output), name=name)


def plus(first: Target, second: Target) -> Target:
    """The sum of two scores, from one forward pass."""
    layers = tuple(dict.fromkeys((*first.layers, *second.layers)))
    name, whole = f"{first.name} + {second.name}", first.whole or second.whole
    return Target(lambda reading: first.read(reading) + second.read(reading), layers, name, whole)


def times(weight: float, target: Target) -> Target:
    """A score times a number."""
    return Target(
        lambda reading: weight * target.read(reading), target.layers, f"{weight:g} * {target.name}", target.whole
    )


def scores(model: nn.Module, z: Tensor, target: Target, rows: Tensor) -> Tensor:
    """The target's score (A,) at z (A, C, H, W), with its graph; `rows` (A,) say which samples these are."""
    if not target.layers:
        return target.read(Reading(model(z), {}, rows))
    with record(model, target.layers) as layers:
        output = model(z)
    check_reached(model, target.layers, layers)
    return target.read(Reading(output, layers, rows))


def parse_target(text: str) -> Target:
    """The target that `text` names, see the head of this file. Raises ConfigError for text that is none."""
    # Signs stand between blanks, so that a layer's name may hold a dash.
    parts = re.split(r"\s+([+-])\s+", text.strip())
    total: Target | None = None
    for sign, part in zip(["+", *parts[1::2]], parts[::2], strict=True):
        factor, _, body = part.rpartition("*")
        try:
            weight = float(factor) if factor.strip() else 1.0
        except ValueError:
            raise ConfigError(f"target {text!r}: {factor.strip()!r} is not a number") from None
        term = _parse_term(body.strip(), text)
        weight = -weight if sign == "-" else weight
        term = term if weight == 1.0 else times(weight, term)
        total = term if total is None else plus(total, term)
    assert total is not None
    return Target(total.read, total.layers, text.strip(), total.whole)


_OF_CLASS = {"class": logit, "log_prob": log_probability, "prob": probability}
_CHANNEL = re.compile(r"(?P<layer>.+):(?P<channel>\d+)(@(?P<place>centre|max|mean|\d+,\d+))?")


def _parse_term(term: str, text: str) -> Target:
    if not term or ":" not in term:
        if not re.fullmatch(r"[\w.\-]+", term):
            raise ConfigError(f"target {text!r}: {term!r} is neither class:N nor LAYER:CHANNEL nor LAYER")
        return energy(term)
    found = _CHANNEL.fullmatch(term)
    if found is None:
        raise ConfigError(
            f"target {text!r}: {term!r} is none of class:N, log_prob:N, prob:N, LAYER, LAYER:CHANNEL, "
            "LAYER:CHANNEL@ROW,COLUMN, LAYER:CHANNEL@centre, LAYER:CHANNEL@max"
        )
    layer, channel, place = found["layer"], int(found["channel"]), found["place"] or "mean"
    if layer in _OF_CLASS:
        return _OF_CLASS[layer](channel)
    if "," in place:
        row, column = place.split(",")
        return unit(layer, channel, (int(row), int(column)))
    return unit(layer, channel, place)


def _of_class(y: Tensor | int) -> Callable[[Tensor, Tensor], Tensor]:
    """From values (A, K) and rows (A,) to those of class y. ConfigError, at the first pass, if it is none of the K."""
    # Read here, once: in each pass it would mean to wait for a GPU.
    asked = y.tolist() if isinstance(y, Tensor) else [y]
    low, high = min(asked, default=0), max(asked, default=0)

    def pick(values: Tensor, rows: Tensor) -> Tensor:
        if low < 0 or high >= values.shape[1]:
            raise ConfigError(f"class {min(low, 0) or high}: the model's classes are 0 .. {values.shape[1] - 1}")
        return values.gather(1, y[rows][:, None])[:, 0] if isinstance(y, Tensor) else values[:, y]

    return pick


def _of_channel(output: Tensor, layer: str, channel: int, place: Place) -> Tensor:
    tokens = output.dim() == 3  # (A, T, C), as transformers have it
    maps = output.movedim(-1, 1) if tokens else output
    if not 0 <= channel < maps.shape[1]:
        raise ConfigError(f"{layer}:{channel}: this layer's channels are 0 .. {maps.shape[1] - 1}")
    one = maps[:, channel]  # (A, H, W), (A, T) or (A,)
    if place == "mean":
        return one.flatten(1).mean(1) if one.dim() > 1 else one
    if place == "max":
        return one.flatten(1).amax(1) if one.dim() > 1 else one
    if one.dim() != 3:
        raise ConfigError(
            f"{layer}:{channel}@{place}: this layer's output {tuple(output.shape)} has no rows and columns"
        )
    height, width = one.shape[1:]
    row, column = (height // 2, width // 2) if isinstance(place, str) else place
    if not (0 <= row < height and 0 <= column < width):
        raise ConfigError(f"{layer}:{channel}@{row},{column}: the map has {height} rows and {width} columns")
    return one[:, row, column]


def _named(y: Tensor | int) -> str:
    return "y" if isinstance(y, Tensor) else str(y)

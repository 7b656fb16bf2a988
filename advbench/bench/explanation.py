"""Several heat map methods on several samples and scores, with their controls: what `advbench explain` draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from advbench.attributions.explain import explain
from advbench.bench.asked_scores import Asked
from advbench.bench.given import given as given_value
from advbench.bench.parameters import as_json
from advbench.core.copying import copy_of
from advbench.core.default_layer import default_layer
from advbench.core.draws import Draws
from advbench.core.targets import Target, as_target
from advbench.metrics.randomisation import forget, layers_from_the_top
from advbench.models.target_layers import check_layers
from advbench.names import nearest
from advbench.registry import ATTRIBUTIONS, AttributionInfo, Entry
from advbench.types import ConfigError, Json

PIECE = 8  # samples that go to a method in one call
MAP, RANDOM_WEIGHTS, SHUFFLED = "", "random weights", "shuffled"


@dataclass(frozen=True)
class Method:
    """A registered attribution with its parameters, to be run on the net at position `net`."""

    entry: Entry[AttributionInfo]
    params: Mapping[str, object]
    net: int = 0

    @property
    def settings(self) -> str:
        """All parameters as text, those left out with their defaults: "nodes 32, baseline 0"."""
        values = {name: self.params.get(name, own.default) for name, own in self.entry.parameters().items()}
        return ", ".join(f"{name} {_told(value)}" for name, value in values.items() if value is not None)


@dataclass(frozen=True, eq=False)
class Question:
    """Images x (B, C, H, W), the scores asked for, the methods and the nets that they look into.

    random_nets: for controls, a copy of each net with random weights; then each map also comes shuffled. objects:
    (B, H, W) bool, where the object of each image is, if that is known.
    """

    x: Tensor
    asked: Sequence[Asked]
    methods: Sequence[Method]
    nets: Sequence[nn.Module]
    random_nets: Sequence[nn.Module] = ()
    seed: int = 0
    objects: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Panel:
    """The raw map (C or 1, H, W) of a sample, a score and a method, by position; control: MAP or what it is instead.

    notes: numbers about this map. of_method: numbers about the method, the same on all of its maps.
    """

    sample: int
    asked: int
    method: int
    control: str
    heat: Tensor
    notes: tuple[str, ...] = ()
    of_method: tuple[str, ...] = ()


def panels(question: Question, tell: Callable[[str], None] = lambda _: None) -> list[Panel]:
    """All maps that the question asks for; `tell` hears what is being worked on."""
    made: list[Panel] = []
    for number, method in enumerate(question.methods):
        for column, asked in enumerate(question.asked):
            what = f"{method.entry.name}, score {column + 1} of {len(question.asked)}"
            with _counting(question.nets[method.net], what, tell):
                made += _of_one(question, number, column, asked)
    return made


@contextmanager
def _counting(net: nn.Module, what: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Inside, `tell` hears how many images have gone into the net: the pulse of a method that takes thousands."""
    seen = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal seen
        seen += len(inputs[0])
        tell(f"{what}: {seen:,} images seen")

    tell(f"{what}: 0 images seen")
    handle = net.register_forward_pre_hook(count)
    try:
        yield
    finally:
        handle.remove()


def methods(names: Sequence[str], given: Mapping[str, Json], *, layer: str | None, nets: int = 1) -> list[Method]:
    """The methods NAME or NAME@NET (1 is the first net) with the parameters PARAMETER or NAME.PARAMETER of `given`.

    A parameter without a method's name goes to every method that has it. Raises ConfigError for an unknown method,
    net or parameter, and for a value that does not fit.
    """
    wanted = dict(given) if layer is None else {"layer": layer, **given}
    made, used = [], set()
    for name, net in (_on_net(text, nets) for text in names):
        entry = ATTRIBUTIONS[name]
        own: dict[str, object] = {}
        for key, value in wanted.items():
            of, _, parameter = key.rpartition(".")
            if of in ("", name) and parameter in entry.parameters():
                own[parameter] = given_value(entry.name, entry.parameters()[parameter], value)
                used.add(key)
        made.append(Method(entry, own, net))
    for key in wanted:
        if key not in used:
            known = [parameter for method in made for parameter in method.entry.parameters()]
            has = f"Parameters: {', '.join(dict.fromkeys(known))}" if known else "They have none"
            near = nearest(key.rpartition(".")[2], known)
            raise ConfigError(f"{', '.join(names)}: no parameter {key!r}; {near}{has}")
    return made


def _on_net(text: str, nets: int) -> tuple[str, int]:
    name, _, place = text.strip().partition("@")
    if not place:
        return name, 0
    if not (place.isdigit() and 1 <= int(place) <= nets):
        raise ConfigError(f"{text}: behind the @ stands which --model, 1 .. {nets}, got {place!r}")
    return name, int(place) - 1


def maps_of(question: Question, method: Method, net: nn.Module, asked: Asked) -> list[Tensor]:
    """The raw map (C or 1, H, W) of every image by `method` on `net`, for the score asked about it."""
    found: dict[int, Tensor] = {}
    params = dict(method.params)
    for rows in torch.split(torch.arange(len(question.x)), PIECE):
        for places, score in asked.explained(rows.tolist()):
            chosen = rows[places]
            x, y = question.x[chosen], score if isinstance(score, Target) else score.to(question.x.device)
            heat = explain(method.entry.name, net, x, y, seed=question.seed, sample_ids=chosen, **params).cpu()
            found |= dict(zip(chosen.tolist(), heat, strict=True))
    return [found[sample] for sample in range(len(question.x))]


def with_layers(question: Question) -> Question:
    """The question with the layer named wherever a method would choose one itself, so that it can be told.

    Raises ConfigError if the network has no layer for the method.
    """
    target = as_target(question.asked[0].explained([0])[0][1])
    settled = []
    for method in question.methods:
        own = method.entry.parameters().get("layer")
        # A transformer's methods read all of its blocks, and `cam` the layer before the mean: nothing is chosen there.
        chooses = own is not None and own.default is None and method.entry.info.needs in ("maps", "relu")
        if chooses and method.params.get("layer") is None:
            check_layers(question.nets[method.net], target)
            layer = default_layer(question.nets[method.net], question.x[:1], target)
            settled.append(replace(method, params={**method.params, "layer": layer}))
        else:
            settled.append(method)
    return replace(question, methods=settled)


def random_copy(net: nn.Module, x: Tensor, seed: int) -> nn.Module:
    """A copy of the net with random weights in all its layers; x (B, C, H, W) are images that it takes."""
    copied = copy_of(net)
    modules = dict(copied.named_modules())
    for number, name in enumerate(layers_from_the_top(copied, x)):
        forget(modules[name], Draws(seed, torch.tensor([number])))
    return copied


def _of_one(question: Question, number: int, column: int, asked: Asked) -> Iterator[Panel]:
    method = question.methods[number]
    own = maps_of(question, method, question.nets[method.net], asked)
    kinds = {MAP: own}
    if question.random_nets:
        kinds[RANDOM_WEIGHTS] = maps_of(question, method, question.random_nets[method.net], asked)
        kinds[SHUFFLED] = [shuffled(heat, [question.seed, sample]) for sample, heat in enumerate(own)]
    for control, maps in kinds.items():
        for sample, heat in enumerate(maps):
            yield Panel(sample, column, number, control, heat)


def shuffled(heat: Tensor, seed: Sequence[int]) -> Tensor:
    """The map (C, H, W) with its places in random order: the same histogram, and nothing else in common."""
    order = np.random.default_rng(list(seed)).permutation(heat[0].numel())
    return heat.flatten(1)[:, torch.from_numpy(order)].reshape(heat.shape)


def _told(value: object) -> str:
    try:
        plain = as_json(value)
    except (TypeError, ConfigError):
        return getattr(value, "__name__", type(value).__name__)
    if isinstance(plain, bool):
        return "yes" if plain else "no"
    return f"{plain:g}" if isinstance(plain, float) else str(plain)

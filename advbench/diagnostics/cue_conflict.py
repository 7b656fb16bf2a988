"""Shape against texture: what a network names on pictures with the shape of one class and the texture of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from torch import Tensor, nn

from advbench.datasets.stimuli import Stimuli
from advbench.metrics.shape_bias import ShapeBias, group_probabilities, shape_bias
from advbench.models.predict import predict
from advbench.types import ConfigError


@dataclass(frozen=True, eq=False)
class Conflict:
    """chance (N, G): the network's probability of each class of the stimuli; its bias, over all and by shape class."""

    chance: Tensor
    whole: ShapeBias
    by_shape: pd.DataFrame  # index: shape class; columns shape, texture, neither, bias


def cue_conflict(model: nn.Module, stimuli: Stimuli, groups: Mapping[str, Sequence[int]] | None = None) -> Conflict:
    """The model's answers on the stimuli, among the stimuli's own classes.

    groups: for each of those classes the model's classes that it is made of, whose probabilities are averaged; None if
    the model's classes are the stimuli's, in their order. Raises ConfigError if they do not fit together.
    Geirhos et al. 2019, arXiv:1811.12231.
    """
    logits = predict(model, stimuli.images)
    lacking = [name for name in stimuli.names if groups is not None and name not in groups]
    if lacking:
        raise ConfigError(f"the groups of classes do not say what {lacking[0]!r} is made of")
    if groups is None and logits.shape[1] != len(stimuli.names):
        raise ConfigError(
            f"the model has {logits.shape[1]} classes and the stimuli {len(stimuli.names)}: groups must tell which"
        )
    parts = [[i] for i in range(len(stimuli.names))] if groups is None else [list(groups[n]) for n in stimuli.names]
    try:
        chance = group_probabilities(logits, parts)
    except ValueError as error:
        raise ConfigError(f"the groups do not fit the model: {error}") from None
    decision = chance.argmax(1)
    rows = {}
    for index, name in enumerate(stimuli.names):
        of_shape = stimuli.shape == index
        part = shape_bias(decision[of_shape], stimuli.shape[of_shape], stimuli.texture[of_shape])
        rows[name] = [part.shape, part.texture, part.neither, part.bias.value]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["shape", "texture", "neither", "bias"])
    return Conflict(chance, shape_bias(decision, stimuli.shape, stimuli.texture), table)

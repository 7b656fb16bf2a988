"""The kinds of registered things, by the names that `list` and `show` take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import cast

from advbench.names import nearest
from advbench.registry import (
    ATTACKS,
    ATTRIBUTIONS,
    CONTROLS,
    DATASETS,
    DEFENSES,
    MODELS,
    SYNTHESES,
    AttackInfo,
    AttributionInfo,
    DatasetInfo,
    DefenseInfo,
    Entry,
    ModelInfo,
    Registry,
    SynthesisInfo,
)
from advbench.types import ConfigError, Json, norm_name

Known = (
    Entry[AttackInfo]
    | Entry[AttributionInfo]
    | Entry[DefenseInfo]
    | Entry[ModelInfo]
    | Entry[DatasetInfo]
    | Entry[SynthesisInfo]
)

KINDS: Mapping[
    str,
    Registry[AttackInfo]
    | Registry[AttributionInfo]
    | Registry[DefenseInfo]
    | Registry[ModelInfo]
    | Registry[DatasetInfo]
    | Registry[SynthesisInfo],
] = {
    "attacks": ATTACKS,
    "controls": CONTROLS,
    "defenses": DEFENSES,
    "models": MODELS,
    "datasets": DATASETS,
    "attributions": ATTRIBUTIONS,
    "syntheses": SYNTHESES,
}


def kind_of(text: str) -> str:
    """The kind that `text` names, in singular or plural. Raises ConfigError on another word."""
    for kind, registry in KINDS.items():
        if text in (kind, registry.kind):
            return kind
    raise ConfigError(f"no kind {text!r}; {nearest(text, list(KINDS))}Kinds: {', '.join(KINDS)}")


def facts(entry: Known) -> dict[str, Json]:
    """What is known about an entry, as JSON: name, capabilities, paper, summary."""
    return {"name": entry.name, **_capabilities(entry), "summary": entry.summary}


def _capabilities(entry: Known) -> dict[str, Json]:
    info = entry.info
    if isinstance(info, AttackInfo):
        return {
            "norms": [norm_name(norm) for norm in info.norms],
            "access": info.access,
            "targeted": entry.takes("targeted"),
            "minimum_norm": info.minimum_norm,
            "cost": None if info.cost is None else f"{info.cost[0]} + {info.cost[1]}",
            "paper": info.paper,
        }
    return cast("dict[str, Json]", asdict(info))

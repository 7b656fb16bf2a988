"""What keys say of the code behind registered names: nothing of ours in its first revision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from advbench.registry import ATTACKS, AttackInfo, Entry
from advbench.types import Json

Info = TypeVar("Info")


def own_code(entry: Entry[Info]) -> dict[str, Json]:
    """The digest of a third party's code; nothing of ours."""
    return {"code": entry.code} if entry.code else {}


def attack_code(entry: Entry[AttackInfo], norm: float) -> dict[str, Json]:
    """The same, and the revision of the attack or control in this norm."""
    revision = entry.info.revisions.get(norm, 1)
    return own_code(entry) | ({} if revision == 1 else {"revision": revision})


def in_key(params: Mapping[str, Json], norm: float) -> dict[str, Json]:
    """An attack's parameters as they enter a key: of files only what they hold, of inner attacks their code as well."""
    return {name: _parameter(value, norm) for name, value in params.items()}


def _parameter(value: Json, norm: float) -> Json:
    match value:
        case {"name": str(name), "params": Mapping() as params, **others} if not others:
            return {"name": name, "params": in_key(params, norm), **attack_code(ATTACKS[name], norm)}
    return _without_paths(value)


def _without_paths(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {name: _without_paths(inner) for name, inner in value.items() if name != "path" or "sha256" not in value}
    return value

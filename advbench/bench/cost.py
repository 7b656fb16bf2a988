"""What a job costs at most, in passes through a model: the declared cost, scaled by the parameters."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, prod

from advbench.bench.jobs import Job
from advbench.registry import ATTACKS, CONTROLS, AttackInfo, Entry
from advbench.types import Json

# Whole-number parameters that multiply the work, by the names that attacks and controls give them.
FACTORS = (
    *("steps", "iterations", "restarts", "searches", "queries", "samples", "views", "copies", "scales", "mixes"),
    *("neighbours", "target_classes", "tries", "population", "generations", "child_steps", "populations"),
    "persistence",
)
# Attacks with one of these are made of parts: fewer steps make some of them shorter, and not the whole.
PARTS = ("generations", "populations")


def passes(job: Job) -> int:
    """Forward plus backward passes of single samples that the job takes at most, its training not counted."""
    registry = ATTACKS if job.kind == "attack" else CONTROLS
    entry = registry[job.attack.name]
    radii = 1 if job.threat.eps is None or entry.info.minimum_norm else len(job.threat.eps)
    each = _per_sample(entry, job.attack.params)
    return job.count * radii * (each if job.budget is None else min(each, job.budget))


def _per_sample(entry: Entry[AttackInfo], params: Mapping[str, Json]) -> int:
    inner = params.get("via")
    if isinstance(inner, Mapping):  # made by another attack, then judged once
        arguments = inner["params"]
        assert isinstance(arguments, Mapping)
        return _per_sample(ATTACKS[str(inner["name"])], arguments) + 1
    if entry.info.cost is None:  # nothing declared: what the parameters multiply to
        return prod(_count(params.get(name)) for name in FACTORS) * (2 if entry.info.access == "gradient" else 1)
    usual = {name: parameter.default for name, parameter in entry.parameters().items()}
    scales = [_count(params.get(name)) / _count(usual.get(name)) for name in FACTORS if name in params]
    if any(name in usual for name in PARTS):
        scales = [max(1.0, scale) for scale in scales]
    return ceil(sum(entry.info.cost) * prod(scales))


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 1

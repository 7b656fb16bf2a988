"""What a job costs at most, in passes through a model, read off its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from advbench.bench.jobs import Job
from advbench.registry import ATTACKS, CONTROLS, AttackInfo, Entry
from advbench.types import Json

# Whole-number parameters that multiply the work, by the names that attacks and controls give them.
FACTORS = ("steps", "iterations", "restarts", "search_steps", "queries", "samples", "points", "trials", "tries")


def passes(job: Job) -> int:
    """Forward plus backward passes of single samples that the job takes at most, its training not counted."""
    registry = ATTACKS if job.kind == "attack" else CONTROLS
    radii = 1 if job.threat.eps is None else len(job.threat.eps)
    return job.count * radii * _per_sample(registry[job.attack.name], job.attack.params)


def _per_sample(entry: Entry[AttackInfo], params: Mapping[str, Json]) -> int:
    inner = params.get("via")
    if isinstance(inner, Mapping):  # made on a substitute by another attack, then judged once
        arguments = inner["params"]
        assert isinstance(arguments, Mapping)
        return _per_sample(ATTACKS[str(inner["name"])], arguments) + 1
    factors = [value for name in FACTORS if isinstance(value := params.get(name), int) and value > 0]
    return prod(factors) * (2 if entry.info.access == "gradient" else 1)

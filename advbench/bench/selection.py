"""Which cells of a plan a run is about: `--only 'model=*cnn*,attack=pgd*'`."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from advbench.bench.jobs import Job
from advbench.names import nearest
from advbench.types import ConfigError

KEYS = ("model", "defense", "attack", "goal", "norm", "kind")


def select_jobs(jobs: Sequence[Job], expression: str | None) -> list[Job]:
    """The jobs whose shown names match every `key=pattern` (with *, ? and [...]) of the comma-separated expression.

    Several patterns for one key are alternatives. Raises ConfigError on an expression that is none.
    """
    patterns: dict[str, list[str]] = {}
    for part in (expression or "").split(",") if expression else ():
        key, equals, pattern = part.partition("=")
        key = key.strip()
        if not equals or not pattern.strip():
            raise ConfigError(f"--only: expected key=pattern, got {part!r}; for example model=*cnn*,attack=pgd*")
        if key not in KEYS:
            raise ConfigError(f"--only: no key {key!r}; {nearest(key, list(KEYS))}keys: {', '.join(KEYS)}")
        patterns.setdefault(key, []).append(pattern.strip())
    return [job for job in jobs if all(_matches(job, key, wanted) for key, wanted in patterns.items())]


def _matches(job: Job, key: str, patterns: Sequence[str]) -> bool:
    shown = job.kind if key == "kind" else job.labels[key]
    return any(fnmatchcase(shown, pattern) for pattern in patterns)

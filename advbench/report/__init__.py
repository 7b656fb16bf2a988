"""Stored results -> one HTML page: reader, tables, figures, pictures, template.

Everything is derived from the files of result folders; no model is loaded and nothing is run. Not here: judging,
choosing samples, computing attributions (all stored by bench).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType


class _Room(ModuleType):
    """Importing this room puts it where `advbench.report`, the function, was: it can be called like it."""

    def __call__(self, results: Path | str | Sequence[Path | str], out: Path | str) -> Path:
        from advbench.report.render import report

        return report(results, out)


sys.modules[__name__].__class__ = _Room

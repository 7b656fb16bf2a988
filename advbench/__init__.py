"""advbench: how robust is an image classifier, and how sure can we be of the number?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from advbench.attributions.explain import explain as explain
    from advbench.bench.evaluate import evaluate as evaluate
    from advbench.bench.runner import run as run
    from advbench.datasets.load import load_samples as load_samples
    from advbench.models.load import load_model as load_model
    from advbench.report.render import report as report
    from advbench.synthesis.picture import picture as picture
    from advbench.types import Outcomes as Outcomes
    from advbench.types import ThreatModel as ThreatModel

# Names are resolved on first use, so that `import advbench` and `advbench --help` do not load torch.
_HOMES = {
    "Outcomes": "advbench.types",
    "ThreatModel": "advbench.types",
    "evaluate": "advbench.bench.evaluate",
    "explain": "advbench.attributions.explain",
    "load_model": "advbench.models.load",
    "load_samples": "advbench.datasets.load",
    "picture": "advbench.synthesis.picture",
    "report": "advbench.report.render",
    "run": "advbench.bench.runner",
}
__all__ = [
    "Outcomes",
    "ThreatModel",
    "evaluate",
    "explain",
    "load_model",
    "load_samples",
    "picture",
    "report",
    "run",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'advbench' has no attribute {name!r}; it has: {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__

"""docs/attacks.md says what the registry says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from advbench.registry import ATTACKS

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_what_the_registry_gives() -> None:
    spec = importlib.util.spec_from_file_location("catalogue", DOCS / "catalogue.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (DOCS / "attacks.md").read_text()
    assert text == module.catalogue(), "run `make docs`"
    assert all(f"| `{entry.name}` |" in text for entry in ATTACKS if entry.function.__module__.startswith("advbench."))

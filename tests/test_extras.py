"""The extra that a message tells to install is one that the project has."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from advbench import registry


def test_every_extra_that_is_named_exists() -> None:
    package = Path(registry.__file__).parent
    project = tomllib.loads((package.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {
        match[1]: path.name
        for path in package.rglob("*.py")
        for match in re.finditer(r'import_extra\("\w+", "(\w+)"\)', path.read_text(encoding="utf-8"))
    }
    assert {"ray", "timm"} <= named.keys()
    assert named.keys() <= project["optional-dependencies"].keys()

"""The names that `import advbench` promises."""

from __future__ import annotations

import subprocess
import sys
from math import inf
from pathlib import Path

import pytest

import advbench as ab
from advbench.types import ConfigError


def test_every_public_name_resolves() -> None:
    assert all(getattr(ab, name) is not None for name in ab.__all__)
    assert set(dir(ab)) == set(ab.__all__)


def test_another_name_is_an_error_that_lists_them() -> None:
    with pytest.raises(AttributeError, match=r"it has: .*evaluate"):
        _ = ab.evalute  # type: ignore[attr-defined]


def test_every_function_can_be_called_again_and_again(tmp_path: Path) -> None:
    """A room of the package is named like a function: importing the room must not hide it."""
    for _ in range(2):
        assert all(callable(getattr(ab, name)) for name in ab.__all__)
        with pytest.raises(ConfigError, match=r"there is no matrix\.json"):
            ab.report(str(tmp_path), tmp_path / "page.html")


def test_importing_is_cheap() -> None:
    script = "import sys, advbench; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


def test_the_example_of_the_readme() -> None:
    model = ab.load_model("linear", dataset="digits")
    x, y = ab.load_samples("digits", count=16)
    rows = ab.evaluate(model, x, y, attack="pgd", threat=ab.ThreatModel(norm=inf, eps=0.3), steps=5)
    assert rows.x_adv is not None
    assert rows.x_adv.shape == x.shape
    assert rows.fooled.shape == y.shape
    assert bool(((rows.x_adv - x).abs() <= 0.3 + 1e-6).all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"matrix": None}, "matrix must be a file, got None"),
        ({"results": 3}, "results must be a file, got 3"),
        ({"only": 3}, "only must be a word or None, got 3"),
        ({"workers": "2"}, "workers must be a whole number of at least 1, got '2'"),
        ({"device": "gpu"}, "no device 'gpu' here; there are: cpu, auto"),
    ],
)
def test_a_run_refuses_what_is_no_file_or_number(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ab.run(**({"matrix": "m.yaml"} | arguments))  # type: ignore[arg-type]

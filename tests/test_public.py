"""The names that `import advbench` promises."""

from __future__ import annotations

import subprocess
import sys
from math import inf

import pytest

import advbench as ab


def test_every_public_name_resolves() -> None:
    assert all(getattr(ab, name) is not None for name in ab.__all__)
    assert set(dir(ab)) == set(ab.__all__)


def test_another_name_is_an_error_that_lists_them() -> None:
    with pytest.raises(AttributeError, match=r"it has: .*evaluate"):
        _ = ab.evalute  # type: ignore[attr-defined]


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

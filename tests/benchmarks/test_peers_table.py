"""docs/peers.md: who counts as weaker, and what the page says."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.peers.table import gap, write_table

NAMES = {
    "net": "net",
    "attack": "a",
    "params": "",
    "norm": "l2",
    "n": 200,
    "seed": 0,
    "forwards": 2.0,
    "backwards": 1.0,
}


def duel(eps: str, **values: float) -> pd.DataFrame:
    rows = [
        {**NAMES, "eps": eps, "library": library, "robust": value, "median": value, "seconds": 1.0, "error": ""}
        for library, value in values.items()
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("eps", "ours", "theirs", "expected"),
    [
        ("0.1", 50.0, 50.0, 0.0),
        ("0.1", 50.2, 50.0, 1.0),
        ("0.1", 51.0, 50.0, 5.0),
        ("0.1", 40.0, 50.0, 0.0),
        ("", 1.02, 1.0, 2.0),
        ("", math.inf, 1.0, math.inf),
    ],
)
def test_the_gap_is_in_units_of_what_is_allowed(eps: str, ours: float, theirs: float, expected: float) -> None:
    assert gap(duel(eps, advbench=ours, peer=theirs, worse=math.inf)) == pytest.approx(expected)


def test_where_nobody_breaks_the_half_robust_accuracy_decides() -> None:
    rows = duel("", advbench=80.0, peer=70.0).assign(median=math.inf)
    assert gap(rows) == pytest.approx(50.0)


def test_without_a_rival_there_is_no_gap() -> None:
    assert math.isnan(gap(duel("0.1", advbench=1.0)))


def test_the_page_names_the_lost_duel(tmp_path: Path) -> None:
    rows = pd.concat([duel("", advbench=1.05, peer=1.0), duel("0.1", advbench=1.0, peer=1.0)])
    write_table(rows, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "| net | 2 | 1 | `a` l2 by 5.0% |" in text
    assert "| `a` | l2 | nearest | peer | 1.0 | 1 | 2 + 1 | 1.0 | 200 |" in text


def test_seeds_are_averaged(tmp_path: Path) -> None:
    """Ours is weaker with one seed, stronger with the other, and equal on average."""
    rows = pd.concat([
        duel("0.1", advbench=51.0, peer=50.0),
        duel("0.1", advbench=51.0, peer=52.0).assign(seed=1),
    ])  # fmt: skip
    write_table(rows, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "| net | 1 | 1 |  |" in text
    assert "| `a` | l2 | 0.1 | peer | 51.0 | 51 | 2 + 1 | 1.0 | 200 x 2 |" in text


def test_a_rival_that_raised_is_told(tmp_path: Path) -> None:
    failed = duel("0.1", peer=0.0).assign(robust="", median="", forwards="", backwards="", seconds="", error="no norm")
    write_table(pd.concat([duel("0.1", advbench=1.0), failed]), tmp_path / "page.md")
    assert "| `a` | l2 | 0.1 | peer | no norm |" in (tmp_path / "page.md").read_text()

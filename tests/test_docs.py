"""What the documents show as code runs."""

from __future__ import annotations

import re
from pathlib import Path

import advbench as ab
from advbench.registry import ATTACKS
from advbench.testing import check_attack

README = Path(__file__).resolve().parents[1] / "README.md"
ADDING = Path(__file__).resolve().parents[1] / "docs" / "adding.md"


def test_the_targets_of_the_readme_are_targets_of_its_model() -> None:
    (said,) = re.findall(r"y may be (.*)", README.read_text(encoding="utf-8"))
    targets = re.findall(r'"(.+?)"', said)
    assert len(targets) == 2
    model = ab.load_model("small_cnn", dataset="digits")
    x, _ = ab.load_samples("digits", count=4)
    for target in targets:
        assert ab.explain("grad_cam", model, x, target).abs().sum() > 0


def test_the_attack_of_the_guide_passes_the_laws() -> None:
    code = re.search(r"```python\n(.*?)```", ADDING.read_text(), re.S)
    assert code is not None
    names: dict[str, object] = {"__name__": "guide"}
    ATTACKS.load()  # what is put back at the end must be whole
    known = dict(ATTACKS._entries)
    try:
        exec(compile(code[1], str(ADDING), "exec"), names)
        entry = ATTACKS["my_attack"]
        check_attack(entry.function, info=entry.info)
    finally:
        ATTACKS._entries.clear()
        ATTACKS._entries.update(known)

"""The picture of an attack: every sample is there in its three pictures, and the text names the cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from advbench.bench.grid import AMPLIFIED, _heading, _pictures, write_grid
from advbench.store import write_json, write_tensors

ROW = {"eps": "0.1", "n": 40, "robust_accuracy": 0.25, "ci_low": 0.1419, "ci_high": 0.4019}
RECORD = {
    "labels": {"model": "net", "defense": "none", "attack": "pgd", "goal": "untargeted", "norm": "linf"},
    "summary": [{**ROW, "eps": "0.05"}, ROW],
    "classes": ["cat\n", "$\\frac{dog}$"],
}


def gallery(count: int) -> dict[str, torch.Tensor]:
    x = torch.zeros(count, 3, 8, 12)
    x[:, 0] = 1.0  # red
    x_adv = x.clone()
    x_adv[:, 0], x_adv[:, 2] = 0.0, 1.0  # blue
    return {
        "x": x,
        "x_adv": x_adv,
        "group": torch.zeros(count, dtype=torch.int64),
        "sample_id": torch.arange(count),
        "probabilities_clean": torch.tensor([[0.9, 0.1]]).expand(count, 2).contiguous(),
        "probabilities_adv": torch.tensor([[0.2, 0.8]]).expand(count, 2).contiguous(),
    }


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_every_sample_is_drawn_before_and_after_in_its_own_proportions(count: int, tmp_path: Path) -> None:
    write_json(tmp_path / "cell.json", RECORD)  # type: ignore[arg-type]
    write_tensors(tmp_path / "gallery.safetensors", gallery(count))
    assert write_grid(tmp_path, tmp_path / "grid.png") == count
    with Image.open(tmp_path / "grid.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    across = 3 if count <= 3 else 6
    side = (7.2 * 150) / across  # less the gaps
    for colour in ((255, 0, 0), (0, 0, 255)):
        area = (np.abs(pixels - colour).max(-1) < 6).sum()
        # The difference is cut at 0 in red and at 1 in blue, so it is (0, 127, 255): neither colour.
        assert area == pytest.approx(0.82 * count * side**2 * 8 / 12, rel=0.12)
    assert (pixels[:, -6:] == 255).all()
    assert (pixels[-6:] == 255).all()


def test_no_sample_is_no_picture(tmp_path: Path) -> None:
    write_json(tmp_path / "cell.json", RECORD)  # type: ignore[arg-type]
    write_tensors(tmp_path / "gallery.safetensors", gallery(0))
    assert write_grid(tmp_path, tmp_path / "grid.png") == 0
    assert not (tmp_path / "grid.png").exists()


def test_titles_tell_guess_and_lengths() -> None:
    shown = gallery(1)
    shown["x_adv"] = shown["x"].clone()
    shown["x_adv"][0, 0, 0, 0] -= 0.5
    (x, first, _), (_, second, colour), (change, third, _) = _pictures(shown, 0, RECORD["classes"])  # type: ignore[arg-type]
    assert first == "sample 0\ncat?, 90%"
    assert second == "x_adv\n$\\frac{dog}$, 80%"
    assert third == "fooled, easiest\nl2 0.5, linf 0.5"
    assert colour != "#1b1f24"
    assert float(change[0, 0, 0]) == max(0.0, 0.5 - AMPLIFIED * 0.5)
    assert torch.equal(x, shown["x"][0])


def test_the_heading_speaks_about_the_largest_radius() -> None:
    text = _heading(RECORD)
    assert text.startswith(
        "net, none, against pgd: linf, eps 0.1; of 40 samples 25.0 % hold (95 % interval 14.2 to 40.2)"
    )
    assert "goal" not in text
    aimed = {**RECORD, "labels": {**RECORD["labels"], "goal": "next"}}  # type: ignore[dict-item]
    assert "against pgd next: linf, eps 0.1; of 40" in _heading(aimed)
    assert "Held: the goal was not met." in _heading(aimed)


def test_without_a_radius_the_heading_speaks_about_the_distance_and_not_about_a_share() -> None:
    nearest = {"eps": None, "median_distance": 0.4375, "median_low": 0.25, "median_high": 0.5}
    found = _heading({**RECORD, "summary": [{**ROW, **nearest, "robust_accuracy": 0.0}]})
    assert "linf, nearest example; over 40 samples the median distance (95 % interval) is 0.4375 (0.25 to 0.5)" in found
    assert "hold" not in found
    assert "0 %" not in found
    nowhere = {"eps": None, "median_distance": None, "median_low": 0.25, "median_high": None, "robust_accuracy": 0.6}
    assert "is not reached (0.25 or more), with clean errors at 0; 24 held at any distance." in _heading(
        {**RECORD, "summary": [{**ROW, **nowhere}]}
    )
    none_apply = {"eps": None, "n": 0, "median_distance": None, "robust_accuracy": None}
    assert "nearest example; it applies to no sample." in _heading({**RECORD, "summary": [{**ROW, **none_apply}]})

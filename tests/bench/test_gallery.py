"""The gallery is chosen by its rule alone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.bench.gallery import EACH, choose
from advbench.bench.runner import run
from advbench.store import read_table, read_tensors
from tests.bench.tiny_matrix import write_matrix

margins = st.integers(-5, 5).map(float)
samples = st.tuples(st.sampled_from(["fooled", "held", "clean_error", "invalid"]), margins, margins)


def table_of(cells: list[tuple[str, float, float]]) -> pd.DataFrame:
    table = pd.DataFrame(cells, columns=["status", "margin_clean", "margin_adv"])
    return pd.concat([table.assign(sample_id=range(len(table)), eps=eps) for eps in (0.1, 0.2)], ignore_index=True)


@given(st.lists(samples, min_size=1, max_size=25))
def test_groups_are_disjoint_in_order_and_at_the_largest_eps(cells: list[tuple[str, float, float]]) -> None:
    table = table_of(cells)
    groups = choose(table)
    chosen = [row for rows in groups.values() for row in rows]
    assert len(set(chosen)) == len(chosen)
    assert all(len(rows) <= EACH for rows in groups.values())
    assert (table.loc[chosen, "eps"] == 0.2).all()
    fooled = table[(table["status"] == "fooled") & (table["eps"] == 0.2)]
    assert sum(len(groups[k]) for k in (0, 1, 2)) == min(3 * EACH, len(fooled))
    easy, median, hard = (table.loc[groups[k], "margin_clean"].tolist() for k in (0, 1, 2))
    assert easy + median + hard == sorted(easy + median + hard)
    assert (fooled["margin_clean"] < max(easy, default=-9)).sum() < EACH
    held = table.loc[groups[3]]
    assert held["status"].eq("held").all()
    assert held["margin_adv"].is_monotonic_increasing


def test_ties_go_by_sample_id() -> None:
    groups = choose(table_of([("fooled", 1.0, -1.0)] * 12))
    assert groups == {0: [12, 13, 14], 1: [16, 17, 18], 2: [21, 22, 23], 3: []}


def test_stored_gallery_fits_its_rows(tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path, attacks=[{"pgd": {"steps": 5}}], explain=["saliency"])
    assert run(matrix, results=tmp_path, device="cpu", chunk=7).exit_code == 0
    (cell,) = (path.parent for path in tmp_path.glob("m/*/cell.json"))
    shown, table = read_tensors(cell / "gallery.safetensors"), read_table(cell / "samples.parquet")
    rows = table.iloc[shown["row"].numpy()]
    assert rows["sample_id"].tolist() == shown["sample_id"].tolist()
    assert shown["probabilities_adv"].argmax(1).tolist() == rows["adv_pred"].tolist()
    assert shown["probabilities_clean"].argmax(1).tolist() == rows["label"].tolist()
    distance = (shown["x_adv"] - shown["x"]).abs().flatten(1).amax(1)
    assert torch.allclose(distance.double(), torch.tensor(rows["linf"].to_numpy()), atol=1e-6)
    assert shown["trajectory"].shape[0] == len(rows)
    assert shown["saliency_clean"].shape[0] == shown["saliency_adv"].shape[0] == len(rows)


def test_nothing_to_show_is_an_empty_gallery(tmp_path: Path) -> None:
    """A model that is wrong everywhere: no sample is attacked, and the cell is done all the same."""
    (tmp_path / "wrong.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Wrong(nn.Module):\n"
        "    def forward(self, x): return x.flatten(1)[:, :10] * 0 + torch.eye(10)[9] * 5 - torch.eye(10)[0]\n"
        "def make(): return Wrong()\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        data = {"name": "digits", "count": 1}
        matrix = write_matrix(tmp_path, models=["python:wrong:make"], data=data, explain=["saliency"])
        tally = run(matrix, results=tmp_path, device="cpu", allow_code=True)
    assert tally.exit_code == 0, tally.failed
    assert all(cell.summary[0]["robust_accuracy"] == 0 for cell in tally.cells)
    assert [len(read_tensors(path)["x"]) for path in tmp_path.glob("m/*/gallery.safetensors")] == [0, 0]

"""The row per eps against numbers counted by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from advbench.bench.summary import COLUMNS, blank, summarise

LABELS = {"model": "m", "defense": "none", "attack": "pgd", "goal": "untargeted", "norm": "linf"}


def rows() -> pd.DataFrame:
    """Five samples at 8/255: held, fooled at 0.02 and at 0.03, wrong at x, and one the attack does not apply to."""
    return pd.DataFrame(
        {
            "sample_id": range(5),
            "eps": 8 / 255,
            "label": 0,
            "adv_pred": [0, 1, 1, 2, 0],
            "clean_correct": [True, True, True, False, True],
            "fooled": [False, True, True, True, False],
            "in_ball": True,
            "in_box": True,
            "linf": [0.01, 0.02, 0.03, 0.0, 0.0],
            "forwards": [10, 4, 6, 0, 0],
            "backwards": [10, 4, 6, 0, 0],
            "queries": 0,
            "evidence": "run",
            "status": ["held", "fooled", "fooled", "clean_error", "not_applicable"],
        }
    )


def test_by_hand() -> None:
    (row,) = summarise(rows(), labels=LABELS, eps=["8/255"], seconds=1.5)
    assert tuple(row) == COLUMNS
    assert (row["n"], row["clean_accuracy"], row["robust_accuracy"]) == (4, 0.75, 0.25)
    # Wilson: centre (p + z^2 / 2n) / (1 + z^2 / n), half width z sqrt(p (1 - p) / n + z^2 / 4 n^2) / (1 + z^2 / n)
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(0.0456, abs=1e-4), pytest.approx(0.6994, abs=1e-4))
    assert row["median_distance"] == pytest.approx(0.025)
    assert (row["median_low"], row["median_high"]) == (0.0, None)  # four samples bound no median
    assert (row["forwards"], row["seconds"], row["status"]) == (5.0, 1.5, "done")


def test_nothing_lost_has_no_distance_and_no_samples_no_accuracy() -> None:
    held = rows().iloc[:1]
    assert summarise(held, labels=LABELS, eps=["8/255"], seconds=0)[0]["median_distance"] is None
    (row,) = summarise(rows().iloc[4:], labels=LABELS, eps=["8/255"], seconds=0)
    assert (row["n"], row["robust_accuracy"], row["clean_accuracy"]) == (0, None, None)


def test_a_minimum_norm_attack_has_one_row_without_eps() -> None:
    (row,) = summarise(rows().assign(eps=math.nan), labels=LABELS, eps=None, seconds=0)
    assert (row["eps"], row["n"]) == (None, 4)


def test_blank_rows_have_every_column() -> None:
    assert [tuple(row) for row in blank(LABELS, ["0.1", "0.2"], "failed")] == [COLUMNS, COLUMNS]

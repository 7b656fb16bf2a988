"""Results outside of the ball or the box, counted by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from advbench.metrics.invalid import invalid


def rows() -> pd.DataFrame:
    """Held; outside the ball by 0.2 and by 0.4; outside the box; fooled."""
    return pd.DataFrame(
        {
            "status": ["held", "invalid", "invalid", "invalid", "fooled"],
            "in_ball": [True, False, False, True, True],
            "in_box": [True, True, True, False, True],
            "l2": [0.1, 0.3, 0.5, 0.1, 0.1],
            "eps": 0.1,
        }
    )


def test_by_hand() -> None:
    found = invalid(rows(), 2.0)
    assert found is not None
    assert found[:4] == (5, 3, 2, 1)
    assert found.excess == pytest.approx(0.4)
    assert str(found) == (
        "3 of 5 results are invalid and count as held: 2 outside the ball (by up to 0.4 in l2), 1 outside the box"
    )


def test_a_point_that_is_not_finite_has_no_excess() -> None:
    """Its distances are those of x, which stands in its place."""
    table = rows().iloc[1:2].assign(in_box=False, l2=0.0)
    assert str(invalid(table, 2.0)) == (
        "1 of 1 results are invalid and count as held: 1 outside the ball, 1 outside the box"
    )
    assert str(invalid(table.assign(eps=math.nan), 2.0)).endswith("1 outside the ball, 1 outside the box")


def test_nothing_invalid_is_nothing_to_say() -> None:
    assert invalid(rows().iloc[[0, 4]], 2.0) is None

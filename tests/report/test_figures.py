"""Ticks that can be read and lines that can be told apart."""

from __future__ import annotations

import base64
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbench.report.figures import (
    DARK,
    LETTER,
    LIGHT,
    Line,
    Scheme,
    _budget_curves,
    _style,
    budget_curves,
    decade_ticks,
    swatch,
    tick_texts,
)


@given(st.floats(1.0, 1e12))
def test_decades_are_few_rise_from_0_and_1_and_stay_on_the_axis(right: float) -> None:
    ticks = decade_ticks(right)
    positions, texts = zip(*ticks, strict=True)
    assert positions[:2] == (0.0, 1.0)
    assert texts[:2] == ("0", "1")
    assert list(positions) == sorted(positions)
    assert positions[-1] <= right * (1 + 1e-6)
    assert len(ticks) <= 7
    assert max(map(len, texts)) <= 4


def test_thousands_are_short() -> None:
    assert [text for _, text in decade_ticks(1e5)] == ["0", "1", "10", "100", "1k", "10k", "100k"]
    assert [text for _, text in decade_ticks(2e6)] == ["0", "1", "100", "10k", "1M"]


@pytest.mark.parametrize("right", [3, 10, 240, 1000, 99_999, 10**5, 10**7, 3 * 10**8])
@pytest.mark.parametrize("many", [False, True])
def test_drawn_texts_of_the_budget_axis_do_not_touch(right: int, many: bool) -> None:
    figure = _budget_curves([Line("attack", 0, steps=((0.0, 0.9), (float(right), 0.1)))], right, (0.1, many), LIGHT)
    figure.canvas.draw()
    width = figure.get_window_extent().width
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels() if label.get_text()]
    assert all(left.x1 + 2 < after.x0 for left, after in pairwise(boxes))
    assert boxes[0].x0 >= 0
    assert boxes[-1].x1 <= width


@given(st.lists(st.integers(1, 64), min_size=1, max_size=12, unique=True).map(sorted))
def test_texts_of_radii_do_not_touch_and_the_last_is_there(radii: list[int]) -> None:
    grid, texts = [radius / 255 for radius in radii], [f"{radius}/255" for radius in radii]
    ticks = tick_texts(grid, texts)
    assert ticks[0] == (0.0, "0")
    assert ticks[-1] == (grid[-1], texts[-1])
    for (left, before), (right, after) in pairwise(ticks):
        assert (right - left) / grid[-1] >= LETTER * (len(before) + len(after)) / 2


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_no_two_of_twenty_attacks_look_alike_and_controls_are_dashed(scheme: Scheme) -> None:
    lines = [(kind, order) for kind in ("attack", "distance") for order in range(20)]
    lines += [("control", order) for order in range(3)] + [("worst", 0)]
    looks = [str(_style(kind, order, scheme)) for kind, order in lines]
    assert len(set(looks)) == len(looks)
    # On a step curve markers are far apart: colour and dashes alone must do.
    assert len({str(_style("attack", order, scheme)[:2]) for order in range(20)}) == 20
    assert len({str(_style("distance", order, scheme)[:2]) for order in range(20)}) == 20
    assert all(_style("control", order, scheme)[1] != "-" for order in range(9))
    assert all(_style("attack", order, scheme)[1] == "-" for order in range(9))


def test_a_figure_is_the_same_bytes_twice_and_differs_by_theme() -> None:
    lines = [Line("attack", 0, steps=((0.0, 0.9), (10.0, 0.1))), Line("control", 0, steps=((0.0, 0.9), (10.0, 0.8)))]
    first, second = (budget_curves(lines, right=100, chance=0.1) for _ in range(2))
    assert first == second
    assert first.light != first.dark
    assert b"<svg" in base64.b64decode(swatch("control", 1).light.partition(",")[2])

"""Images and figures: lossless, on one scale, the same bytes each time."""

from __future__ import annotations

import base64
import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from advbench.metrics.rates import wilson
from advbench.report.figures import Line, curves, tick_texts
from advbench.report.pictures import difference, map_pair, picture


def pixels(uri: str) -> np.ndarray:
    kind, content = uri.split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


@given(arrays(np.uint8, (3, 5, 4)))
def test_pixels_survive_unchanged(image: np.ndarray) -> None:
    assert (pixels(picture((image / 255).astype(np.float32))) == image.transpose(1, 2, 0)).all()


@given(arrays(np.float32, (1, 4, 4), elements=st.floats(0, 1, width=32)))
def test_no_difference_is_mid_grey(x: np.ndarray) -> None:
    assert (pixels(difference(x, x)) == 128).all()


def test_a_difference_is_shown_ten_times_as_large() -> None:
    x = np.full((1, 1, 2), 0.5, dtype=np.float32)
    x_adv = x + np.array([[[0.02, -0.03]]], dtype=np.float32)
    assert pixels(difference(x, x_adv)).tolist() == [[178, 51]]


def test_a_pair_of_maps_has_one_scale() -> None:
    weak, strong = np.full((1, 2, 2), 0.1, dtype=np.float32), np.full((1, 2, 2), 1.0, dtype=np.float32)
    first, second = map_pair(weak, strong)
    assert first != second
    assert map_pair(strong, weak) == (second, first)


def test_a_blank_or_broken_map_is_still_an_image() -> None:
    blank = np.zeros((3, 2, 2), dtype=np.float32)
    assert pixels(map_pair(blank, np.full_like(blank, np.nan))[1]).shape == (2, 2, 3)


def test_figures_have_the_same_bytes_each_time() -> None:
    line = Line("attack", 0, points=((0.0, wilson(90, 100)), (0.3, wilson(10, 100))))
    first, second = (curves([line], ticks=[(0, "0"), (0.3, "0.3")], chance=0.1, axis="eps") for _ in range(2))
    assert first == second
    assert first.light != first.dark


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=12, unique=True))
def test_ticks_never_touch_and_the_largest_eps_is_always_named(grid: list[float]) -> None:
    grid = sorted(grid)
    ticks = tick_texts(grid, [str(eps) for eps in grid])
    gaps = np.diff([position for position, _ in ticks])
    assert ticks[-1] == (grid[-1], str(grid[-1]))
    assert (gaps >= 0.11 * grid[-1] - 1e-12).all()

"""Sheets of heat maps: every tile is in the picture, text stays text, and the file says what it shows."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from advbench.report.heat_sheet import HeatSheet, Tile, _lines, _placed, _without_repeats, _wrapped, write_heat_sheet
from advbench.report.map_drawing import Array, Scale

RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
HOSTILE = "$\\frac{1}{0}$ <b>\u202eevil\x00 ^_{} \U0001f600 %s {x}"


def plain(colour: tuple[float, float, float], side: int = 8) -> Array:
    return np.broadcast_to(np.array(colour, np.float32), (side, side, 3))


def drawn(
    path: Path, *blocks: list[Tile], columns: int = 6, caption: str = "caption", description: str = "d"
) -> Image.Image:
    write_heat_sheet(path, HeatSheet(blocks, caption, description, columns, {"Seed": "7"}))
    return Image.open(path)


def area(picture: Image.Image, colour: tuple[float, float, float]) -> float:
    """Square inches of the colour."""
    pixels = np.asarray(picture.convert("RGB"), dtype=int)
    return float((np.abs(pixels - 255 * np.array(colour)).max(-1) < 6).sum()) / 150**2


def test_all_tiles_have_one_size_wherever_they_stand(tmp_path: Path) -> None:
    picture = drawn(
        tmp_path / "a.png", [Tile(plain(RED), "r"), Tile(plain(GREEN), "g\ng\ng"), Tile(plain(BLUE), "", "foot")]
    )
    areas = [area(picture, colour) for colour in (RED, GREEN, BLUE)]
    assert min(areas) > 3.5
    assert areas == pytest.approx([areas[0]] * 3, rel=0.02)


@pytest.mark.parametrize("columns", [2, 3, 6])
def test_long_blocks_are_cut_and_short_ones_share_a_line(columns: int, tmp_path: Path) -> None:
    colours = [RED, GREEN, BLUE, RED, GREEN]
    long = drawn(tmp_path / "long.png", [Tile(plain(colour), "t") for colour in colours], columns=columns)
    assert area(long, BLUE) > 0.3
    assert area(long, RED) == pytest.approx(2 * area(long, BLUE), rel=0.02)
    lines = -(-4 // (columns - 1)) if columns < 5 else 1  # four beside the first
    assert long.height / long.width == pytest.approx(lines / min(columns, 5), abs=0.45)
    pairs = drawn(tmp_path / "pairs.png", *[[Tile(plain(RED), "a"), Tile(plain(BLUE), "b")]] * 3, columns=columns)
    assert area(pairs, RED) == pytest.approx(area(pairs, BLUE), rel=0.02)


@pytest.mark.parametrize(
    ("tiles", "columns", "lines"), [(7, 6, [4, 4]), (8, 6, [5, 4]), (13, 6, [5, 5, 5]), (6, 6, [6]), (3, 2, [2, 2])]
)
def test_a_cut_leaves_few_places_empty_and_none_begins_below_the_first_tile(
    tiles: int, columns: int, lines: list[int]
) -> None:
    found = _lines([[Tile(plain(RED), "t")] * tiles] * 2, columns)
    assert [line.across for line in found] == 2 * lines
    assert [line.indent for line in found] == 2 * [0, *[1] * (len(lines) - 1)]
    lefts = [at.left for line in found if line.indent for at in _placed(line, 1.0)]
    assert all(left > 1.0 for left in lefts)


@pytest.mark.parametrize(("columns", "lines"), [(7, ["xaAbBcC"]), (6, ["xaAbB", "cC"]), (4, ["xaA", "bB", "cC"])])
def test_a_map_and_its_controls_stay_in_one_line(columns: int, lines: list[str]) -> None:
    block = [Tile(plain(RED), "x"), *(Tile(plain(RED), head, group=ord(head.lower())) for head in "aAbBcC")]
    found = _lines([block] * 2, columns)
    assert ["".join(tile.head for tile in line.blocks[0]) for line in found] == lines * 2


def test_what_does_not_fit_into_a_line_is_cut_by_itself() -> None:
    block = [Tile(plain(RED), "x"), *(Tile(plain(RED), head, group=ord(head.lower()[0])) for head in "aAbB")]
    assert ["".join(tile.head for tile in line.blocks[0]) for line in _lines([block], 2)] == ["xa", "A", "b", "B"]


def test_a_head_is_repeated_where_another_or_none_stands_above_and_numbers_are_said_once() -> None:
    def block(name: str) -> list[Tile]:
        return [Tile(plain(RED), name), *(Tile(plain(RED), head, once=f"of {head}") for head in ("a", "b", "c", "d"))]

    heads = _heads(HeatSheet([block("x"), block("y")], "", "", columns=5))
    assert heads == [["x", "a of a", "b of b", "c of c", "d of d"], ["y", "", "", "", ""]]
    heads = _heads(HeatSheet([block("x"), block("y")], "", "", columns=3))
    assert heads == [["x", "a of a", "b of b"], ["c of c", "d of d"], ["y", "a", "b"], ["c", "d"]]
    heads = _heads(HeatSheet([block("x"), block("y")], "", "", columns=4))
    assert heads == [["x", "a of a", "b of b"], ["c of c", "d of d"], ["y", "a", "b"], ["c", "d"]]


def _heads(sheet: HeatSheet) -> list[list[str]]:
    rows = [_placed(line, 1.0) for line in _lines(sheet.blocks, sheet.columns)]
    return [[" ".join(at.head) for at in row] for row in _without_repeats(rows, max(map(len, sheet.blocks)), 1.0)]


def test_a_long_name_is_cut_at_an_underscore() -> None:
    assert _wrapped("integrated_gradients", 14, 6) == ["integrated_", "gradients"]
    assert _wrapped("a_b", 14, 6) == ["a_b"]


def test_the_file_describes_itself(tmp_path: Path) -> None:
    picture = drawn(tmp_path / "a.png", [Tile(plain(RED), "r")], caption="how to read it", description="a red square")
    assert picture.info["Description"] == "a red square"
    assert picture.info["Caption"] == "how to read it"
    assert picture.info["Seed"] == "7"


def test_a_hostile_name_is_text(tmp_path: Path) -> None:
    picture = drawn(tmp_path / "a.png", [Tile(plain(RED), HOSTILE, HOSTILE)], caption=HOSTILE, description=HOSTILE)
    assert area(picture, RED) > 1
    assert "<U+202E>evil<U+0000>" in picture.info["Description"]
    assert "\u202e" not in picture.info["Description"]


def test_a_name_without_end_neither_covers_the_tiles_nor_leaves_the_picture(tmp_path: Path) -> None:
    short = drawn(tmp_path / "a.png", [Tile(plain(RED), "x" * 30)])
    endless = drawn(tmp_path / "b.png", [Tile(plain(RED), "x" * 5000, "y " * 5000)])
    assert area(endless, RED) == pytest.approx(area(short, RED), rel=0.01)
    assert endless.height < short.height + 320  # six lines above, eleven below
    edge = np.asarray(endless.convert("L"))
    assert edge[:, -3:].min() > 250
    assert edge[:3].min() > 250


def test_the_legend_shows_the_colours_in_use(tmp_path: Path) -> None:
    orange, yellow = mpl.colormaps["PuOr_r"](0.9)[:3], mpl.colormaps["viridis"](0.9)[:3]
    signed = drawn(tmp_path / "s.png", [Tile(plain(RED), "r", "", Scale(1.0, signed=True))])
    unsigned = drawn(tmp_path / "u.png", [Tile(plain(RED), "r", "", Scale(1.0, signed=False))])
    neither = drawn(tmp_path / "n.png", [Tile(plain(RED), "r")])
    assert [area(p, orange) > 0 for p in (signed, unsigned, neither)] == [True, False, False]
    assert [area(p, yellow) > 0 for p in (signed, unsigned, neither)] == [False, True, False]


def test_no_tiles_still_give_a_picture(tmp_path: Path) -> None:
    assert drawn(tmp_path / "a.png").width > 300


@pytest.mark.parametrize("width", [3.0, 3.5, 7.2, 10.0])
def test_a_figure_is_no_wider_than_asked_and_its_text_stays_inside(width: float, tmp_path: Path) -> None:
    tile = Tile(plain(RED), "Nebuchadnezzar " * 9, "-0.02 .. 0.02", Scale(1.0, signed=True))
    other = Tile(plain(RED), "x", "y", Scale(1.0, signed=False))
    out = tmp_path / "a.png"
    write_heat_sheet(out, HeatSheet([[tile, other] * 2], "a caption of many words " * 20, "d", 4, None, width))
    with Image.open(out) as picture:
        assert picture.width <= 150 * width + 1
        edge = np.asarray(picture.convert("L"))
    assert edge[:, -3:].min() > 250

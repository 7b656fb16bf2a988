"""Which tiles stand where, on which scale, and what the caption says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn

from advbench.bench.asked_scores import asked_scores
from advbench.bench.explanation import MAP, RANDOM_WEIGHTS, SHUFFLED, Panel, Question, methods
from advbench.report.comparison_sheet import Looks, Words, comparison_sheet
from advbench.report.heat_sheet import HeatSheet
from advbench.report.map_drawing import coloured, overlaid, painted

NAMES = ("plain", "$\\frac{1}{0}$", "<b>")
SIDE = 64
HILL = torch.outer(torch.hann_window(SIDE), torch.hann_window(SIDE))[None]
NOISE = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def question(*names: str, classes: tuple[str, ...] = (), images: int = 1) -> Question:
    x = torch.rand(images, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    logits = torch.eye(3)[:images]
    asked = asked_scores(logits, NAMES, classes=classes, targets=(), top=None)
    return Question(x, asked, methods(names, {}, layer=None), [nn.Identity()])


def sheet(asked: Question, heats: dict[tuple[int, int, int], Tensor], looks: Looks | None = None) -> HeatSheet:
    """Of maps by (sample, score, method)."""
    panels = [Panel(*place, MAP, heat) for place, heat in heats.items()]
    words = Words(["file"] * len(asked.x), ["seen as a"] * len(asked.x), [NAMES[0]] * len(asked.x), ["net A"], {})
    return comparison_sheet(asked, panels, words, looks or Looks())


def feet(drawn: HeatSheet) -> list[list[str]]:
    return [[tile.foot for tile in block[1:]] for block in drawn.blocks]


@pytest.mark.parametrize(
    ("shared", "expected"),
    [
        ("none", [["1", "2"], ["4", "8"]]),
        ("image", [["2", "2"], ["8", "8"]]),
        ("all", [["8", "8"], ["8", "8"]]),
    ],
)
def test_a_scale_is_shared_as_asked(shared: str, expected: list[list[str]]) -> None:
    asked = question("saliency", classes=("0", "1"), images=2)
    heats = {(n, k, 0): torch.full((1, SIDE, SIDE), 2.0 ** (2 * n + k)) for n in (0, 1) for k in (0, 1)}
    drawn = sheet(asked, heats, Looks("map", shared))  # type: ignore[arg-type]
    assert feet(drawn) == [[f"0 .. {end}" for end in row] for row in expected]
    brightest = [tile.pixels.sum() for block in drawn.blocks for tile in block[1:]]
    ends = [float(end) for row in expected for end in row]
    values = [float(heat[0, 0, 0]) for heat in heats.values()]
    levels = [value / end for value, end in zip(values, ends, strict=True)]
    assert np.argsort(brightest, kind="stable").tolist() == np.argsort(levels, kind="stable").tolist()


def test_scores_of_different_kinds_have_different_scales() -> None:
    asked = question("saliency", classes=("0", "1"))
    other = asked_scores(torch.eye(3)[:1], NAMES, classes=(), targets=("prob:0", "prob:1", "a.b:3"), top=None)
    both = replace(asked, asked=[*asked.asked, *other])
    drawn = sheet(both, {(0, k, 0): torch.full((1, SIDE, SIDE), 2.0**k) for k in range(5)})
    assert feet(drawn) == [[f"0 .. {end}" for end in (2, 2, 8, 8, 16)]]


def test_signed_is_one_answer_for_all_panels_of_a_method() -> None:
    asked = question("gradient", classes=("0", "1"))
    drawn = sheet(asked, {(0, 0, 0): HILL, (0, 1, 0): -HILL}, Looks(shared="none"))
    assert [text.startswith("-") for text in feet(drawn)[0]] == [True, True]


def test_random_weights_have_a_scale_of_their_own() -> None:
    asked = question("saliency")
    panels = [
        Panel(0, 0, 0, MAP, torch.ones(1, SIDE, SIDE)),
        Panel(0, 0, 0, RANDOM_WEIGHTS, torch.full((1, SIDE, SIDE), 1e-3)),
        Panel(0, 0, 0, SHUFFLED, torch.ones(1, SIDE, SIDE), ("note",)),
    ]
    drawn = comparison_sheet(
        replace(asked, random_nets=[nn.Identity()]), panels, Words(["t"], ["a"], ["a"], ["n"], {}), Looks()
    )
    assert feet(drawn) == [["0 .. 1", "0 .. 0.001", "0 .. 1\nnote"]]
    assert "random weights (scale of its own)" in drawn.caption
    assert "note" in drawn.description


def test_numbers_of_a_method_stand_in_its_head_once_and_only_numbers_shown_are_explained() -> None:
    asked = question("saliency", "grad_cam", images=2)
    panels = [
        Panel(n, 0, m, MAP, HILL, ("road 0.50",), of_method=(f"forgets: passes 0.{m}",)) for n in (0, 1) for m in (0, 1)
    ]
    drawn = comparison_sheet(asked, panels, Words(["t"] * 2, ["a"] * 2, ["a"] * 2, ["n"], {}), Looks())
    assert [[tile.once for tile in block] for block in drawn.blocks] == [
        ["", "forgets: passes 0.0", "forgets: passes 0.1"]
    ] * 2
    assert all("forgets" not in tile.foot for block in drawn.blocks for tile in block)
    assert [drawn.description.count(f"passes 0.{m}") for m in (0, 1)] == [1, 1]
    assert "road: by how much" in drawn.caption
    assert "forgets: mean rank" in drawn.caption
    assert "likeness" not in drawn.caption


def test_coarse_maps_lie_over_the_image_and_guided_backprop_is_a_picture() -> None:
    asked = question("saliency", "grad_cam", "guided_backprop")
    (block,) = sheet(asked, {(0, 0, 0): NOISE[:1], (0, 0, 1): HILL, (0, 0, 2): NOISE}).blocks
    image = asked.x[0].numpy()
    noise, hill = block[1], block[2]
    assert noise.scale is not None
    assert hill.scale is not None
    assert_allclose(noise.pixels, painted(NOISE[0].numpy(), noise.scale))
    assert_allclose(hill.pixels, overlaid(image, HILL[0].numpy(), hill.scale))
    assert_allclose(block[3].pixels, coloured(NOISE.numpy()))
    (both,) = sheet(question("saliency"), {(0, 0, 0): HILL}, Looks(drawn="both")).blocks
    assert len(both) == 3


def test_one_method_has_a_block_per_image_and_several_one_per_score() -> None:
    heat = {(n, k, m): HILL for n in (0, 1) for k in (0, 1) for m in (0, 1)}
    several = sheet(question("saliency", "grad_cam", classes=("0", "1"), images=2), heat)
    assert [len(block) for block in several.blocks] == [3] * 4
    one = sheet(question("saliency", classes=("0", "1"), images=2), {key: h for key, h in heat.items() if not key[2]})
    assert [len(block) for block in one.blocks] == [3] * 2
    assert [tile.head for tile in one.blocks[0]] == ["seen as a", "saliency: plain", f"saliency: {NAMES[1]}"]


def test_a_score_other_than_the_class_that_is_seen_is_told() -> None:
    asked = question("saliency", "grad_cam", classes=("0", "2"))
    drawn = sheet(asked, {(0, k, m): HILL for k in (0, 1) for m in (0, 1)})
    assert [block[0].head for block in drawn.blocks] == ["seen as a", "seen as a\nexplained: <b>"]


def test_the_caption_states_score_layer_baseline_space_and_clip() -> None:
    asked = question("grad_cam", "occlusion")
    named = methods(["grad_cam", "occlusion"], {"layer": "features.12", "baseline": "blur"}, layer=None)
    caption = sheet(replace(asked, methods=named), {(0, 0, 0): HILL, (0, 0, 1): HILL}).caption
    for text in ("raw score of the class", "layer features.12", "baseline blur", "pixels in [0, 1]", "99th percentile"):
        assert text in caption
    assert caption.count("net A") == 1


@pytest.mark.parametrize(
    ("target", "told"),
    [("prob:y", "Score: probability."), ("log_prob:1", "Score: log-probability."), ("a.b:3@1,2", "Score: a.b:3@1,2.")],
)
def test_other_scores_are_told_too(target: str, told: str) -> None:
    asked = question("saliency")
    other = asked_scores(torch.eye(3)[:1], NAMES, classes=(), targets=(target,), top=None)
    assert told in sheet(replace(asked, asked=other), {(0, 0, 0): HILL}).caption


def test_the_description_says_where_the_evidence_lies() -> None:
    corner = torch.zeros(1, SIDE, SIDE)
    corner[0, 0, SIDE - 1] = 1.0
    description = sheet(question("saliency"), {(0, 0, 0): corner}).description
    assert description.startswith("Score: ")
    assert "Image 1, file: seen as a." in description
    assert "saliency: centre of the evidence 99% from the left and 1% from the top" in description

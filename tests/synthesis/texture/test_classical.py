"""Textures by copying pixels: Efros-Leung and Wei-Levoy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from advbench.core.draws import Draws
from advbench.core.journal import Frame, running
from advbench.synthesis.file_journal import FileJournal
from advbench.synthesis.texture.efros_leung import _Patches, efros_leung
from advbench.synthesis.texture.wei_levoy import causal, wei_levoy
from advbench.types import ConfigError

ONE = Draws(0, torch.arange(1))
Method = Callable[..., Tensor]
METHODS: list[Method] = [efros_leung, wei_levoy]


def checkerboard(side: int = 16, cell: int = 2) -> Tensor:
    i = torch.arange(side) // cell
    board = ((i[:, None] + i[None]) % 2).float()
    return torch.stack([board, 1 - board, 0.5 * board])[None]


def colours(image: Tensor) -> set[tuple[float, ...]]:
    return {tuple(pixel) for each in image for pixel in each.flatten(1).T.tolist()}


@settings(max_examples=10)
@given(st.integers(0, 99), st.sampled_from(METHODS))
def test_every_colour_is_one_of_the_samples_and_runs_repeat(seed: int, method: Method) -> None:
    sample = torch.rand(1, 3, 9, 10, generator=torch.Generator().manual_seed(seed))
    made = method(None, sample, draws=Draws(seed, torch.arange(2)), size=(11, 13), window=5)
    assert made.shape == (2, 3, 11, 13)
    assert colours(made) <= colours(sample)
    assert torch.equal(made, method(None, sample, draws=Draws(seed, torch.arange(2)), size=(11, 13), window=5))
    assert torch.equal(made[1:], method(None, sample, draws=Draws(seed, torch.tensor([1])), size=(11, 13), window=5))


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_stays_constant(method: Method) -> None:
    sample = torch.full((1, 1, 8, 8), 0.3)
    assert bool((method(None, sample, draws=ONE, size=(9, 12), window=5) == sample[0, 0, 0, 0]).all())


def test_efros_leung_continues_a_checkerboard_and_stripes_exactly() -> None:
    board = checkerboard()
    made = efros_leung(None, board, draws=ONE, size=(24, 20), window=7)
    wide = checkerboard(32)
    # Wherever in the period it began: one of the 16 shifts fits everywhere.
    assert any(torch.equal(made, wide[:, :, i : i + 24, j : j + 20]) for i in range(4) for j in range(4))
    stripes = board[:, :, :1].expand(-1, -1, 16, -1)
    made = efros_leung(None, stripes, draws=ONE, size=(20, 20), window=7)
    assert any(torch.equal(made, wide[:, :, :1, j : j + 20].expand(-1, -1, 20, -1)) for j in range(4))


@pytest.mark.parametrize("search", ["tree", "brute"])
def test_wei_levoy_continues_a_checkerboard_but_for_a_fault(search: str) -> None:
    sample = checkerboard(24)
    made = wei_levoy(None, sample, draws=ONE, size=(32, 32), window=9, search=search)
    # The first rows come from noise, and where they close around the torus a fault of a few columns stays.
    known = {tuple(each) for each in _squares(sample).tolist()}
    pieces = [tuple(each) for each in _squares(made[:, :, 16:]).tolist()]
    assert known <= set(pieces)
    assert sum(piece in known for piece in pieces) > 0.75 * len(pieces)


def _squares(image: Tensor) -> Tensor:
    """All 4 x 4 pieces."""
    return functional.unfold(image, 4)[0].T


def test_both_searches_find_the_same() -> None:
    sample = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    tree, brute = (wei_levoy(None, sample, draws=ONE, size=(14, 14), window=5, search=s) for s in ("tree", "brute"))
    assert torch.equal(tree, brute)


@given(st.integers(1, 6))
def test_the_causal_neighbourhood_is_what_is_made_already(half: int) -> None:
    window = 2 * half + 1
    offsets = causal(window)
    assert all(row < 0 or (row == 0 and column < 0) for row, column in offsets)
    assert len(set(offsets)) == (window * window - 1) // 2


@given(st.integers(0, 99))
def test_distances_equal_the_definition(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sample, seen = torch.rand(1, 3, 7, 8, generator=generator), torch.rand(3, 25, generator=generator)
    filled = (torch.rand(25, generator=generator) < 0.4).float()
    filled[0] = 1.0
    patches = _Patches(sample, 5)
    row = torch.exp(-0.5 * ((torch.arange(5) - 2) / (5 / 6.4)) ** 2)
    weight = torch.outer(row, row).flatten() * filled
    plain = [
        (weight * (sample[0, :, i : i + 5, j : j + 5].flatten(1) - seen).square().mean(0)).sum() / weight.sum()
        for i in range(3)
        for j in range(4)
    ]
    torch.testing.assert_close(patches.distances(seen, filled), torch.stack(plain), atol=1e-6, rtol=1e-4)


def test_the_seed_at_the_centre_is_a_piece_of_the_sample() -> None:
    sample = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    made = efros_leung(None, sample, draws=ONE, size=(15, 15), window=5)
    piece = made[:, :, 6:9, 6:9]
    assert any(torch.equal(piece, sample[:, :, i : i + 3, j : j + 3]) for i in range(7) for j in range(7))


@pytest.mark.parametrize("method", METHODS)
def test_progress_is_told_pixel_by_pixel(method: Method) -> None:
    frames: list[Frame] = []
    with running(watch=frames.append):
        made = method(None, torch.rand(1, 1, 8, 8), draws=ONE, size=(9, 9), window=5)
    assert [frame.step for frame in frames if frame.phase == frames[-1].phase][-1] == 80
    assert frames[-1].steps == 81
    assert torch.equal(frames[-1].image(), made)


@pytest.mark.parametrize("method", METHODS)
def test_wrong_requests_are_refused(method: Method) -> None:
    with pytest.raises(ConfigError, match="window must be odd"):
        method(None, torch.rand(1, 1, 8, 8), draws=ONE, window=4)
    with pytest.raises(ConfigError, match=r"window|smaller"):
        method(None, torch.rand(1, 1, 8, 8), draws=ONE, window=11)
    with pytest.raises(ConfigError, match="2 samples for 1 textures"):
        method(None, torch.rand(2, 1, 8, 8), draws=ONE, window=5)


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_goes_on_to_the_same_picture(method: Method, tmp_path: Path) -> None:
    sample = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    whole = method(None, sample, draws=ONE, size=(12, 11), window=5)

    def killed(frame: Frame) -> None:
        if frame.step == 90:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), running(killed, FileJournal(tmp_path, "it", seconds=0.0)):
        method(None, sample, draws=ONE, size=(12, 11), window=5)
    frames: list[Frame] = []
    with running(frames.append, FileJournal(tmp_path, "it", seconds=0.0)):
        assert torch.equal(method(None, sample, draws=ONE, size=(12, 11), window=5), whole)
    assert 0 < len(frames) < 100

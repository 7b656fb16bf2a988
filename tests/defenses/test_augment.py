"""Augmentation: each image is moved and mirrored as a whole, by its own draws."""

from __future__ import annotations

import torch
from hypothesis import given
from torch import Tensor

from advbench.core.draws import Draws
from advbench.defenses.augment import crop_flip
from tests.strategies import images, seeds


@given(images(), seeds())
def test_each_image_is_a_shifted_and_perhaps_mirrored_copy(x: Tensor, seed: int) -> None:
    seen = crop_flip(x, Draws(seed, torch.arange(len(x))))
    assert seen.shape == x.shape
    for image, view in zip(x, seen, strict=True):
        padded = torch.nn.functional.pad(image, (4, 4, 4, 4))
        height, width = image.shape[1:]
        views = [
            window if not mirrored else window.flip(-1)
            for top in range(9)
            for left in range(9)
            for mirrored in (False, True)
            for window in [padded[:, top : top + height, left : left + width]]
        ]
        assert any(torch.equal(view, candidate) for candidate in views)


@given(images(), seeds())
def test_the_view_of_an_image_does_not_depend_on_its_batch(x: Tensor, seed: int) -> None:
    ids = torch.arange(len(x)) + 7
    whole = crop_flip(x, Draws(seed, ids))
    alone = torch.cat([crop_flip(x[i : i + 1], Draws(seed, ids[i : i + 1])) for i in range(len(x))])
    assert torch.equal(whole, alone)


def test_all_shifts_and_both_mirrorings_occur() -> None:
    x = torch.zeros(2000, 1, 9, 9)
    x[:, 0, 4, 3] = 1.0
    seen = crop_flip(x, Draws(0, torch.arange(len(x))))
    places = {(int(row), int(column)) for row, column in seen[:, 0].nonzero()[:, 1:]}
    # Mirrored about column 4, the point stands at 3 or 5 before the shift: ten columns, of which nine are seen.
    assert places == {(row, column) for row in range(9) for column in range(9)}

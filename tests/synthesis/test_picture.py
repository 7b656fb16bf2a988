"""picture: the syntheses by name."""

from __future__ import annotations

import pytest
import torch

import advbench as ab
from tests.attributions.small_nets import pooled_net


def test_equal_seeds_make_equal_pictures_and_others_others() -> None:
    first, again, other = (
        ab.picture("visualize", pooled_net(), "class:1", shape=(3, 12, 12), steps=4, seed=seed) for seed in (0, 0, 1)
    )
    assert first.shape == (1, 3, 12, 12)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_several_at_once_and_methods_without_a_network() -> None:
    assert len(ab.picture("visualize", pooled_net(), "class:1", shape=(3, 12, 12), steps=2, count=3)) == 3
    assert ab.picture("wei_levoy", None, torch.rand(1, 3, 12, 12), size=(14, 15)).shape == (1, 3, 14, 15)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'visualize'"):
        ab.picture("visualise", pooled_net(), "class:1")
    with pytest.raises(ValueError, match="no parameter 'step'; did you mean 'steps'"):
        ab.picture("visualize", pooled_net(), "class:1", step=3)

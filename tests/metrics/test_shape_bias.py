"""Shape bias: the counts, and the mean over a coarse class."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.metrics.shape_bias import group_probabilities, shape_bias


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), max_size=30))
def test_every_conflict_is_counted_once(rows: list[tuple[int, int, int]]) -> None:
    decision, shape, texture = (torch.tensor([row[i] for row in rows], dtype=torch.int64) for i in range(3))
    found = shape_bias(decision, shape, texture)
    assert found.shape + found.texture + found.neither == sum(s != t for _, s, t in rows)
    turned = shape_bias(decision, texture, shape)
    assert (turned.shape, turned.texture, turned.neither) == (found.texture, found.shape, found.neither)


def test_a_table_by_hand() -> None:
    shape, texture = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([1, 2, 0, 2, 2, 0])
    found = shape_bias(torch.tensor([0, 2, 0, 0, 2, 2]), shape, texture)
    # shape; texture; texture; neither; not a conflict; shape
    assert (found.shape, found.texture, found.neither) == (2, 2, 1)
    assert found.bias.value == 0.5
    assert found.decided.value == 0.8


def test_a_group_has_the_mean_of_its_classes() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.2, 0.2, 0.1]]))
    chance = group_probabilities(logits, [[0, 3], [1, 2], [1]])
    assert torch.allclose(chance, torch.tensor([[0.3, 0.2, 0.2]]))
    with pytest.raises(ValueError, match=r"group 1 must hold classes from 0 \.\. 3"):
        group_probabilities(logits, [[0], [4]])

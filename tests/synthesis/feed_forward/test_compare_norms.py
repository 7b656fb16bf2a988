"""The three loss curves of instance and batch norm."""

from __future__ import annotations

import pytest
import torch

from advbench.synthesis.feed_forward.compare_norms import INPUTS, compare_norms, flat_histogram
from advbench.synthesis.feed_forward.training import Course
from tests.synthesis.feed_forward.test_train_style import PHOTOS, judge_net, stripes


def test_brightness_is_spread_evenly() -> None:
    flat = flat_histogram(0.3 * torch.rand(2, 1, 20, 20) + 0.4)
    quarters = torch.stack([((flat >= q / 4) & (flat < (q + 1) / 4)).float().mean((1, 2, 3)) for q in range(4)])
    assert torch.allclose(quarters, torch.full((4, 2), 0.25), atol=0.01)


@pytest.mark.slow
def test_a_curve_for_each_input_and_norm() -> None:
    table = compare_norms(judge_net(), stripes(), PHOTOS, Course(steps=3, batch=2, side=16))
    assert table.groupby(["input", "norm"]).size().to_dict() == {
        (k, n): 3 for k in INPUTS for n in ("instance", "batch")
    }
    assert bool((table["loss"] > 0).all())

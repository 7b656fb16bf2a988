"""What is done after a step: decay, then blur every n steps, then what is smallest to zero, then the box."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.step_rules import StepRule, plain
from advbench.core.transforms import blur
from advbench.core.upkeep import kept_up, without_smallest
from advbench.types import Evaluation

ROWS = torch.arange(2)


def images(seed: int = 0) -> Tensor:
    return torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(seed))


def still(z: Tensor, rows: Tensor) -> Evaluation:
    return Evaluation(0.0 * z.flatten(1).sum(1), torch.zeros(len(z), dtype=torch.bool))


@given(st.floats(0.0, 100.0), st.integers(0, 5))
def test_the_percentage_asked_for_goes_to_zero_and_the_largest_stay(percent: float, seed: int) -> None:
    z = images(seed)
    size = z.square().sum(1)
    left = without_smallest(z, size, percent)
    gone = (left == 0).all(1)
    assert abs(int(gone[0].sum()) - percent / 100.0 * 72) <= 1
    for gone_of_one, size_of_one in zip(gone, size, strict=True):
        if gone_of_one.any() and not gone_of_one.all():
            assert size_of_one[gone_of_one].max() <= size_of_one[~gone_of_one].min()
    assert torch.equal(left[~gone[:, None].expand_as(z)], z[~gone[:, None].expand_as(z)])


def test_contributions_are_gradient_times_value_summed_over_colours() -> None:
    z = torch.tensor([[[[1.0, 1.0, 0.1, 2.0]], [[1.0, -1.0, 0.1, 0.0]]]])
    grad = torch.tensor([[[[1.0, 1.0, 9.0, -0.2]], [[1.0, 1.0, 9.0, 7.0]]]])
    # |-g z| summed over the two colours: 2, 0 (they cancel), 1.8, 0.4. By length of z the third would be the smallest.
    kept = kept_up(plain(0.0), small_contributions=50.0)
    kept.step.update(grad, kept.step.init(z), 0.0)
    assert torch.equal(kept.project(z, ROWS[:1]).abs().sum(1)[0, 0] > 0, torch.tensor([True, False, True, False]))


def test_decay_comes_first_then_blur_on_its_steps_and_then_the_box() -> None:
    z, nobody = images(), Draws(0, ROWS[:0])
    kept = kept_up(plain(0.0), decay=0.25, sigma=0.7, every=3, low=-0.5, high=0.5)
    smooth = blur(0.7)
    for steps in range(1, 7):
        wanted = z
        for step in range(1, steps + 1):
            wanted = 0.75 * wanted
            wanted = smooth(wanted, nobody, 0) if step % 3 == 0 else wanted
            wanted = wanted.clamp(-0.5, 0.5)
        found = descend(z, still, step=kept.step, steps=steps, project=kept.project, stop=None).z
        torch.testing.assert_close(found, wanted)


def test_without_upkeep_nothing_changes() -> None:
    rule: StepRule = plain(0.5)
    kept = kept_up(rule)
    assert torch.equal(kept.project(images(), ROWS), images())
    assert torch.equal(kept.step.update(images(1), (), 0.0)[0], rule.update(images(1), (), 0.0)[0])


@pytest.mark.parametrize(
    "wrong", [{"decay": 1.5}, {"every": 0}, {"small_values": 101.0}, {"small_contributions": -1.0}]
)
def test_it_refuses_what_is_no_upkeep(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="upkeep"):
        kept_up(plain(1.0), **wrong)  # type: ignore[arg-type]

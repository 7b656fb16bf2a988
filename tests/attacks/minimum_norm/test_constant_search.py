"""The search for the constant of each sample, and the loss it is searched for."""

from __future__ import annotations

from math import inf
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attacks.minimum_norm import carlini_wagner_l2 as carlini_wagner_l2_module
from advbench.attacks.minimum_norm import ead as ead_module
from advbench.attacks.minimum_norm.carlini_wagner import carlini_wagner
from advbench.attacks.minimum_norm.constant_search import Ran, Run, lead, over_constants, penalised
from advbench.attacks.minimum_norm.ead import ead
from advbench.core.keep import Keep, Kept, keep_nearest, nothing_kept
from advbench.types import ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images


def one_by_one(least: float, first: float, searches: int) -> list[float]:
    """The constants that a sample is tried with whose runs hold from `least` on."""
    tried, low, high = [first], 0.0, None
    for _ in range(searches - 1):
        if tried[-1] >= least:
            high = tried[-1]
        else:
            low = tried[-1]
        tried.append(10 * tried[-1] if high is None else (low + high) / 2)
    if searches >= 10 and high is not None:
        held = [c for c in tried[:-1] if c >= least]
        tried[-1] = min(held)
    return tried


@given(st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=4), st.integers(1, 11))
def test_each_sample_is_tried_with_its_own_constants(least: list[float], searches: int) -> None:
    needed = torch.tensor(least, dtype=torch.float64)
    x = torch.zeros(len(least), 1, 1, 1, dtype=torch.float64)
    tried: list[list[float]] = []

    def run(rows: Tensor, c: Tensor, nearest: Tensor) -> Ran:
        tried.append(c.tolist())
        return Ran(nothing_kept(x), c >= needed)

    over_constants(
        nothing_kept(x), x, ThreatModel(2, None), run, searches=searches, first=1e-3, keep=keep_nearest(x, 2)
    )
    for i, each in enumerate(least):
        torch.testing.assert_close([row[i] for row in tried], one_by_one(each, 1e-3, searches))


def test_samples_that_are_near_enough_are_not_run_again() -> None:
    x = torch.zeros(3, 1, 1, 1)
    asked: list[list[int]] = []

    def run(rows: Tensor, c: Tensor, nearest: Tensor) -> Ran:
        asked.append(rows.tolist())
        z = torch.tensor([0.1, 0.3, 0.0]).reshape(3, 1, 1, 1)
        return Ran(Kept(z, torch.zeros(3), torch.tensor([True, True, False])), torch.ones(3, dtype=torch.bool))

    kept = over_constants(nothing_kept(x), x, ThreatModel(2, 0.2), run, searches=2, first=1.0, keep=keep_nearest(x, 2))
    assert asked == [[0, 1, 2], [1, 2]]
    assert kept.reached.tolist() == [True, True, False]


def test_the_lead_of_the_true_class_is_counted_with_all_logits_negative() -> None:
    logits = torch.tensor([[-1.0, -3.0, -2.0]])
    y = torch.tensor([0])
    rows = torch.arange(1)
    leave = lead(nn.Identity(), y, targeted=False)(logits, rows)
    assert (float(leave.loss), bool(leave.reached)) == (1.0, False)
    arrive = lead(nn.Identity(), y, targeted=True, confidence=0.5)(logits, rows)
    assert (float(arrive.loss), bool(arrive.reached)) == (-0.5, True)
    c = torch.tensor([4.0])
    cost = penalised(lambda z, rows: z.new_ones(len(z)), lead(nn.Identity(), y, targeted=False), c)(logits, rows)
    assert float(cost.loss) == 5.0
    free = penalised(lambda z, rows: z.new_ones(len(z)), lead(nn.Identity(), y, targeted=True), c)(logits, rows)
    assert float(free.loss) == 1.0  # beyond the goal there is nothing left to gain


@pytest.mark.parametrize("steps", [11, 20, 21, 100, 101])
@pytest.mark.parametrize("module", [carlini_wagner_l2_module, ead_module])
def test_a_run_with_success_in_its_last_tenth_counts_as_one_whatever_its_length(
    module: ModuleType, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its last step is one after which samples may leave: 11, 21 and 101 are such lengths."""
    attack, norm = (ead, 1.0) if module is ead_module else (carlini_wagner, 2.0)
    model = conv_net()
    x, y, draws = images(model, 12)
    counting, ends, tenth = Counting(model, 12), [], max(1, steps // 10)
    last = steps - 1 - (steps - 2) // tenth * tenth  # steps after those after which samples may leave

    def watched(
        kept: Kept, x: Tensor, threat: ThreatModel, run: Run, *, searches: int, first: float, keep: Keep
    ) -> Kept:
        def noted(rows: Tensor, c: Tensor, nearest: Tensor) -> Ran:
            ran = run(rows, c, nearest)
            fooled = torch.stack(counting.predictions[-last:]) != y[rows]
            ends.append((fooled.any(0), ran.holds[rows]))
            return ran

        return over_constants(kept, x, threat, noted, searches=searches, first=first, keep=keep)

    monkeypatch.setattr(module, "STALLED", inf)  # nobody leaves: the last pass is the last step of all
    monkeypatch.setattr(module, "over_constants", watched)
    attack(counting, x, y, ThreatModel(norm, None), draws=draws, steps=steps, searches=6, step_size=0.05)
    fooled, holds = (torch.cat(parts) for parts in zip(*ends, strict=True))
    assert int(fooled.sum()) >= 12
    assert torch.equal(holds, fooled)

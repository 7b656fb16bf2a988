"""Gradients of a model that is random itself are means over its draws."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.gradients import backprop, evaluate
from advbench.core.mean_gradient import mean_backprop, mean_evaluate
from advbench.core.objectives import Objective
from advbench.types import Evaluation
from tests.strategies import seeds


def shaken(generator: torch.Generator) -> Objective:
    """sum of s z^2 with a factor s for each component that is drawn anew at every pass; reached where s[0] > 0."""

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        factor = torch.randn(z.shape, generator=generator)
        return Evaluation((factor * z.square()).flatten(1).sum(1), factor.flatten(1)[:, 0] > 0)

    return objective


@given(seeds(), st.integers(1, 6))
def test_it_is_the_mean_over_single_passes(seed: int, samples: int) -> None:
    z, rows = torch.randn(5, 1, 2, 2, generator=torch.Generator().manual_seed(seed)), torch.arange(5)
    seen, grad = mean_backprop(shaken(torch.Generator().manual_seed(seed)), z, rows, samples=samples)
    again = shaken(torch.Generator().manual_seed(seed))
    single = [backprop(again, z, rows) for _ in range(samples)]
    torch.testing.assert_close(grad, torch.stack([each for _, each in single]).mean(0))
    torch.testing.assert_close(seen.loss, torch.stack([each.loss for each, _ in single]).mean(0))
    assert torch.equal(seen.reached, torch.stack([each.reached for each, _ in single]).all(0))
    without = mean_evaluate(shaken(torch.Generator().manual_seed(seed)), z, rows, samples=samples)
    torch.testing.assert_close(without.loss, seen.loss)
    assert torch.equal(without.reached, seen.reached)


@given(seeds())
def test_one_pass_is_the_plain_gradient_bit_for_bit(seed: int) -> None:
    z, rows = torch.randn(5, 1, 2, 2, generator=torch.Generator().manual_seed(seed)), torch.arange(5)
    seen, grad = mean_backprop(shaken(torch.Generator().manual_seed(seed)), z, rows, samples=1)
    plain, expected = backprop(shaken(torch.Generator().manual_seed(seed)), z, rows)
    assert torch.equal(grad, expected)
    assert torch.equal(seen.loss, plain.loss)
    loss = mean_evaluate(shaken(torch.Generator().manual_seed(seed)), z, rows, samples=1).loss
    assert torch.equal(loss, evaluate(shaken(torch.Generator().manual_seed(seed)), z, rows).loss)

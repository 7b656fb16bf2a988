"""Step rules: they find minima, move as far as they say, and carry their state row by row."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.norms import dual, lengths
from advbench.core.step_rules import StepRule, adam, cosine, lbfgs, momentum, plain, sparse_steepest, steepest
from tests.strategies import deltas, norms

MINIMUM = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]], dtype=torch.float64)
ROUND = torch.tensor([1.0, 1.5, 2.0], dtype=torch.float64)
LONG = torch.tensor([1.0, 30.0, 1000.0], dtype=torch.float64)  # condition number 1000


def gradient(curvature: Tensor) -> Callable[[Tensor], Tensor]:
    """Of sum(curvature * (z - MINIMUM)^2) / 2, whose minimum is known."""
    return lambda z: curvature * (z - MINIMUM)


def minimised(rule: StepRule, curvature: Tensor, steps: int) -> float:
    """Distance to the minimum after `steps` steps from 0."""
    z, slope = torch.zeros_like(MINIMUM), gradient(curvature)
    state = rule.init(z)
    for i in range(steps):
        move, state = rule.update(slope(z), state, i / steps)
        z = z + move
    return float((z - MINIMUM).abs().max())


RULES: dict[str, tuple[StepRule, int, float]] = {
    "plain": (plain(0.5), 60, 1e-6),
    "plain, cosine": (plain(0.5, schedule=cosine(1.0, 0.1)), 100, 1e-6),
    "adam": (adam(0.3, schedule=cosine(1.0, 0.0)), 300, 1e-3),
    "adam, forgetful": (adam(0.3, decay=(0.5, 0.9), schedule=cosine(1.0, 0.0)), 300, 1e-2),
    "lbfgs": (lbfgs(), 15, 1e-6),
    "linf": (steepest(math.inf, 0.2, schedule=cosine(1.0, 0.0)), 200, 5e-3),
    "l2": (steepest(2.0, 0.2, schedule=cosine(1.0, 0.0)), 200, 5e-3),
    "l1": (steepest(1.0, 0.2, schedule=cosine(1.0, 0.0)), 300, 5e-3),
    "momentum": (momentum(2.0, 0.02, decay=0.5), 400, 0.1),
    "sparse": (sparse_steepest(0.5, 0.02), 600, 0.05),
}


@pytest.mark.parametrize(("rule", "steps", "distance"), RULES.values(), ids=RULES)
def test_a_bowl_is_descended_to_its_bottom(rule: StepRule, steps: int, distance: float) -> None:
    assert minimised(rule, ROUND, steps) < distance


def test_lbfgs_crosses_a_valley_where_the_plain_gradient_creeps() -> None:
    assert minimised(lbfgs(), LONG, 60) < 1e-4 < minimised(plain(1.9 / 1000.0), LONG, 60)


def test_lbfgs_solves_a_quadratic_in_a_few_more_steps_than_it_has_dimensions() -> None:
    """With a memory of all directions and near exact curvature it behaves like conjugate gradients."""
    assert minimised(lbfgs(memory=3), ROUND, 12) < 1e-5
    assert minimised(lbfgs(memory=1), ROUND, 12) > minimised(lbfgs(memory=3), ROUND, 12)


@pytest.mark.parametrize("rule", [rule for rule, _, _ in RULES.values()], ids=RULES)
def test_rows_that_leave_take_their_state_with_them(rule: StepRule) -> None:
    slope, rows = gradient(LONG / 1000.0), torch.tensor([1])
    z = torch.zeros_like(MINIMUM)
    alone, state, state_alone = z[rows], rule.init(z), rule.init(z)
    for i in range(6):
        move, state = rule.update(slope(z), state, i / 6)
        z = z + move
        # The same run, but the other row leaves after the second step.
        if i < 2:
            alone, state_alone = z[rows], tuple(part[rows] for part in state)
        else:
            move, state_alone = rule.update((LONG / 1000.0) * (alone - MINIMUM[rows]), state_alone, i / 6)
            alone = alone + move
    torch.testing.assert_close(alone, z[rows])


@pytest.mark.parametrize("rule", [rule for rule, _, _ in RULES.values()], ids=RULES)
@pytest.mark.parametrize("batch", [0, 2])
def test_no_gradient_no_move_and_no_nan(rule: StepRule, batch: int) -> None:
    z = torch.zeros(batch, 1, 2, 3)
    state = rule.init(z)
    for i in range(3):
        move, state = rule.update(torch.zeros_like(z), state, i / 3)
        assert move.shape == z.shape
        assert not move.any()


@given(deltas(), norms(1.0, 2.0, math.inf), st.floats(0.01, 2.0))
def test_the_steepest_step_has_its_length_and_nothing_descends_faster(grad: Tensor, norm: float, size: float) -> None:
    rule = steepest(norm, size)
    move, _ = rule.update(grad, rule.init(grad), 0.0)
    nonzero = grad.flatten(1).any(1)
    torch.testing.assert_close(lengths(move, norm), torch.where(nonzero, size, 0.0))
    descent = -(move.double() * grad.double()).flatten(1).sum(1)
    torch.testing.assert_close(descent, size * lengths(grad.double(), dual(norm)), rtol=1e-5, atol=1e-12)


@given(deltas(), st.integers(1, 5))
def test_the_l0_step_moves_the_largest_components_by_their_gradient(grad: Tensor, count: int) -> None:
    rule = steepest(0.0, float(count))
    move, _ = rule.update(grad, rule.init(grad), 0.0)
    torch.testing.assert_close(move[move != 0], -grad[move != 0])
    kept = grad.flatten(1).abs().topk(min(count, grad[0].numel()), dim=1).values.sum(1)
    torch.testing.assert_close(lengths(move, 1.0), kept)


@given(deltas(), st.floats(0.0, 0.99), st.floats(0.01, 2.0))
def test_the_sparse_step_shares_its_l1_length_among_the_largest(grad: Tensor, quantile: float, size: float) -> None:
    rule = sparse_steepest(quantile, size)
    move = rule.update(grad, rule.init(grad), 0.0)[0].flatten(1)
    flat = grad.flatten(1)
    torch.testing.assert_close(lengths(move, 1.0), torch.where(flat.any(1), size, 0.0))
    assert bool((move * flat <= 0).all())
    assert int(lengths(move, 0.0).max()) <= max(1, round((1 - quantile) * flat.shape[1]))
    for row, slope in zip(move, flat, strict=True):
        left = slope[row == 0].abs()
        assert not row.any() or not len(left) or float(slope[row != 0].abs().min()) >= float(left.max())


def test_momentum_by_hand() -> None:
    """g1 = [3, -1] / 2; g2 = 0.5 g1 + [-1, -1] / 1 = [-0.25, -1.25]: the signs change, the l2 direction is g2's."""
    first, second = torch.tensor([[3.0, -1.0]]), torch.tensor([[-1.0, -1.0]])
    rule = momentum(math.inf, 0.1, decay=0.5)
    move, state = rule.update(first, rule.init(first), 0.0)
    torch.testing.assert_close(move, torch.tensor([[-0.1, 0.1]]))
    move, state = rule.update(second, state, 0.5)
    torch.testing.assert_close(move, torch.tensor([[0.1, 0.1]]))
    torch.testing.assert_close(state[0], torch.tensor([[-0.25, -1.25]]))
    unit = momentum(2.0, 1.0, decay=0.5)
    move, _ = unit.update(second, unit.update(first, unit.init(first), 0.0)[1], 0.5)
    torch.testing.assert_close(move, torch.tensor([[0.25, 1.25]]) / math.hypot(0.25, 1.25))


def test_adam_is_that_of_torch() -> None:
    parameter = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    reference = torch.optim.Adam([parameter], lr=0.1)
    rule, z, slope = adam(0.1), torch.zeros(2, 3, dtype=torch.float64), gradient(LONG)
    state = rule.init(z)
    for i in range(20):
        parameter.grad = slope(parameter.detach())
        reference.step()
        move, state = rule.update(slope(z), state, i / 20)
        z = z + move
        torch.testing.assert_close(z, parameter.detach())


def test_cosine_falls_from_first_to_last() -> None:
    factor = cosine(1.0, 0.2)
    assert [factor(0.0), factor(0.5), factor(1.0)] == pytest.approx([1.0, 0.6, 0.2])
    values = [factor(i / 50) for i in range(51)]
    assert values == sorted(values, reverse=True)

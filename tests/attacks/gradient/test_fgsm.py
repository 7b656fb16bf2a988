"""fgsm is one exact step: the closed form on linear models, in every norm."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attacks.gradient.fgsm import fgsm
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.core.projections import within
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.strategies import images, seeds, shapes

NORMS = (1.0, 2.0, inf)


def nobody(count: int) -> Draws:
    return Draws(0, torch.arange(count))


@pytest.mark.slow
@given(shapes(largest=4), seeds(), st.sampled_from(NORMS), st.booleans())
def test_two_classes_fall_exactly_where_eps_exceeds_the_distance(
    shape: tuple[int, int, int], seed: int, norm: float, targeted: bool
) -> None:
    problem = linear_problem(shape, 2, 5, seed)
    goal = 1 - problem.y if targeted else problem.y
    for i, distance in enumerate(problem.distance(norm).tolist()):
        for factor in (0.999, 1.001):
            x_adv = fgsm(
                problem.model,
                problem.x[i : i + 1],
                goal[i : i + 1],
                ThreatModel(norm, factor * distance + (factor - 1.0) * 1e-3),
                draws=nobody(1),
                targeted=targeted,
            )
            fooled = bool(problem.model(x_adv).argmax(1) != problem.y[i])
            assert fooled == (factor > 1.0)


@given(images(), seeds(), st.sampled_from(NORMS))
def test_no_admissible_point_does_better_on_a_linear_model(x: Tensor, seed: int, norm: float) -> None:
    """linf and l1 steps are exact in the box as well; an l2 step only where the box leaves it alone."""
    generator = torch.Generator().manual_seed(seed)
    model = Linear(torch.randn(2, x[0].numel(), generator=generator), torch.zeros(2))
    threat = ThreatModel(norm, 0.3 if norm == inf else 1.0)
    y, rows = torch.zeros(len(x), dtype=torch.int64), torch.arange(len(x))
    x_adv = fgsm(model, x, y, threat, draws=nobody(len(x)))

    def gain(z: Tensor) -> Tensor:
        logits = model.exact(z)
        return logits[:, 1] - logits[:, 0]

    if norm == 2.0 and not bool(((x_adv > 0.0) & (x_adv < 1.0)).all()):
        return
    for scale in (0.1, 1.0, 10.0):
        rival = within(threat, x)(x + scale * torch.randn(x.shape, generator=generator), rows)
        assert bool((gain(x_adv) >= gain(rival) - 1e-5).all())


def test_l1_step_fills_the_box_component_by_component() -> None:
    model = Linear(torch.tensor([[0.0, 0.0, 0.0, 0.0], [4.0, -3.0, 2.0, 1.0]]), torch.zeros(2))
    x = torch.tensor([0.9, 0.25, 0.5, 0.5]).reshape(1, 1, 2, 2)
    x_adv = fgsm(model, x, torch.tensor([0]), ThreatModel(1, 0.5), draws=nobody(1))
    # 0.1 fits on the first component, 0.25 below the second, the remaining 0.15 goes to the third.
    assert torch.allclose(x_adv.flatten(), torch.tensor([1.0, 0.0, 0.65, 0.5]))


@pytest.mark.parametrize("norm", NORMS)
def test_a_sample_that_is_wrong_already_is_moved_all_the_same(norm: float) -> None:
    problem = linear_problem((1, 4, 4), 3, 6, 0)
    wrong = (problem.y + 1) % 3
    x_adv = fgsm(problem.model, problem.x, wrong, ThreatModel(norm, 0.05), draws=problem.draws)
    assert lengths(x_adv - problem.x, norm).tolist() == pytest.approx([0.05] * 6, rel=1e-4)


def test_without_a_radius_it_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ConfigError, match="needs a radius"):
        fgsm(model, torch.rand(1, 1, 2, 2), torch.tensor([0]), ThreatModel(2, None), draws=nobody(1))

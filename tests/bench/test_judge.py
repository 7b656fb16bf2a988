"""The judge believes nothing: distances, box, ball and prediction are measured again."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.bench.judge import Verdict, inside, judge
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.core.sampling import on_sphere, random_start
from advbench.types import ThreatModel
from tests.strategies import images, norms


class _Brightness(nn.Module):
    """Class 1 where the mean is above one half."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(1)
        return torch.stack([0.5 - mean, mean - 0.5], 1)


def _judged(x: Tensor, x_adv: Tensor, threat: ThreatModel, target: int = -1) -> Verdict:
    label = torch.zeros(len(x), dtype=torch.int64)
    return judge(_Brightness(), x, x_adv, label=label, target=torch.full_like(label, target), threat=threat)


@given(images(), norms(), st.floats(0.0, 2.0))
def test_a_point_outside_of_the_ball_never_counts(x: Tensor, norm: float, eps: float) -> None:
    x_adv = 1.0 - x
    verdict = _judged(x, x_adv, ThreatModel(norm, min(eps, 1.0) if norm == math.inf else eps))
    exact = lengths(x_adv.double() - x.double(), norm)
    assert torch.equal(verdict.distances[norm], exact)
    assert not bool((verdict.reached & (exact > eps * 1.00001 + 1e-6)).any())


def test_success_is_decided_by_the_model_not_by_the_attack() -> None:
    x = torch.zeros(2, 1, 2, 2)
    x_adv = torch.stack([torch.full((1, 2, 2), 0.6), torch.full((1, 2, 2), 0.4)])
    verdict = _judged(x, x_adv, ThreatModel(math.inf, 0.7))
    assert verdict.reached.tolist() == [True, False]
    assert verdict.adv_pred.tolist() == [1, 0]
    assert verdict.margin_adv.tolist() == pytest.approx([-0.2, 0.2])


def test_a_target_must_be_hit() -> None:
    x = torch.zeros(1, 1, 2, 2)
    assert _judged(x, x + 0.6, ThreatModel(math.inf, 0.7), target=1).reached.tolist() == [True]
    assert _judged(x, x + 0.4, ThreatModel(math.inf, 0.7), target=1).reached.tolist() == [False]


def test_leaving_the_box_voids_a_success() -> None:
    x = torch.full((1, 1, 2, 2), 0.45)
    verdict = _judged(x, torch.full_like(x, 1.1), ThreatModel(math.inf, 0.7))
    assert verdict.in_ball.tolist() == [True]
    assert verdict.in_box.tolist() == [False]
    assert verdict.reached.tolist() == [False]


def test_a_point_that_is_no_number_is_void_and_not_stored() -> None:
    x = torch.zeros(1, 1, 2, 2)
    verdict = _judged(x, torch.full_like(x, math.nan), ThreatModel(math.inf, 1.0))
    assert torch.equal(verdict.x_adv, x)
    assert verdict.reached.tolist() == verdict.in_ball.tolist() == [False]


def test_logits_that_are_no_numbers_are_no_robustness() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x), 3), math.nan)

    x, label = torch.zeros(1, 1, 2, 2), torch.zeros(1, dtype=torch.int64)
    verdict = judge(Broken(), x, x, label=label, target=label - 1, threat=ThreatModel(2, 1.0))
    assert verdict.reached.tolist() == [True]


def test_rounding_is_forgiven_and_no_more() -> None:
    distance = torch.tensor([0.3, 0.3 * (1 + 9e-7), 0.3001], dtype=torch.float64)
    assert inside(distance, ThreatModel(2, 0.3), size=784).tolist() == [True, True, False]
    assert inside(distance, ThreatModel(1, 0.3), size=784).tolist() == [True, True, False]
    assert inside(distance, ThreatModel(2, None), size=784).tolist() == [True, True, True]


@pytest.mark.parametrize(("shape", "eps"), [((1, 28, 28), 0.1), ((3, 32, 32), 0.1), ((3, 96, 96), 1.0)])
def test_l1_noise_of_the_exact_length_is_admissible_whatever_the_size(shape: tuple[int, int, int], eps: float) -> None:
    x = torch.rand(64, *shape, generator=torch.Generator().manual_seed(0))
    threat = ThreatModel(1, eps)
    start = random_start(x, threat, Draws(0, torch.arange(64)))
    noise = (x + on_sphere(x, threat, Draws(0, torch.arange(64)))).clamp(0, 1)
    for point in (start, noise):
        verdict = _judged(x, point, threat)
        assert bool(verdict.in_ball.all())

"""HopSkipJump: its probes find the normal of a hyperplane, its examples approach the closed form."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attacks.decision import hop_skip_jump as module
from advbench.attacks.decision.hop_skip_jump import hop_skip_jump
from advbench.attacks.decision.inquiry import Inquiry
from advbench.attacks.decision.probing import probe, random_unit, unit
from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.strategies import seeds


@settings(max_examples=10)
@given(seeds(), st.integers(1, 3))
def test_the_normal_of_a_hyperplane_comes_out_of_its_labels(seed: int, samples: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    normal = unit(torch.randn(1, 12, generator=generator))
    model = Linear(torch.cat([-normal, normal]), 0.5 * torch.tensor([normal.sum(), -normal.sum()]))
    z = torch.full((samples, 1, 3, 4), 0.5)  # on the boundary
    draws = Draws(seed, torch.arange(samples))
    threat = ThreatModel(2, None)
    inquiry = Inquiry(model, z, torch.zeros(samples, dtype=torch.int64), threat, targeted=False, queries=401)
    rows = torch.arange(samples)

    def view(who: Tensor, counter: Tensor) -> tuple[Tensor, Tensor]:
        u = random_unit(draws.rows(who), z, "probe", counter)
        return u, z[who] + 0.1 * u

    sums = probe(inquiry, rows, torch.tensor([400, 70, 1])[:samples], 0, view)
    assert (sums.hits + sums.misses).tolist() == [400.0, 70.0, 1.0][:samples]
    assert inquiry.spent.tolist() == [400, 70, 1][:samples]
    cosine = (unit(sums.normal().float()).flatten(1) * normal).sum(1)
    # One decision has a mean cosine of about sqrt(2 / (pi * D)); n of them about 1 / sqrt(1 + pi * D / (2 * n)).
    assert float(cosine[0]) > 0.9


@pytest.mark.parametrize(("norm", "ratio"), [(2.0, 1.04), (math.inf, 1.1)])
def test_its_examples_approach_the_closed_form(norm: float, ratio: float) -> None:
    problem = linear_problem((3, 2, 3), 2, 6, 0)
    x_adv = hop_skip_jump(
        problem.model, problem.x, problem.y, ThreatModel(norm, None), draws=problem.draws, queries=2500
    )
    assert bool((problem.model(x_adv).argmax(1) != problem.y).all())
    assert bool((lengths(x_adv - problem.x, norm) <= ratio * problem.distance(norm)).all())


@pytest.mark.slow
def test_probes_of_large_images_are_longer_than_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the paper's radius, 1 / D of the distance, the labels of linf probes are noise from 3 x 64 x 64 on."""

    class Behind(nn.Module):
        """Class 1 behind a hyperplane at 0.35 from the grey image."""

        def forward(self, z: Tensor) -> Tensor:
            beyond = (z - 0.5).flatten(1) @ normal
            return torch.stack([torch.full_like(beyond, 0.35), beyond], 1)

    generator = torch.Generator().manual_seed(0)
    normal = unit(torch.randn(1, 3 * 64 * 64, generator=generator))[0]
    x = 0.3 + 0.4 * torch.rand(4, 3, 64, 64, generator=generator)
    model, y = Behind(), torch.zeros(4, dtype=torch.int64)
    assert bool((model(x).argmax(1) == y).all())

    def distances() -> Tensor:
        draws = Draws(0, torch.arange(4))
        x_adv = hop_skip_jump(model, x, y, ThreatModel(math.inf, None), draws=draws, queries=1500)
        return lengths(x_adv - x, math.inf)

    now = distances()
    monkeypatch.setattr(module, "_LEAST_PROBE", 0.0)
    assert bool((now < 0.75 * distances()).all())


def test_by_hand() -> None:
    # Class 1 where the first pixel exceeds 0.75: from 0.25 the nearest example changes that pixel alone, by 0.5.
    model = Linear(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([0.0, -0.75]))
    x, y = torch.tensor([[[[0.25, 0.6]]]]), torch.tensor([0])
    x_adv = hop_skip_jump(model, x, y, ThreatModel(2, None), draws=Draws(0, torch.tensor([3])), queries=600)
    assert float(x_adv[0, 0, 0, 0]) == pytest.approx(0.75, abs=2e-3)
    assert float(x_adv[0, 0, 0, 1]) == pytest.approx(0.6, abs=0.1)


def test_bad_parameters_are_refused() -> None:
    problem = linear_problem((1, 2, 2), 2, 2, 0)
    for wrong in ({"queries": 0}, {"first_probes": 0}, {"most_probes": 0}, {"gamma": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            hop_skip_jump(problem.model, problem.x, problem.y, ThreatModel(2, None), draws=problem.draws, **wrong)

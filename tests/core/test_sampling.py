"""Random perturbations have the length they claim and the distribution they claim."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from advbench.core.draws import Draws
from advbench.core.norms import lengths
from advbench.core.sampling import in_ball, on_sphere, random_start
from advbench.types import ThreatModel
from tests.strategies import images, norms, seeds, threats

MANY, SHAPE = 4000, (1, 2, 3)
D = math.prod(SHAPE)


def many(norm: float, eps: float) -> tuple[Tensor, ThreatModel, Draws]:
    return torch.full((MANY, *SHAPE), 0.5), ThreatModel(norm, eps), Draws(0, torch.arange(MANY))


def pvalue(values: Tensor, cdf: str | Callable[[object], object]) -> float:
    return float(stats.kstest(values.double().numpy(), cdf).pvalue)


@given(images(), threats(allowed=(1.0, 2.0, math.inf)), seeds())
def test_on_the_sphere_the_length_is_eps(x: Tensor, threat: ThreatModel, seed: int) -> None:
    delta = on_sphere(x, threat, Draws(seed, torch.arange(len(x))))
    assert delta.shape == x.shape
    assert lengths(delta.double(), threat.norm).tolist() == pytest.approx([threat.eps] * len(x), rel=1e-5)


@given(images(), threats(), seeds())
def test_in_the_ball_the_length_is_at_most_eps(x: Tensor, threat: ThreatModel, seed: int) -> None:
    delta = in_ball(x, threat, Draws(seed, torch.arange(len(x))))
    assert delta.shape == x.shape
    assert max(lengths(delta.double(), threat.norm).tolist()) <= float(threat.eps or 0.0) * (1 + 1e-6)


@given(images(), threats(), seeds())
def test_a_random_start_is_admissible(x: Tensor, threat: ThreatModel, seed: int) -> None:
    z = random_start(x, threat, Draws(seed, torch.arange(len(x))))
    assert bool(((z >= 0) & (z <= 1)).all())
    rounding = x[0].numel() * 2.0**-24 if threat.norm else 0.0
    assert (
        max(lengths(z.double() - x.double(), threat.norm).tolist()) <= float(threat.eps or 0.0) * (1 + 1e-6) + rounding
    )


@settings(max_examples=40)
@given(st.data(), threats(), seeds())
def test_a_perturbation_does_not_depend_on_the_batch(data: st.DataObject, threat: ThreatModel, seed: int) -> None:
    x = data.draw(images(batch=st.just(3)))
    draws, rows = Draws(seed, torch.tensor([5, 0, 9])), torch.tensor([2, 0])
    for make in (on_sphere, in_ball, random_start):
        together = make(x, threat, draws, 4)
        torch.testing.assert_close(make(x[rows], threat, draws.rows(rows), 4), together[rows], rtol=1e-6, atol=1e-7)


@given(norms(), st.sampled_from([on_sphere, in_ball]))
def test_another_counter_is_another_perturbation(norm: float, make: object) -> None:
    x, threat = torch.full((1, 1, 8, 8), 0.5), ThreatModel(norm, 8.0 if norm == 0 else 0.5)
    draws = Draws(0, torch.arange(1))
    sampler = on_sphere if make is on_sphere else in_ball
    assert not torch.equal(sampler(x, threat, draws, 0), sampler(x, threat, draws, 1))


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_the_ball_is_filled_evenly(norm: float) -> None:
    """The share of the ball within radius r is r^D, in every norm."""
    delta = in_ball(*many(norm, 0.7))
    radius = lengths(delta, norm) / 0.7
    assert pvalue(radius**D, "uniform") > 0.01
    half = delta.flatten(1)[:, 0] > 0
    assert abs(float(half.double().mean()) - 0.5) < 0.03


def test_the_l2_sphere_is_covered_evenly() -> None:
    """A coordinate u of a uniform point of the unit sphere has (1 + u) / 2 ~ Beta((D - 1) / 2, (D - 1) / 2)."""
    u = on_sphere(*many(2.0, 0.5)).flatten(1) / 0.5
    for axis in range(D):
        assert pvalue((1 + u[:, axis]) / 2, stats.beta((D - 1) / 2, (D - 1) / 2).cdf) > 0.001


def test_the_l1_sphere_is_covered_evenly() -> None:
    """The sizes of its components are uniform on the simplex: each ~ Beta(1, D - 1); the signs are fair."""
    u = on_sphere(*many(1.0, 0.5)).flatten(1) / 0.5
    for axis in range(D):
        assert pvalue(u[:, axis].abs(), stats.beta(1, D - 1).cdf) > 0.001
    assert float(u.sign().mean(0).abs().max()) < 0.06


def test_the_linf_sphere_is_met_at_its_corners_and_the_cube_is_even() -> None:
    corners = on_sphere(*many(math.inf, 0.25)).flatten(1)
    assert set(corners.abs().unique().tolist()) == {0.25}
    patterns = ((corners[:, :3] > 0) * torch.tensor([1, 2, 4])).sum(1).bincount()
    assert stats.chisquare(patterns.numpy()).pvalue > 0.01
    assert pvalue(in_ball(*many(math.inf, 0.25)).flatten() / 0.5 + 0.5, "uniform") > 0.01


def test_l0_flips_as_many_components_as_allowed_to_an_end_of_the_box() -> None:
    x, threat, draws = many(0.0, 3.9)
    x = 0.2 + 0.6 * draws.uniform(SHAPE, "image")
    z = (x + on_sphere(x, threat, draws)).flatten(1)
    changed = z != x.flatten(1)
    assert changed.sum(1).unique().tolist() == [3]
    assert z[changed].round(decimals=5).unique().tolist() == [0.0, 1.0]
    assert stats.chisquare(changed.sum(0).numpy()).pvalue > 0.01
    count = lengths(in_ball(x, threat, draws), 0.0).long().bincount()
    assert len(count) == 4
    assert stats.chisquare(count.numpy()).pvalue > 0.01


@given(images(), threats(), seeds())
def test_radius_zero_moves_nothing(x: Tensor, threat: ThreatModel, seed: int) -> None:
    draws = Draws(seed, torch.arange(len(x)))
    for make in (on_sphere, in_ball):
        assert not make(x, threat.at(0.0), draws).any()
    assert torch.equal(random_start(x, threat.at(0.0), draws), x)


@given(threats())
def test_an_empty_batch_stays_empty(threat: ThreatModel) -> None:
    x, draws = torch.zeros(0, 3, 2, 2), Draws(0, torch.arange(0))
    for make in (on_sphere, in_ball, random_start):
        assert make(x, threat, draws).shape == x.shape


@given(threats(), st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
def test_a_perturbation_is_of_the_images_dtype(threat: ThreatModel, dtype: torch.dtype) -> None:
    x, draws = torch.full((2, 3, 2, 2), 0.5, dtype=dtype), Draws(0, torch.arange(2))
    for make in (on_sphere, in_ball, random_start):
        assert make(x, threat, draws).dtype == dtype


def test_l0_flips_in_float64_end_at_the_box_and_not_where_float32_has_it() -> None:
    x, threat = torch.full((1, 1, 4, 4), 0.5, dtype=torch.float64), ThreatModel(0, 16.0, 0.1, 0.7)
    z = x + on_sphere(x, threat, Draws(0, torch.arange(1)))
    assert z.unique().tolist() == pytest.approx([0.1, 0.7], abs=1e-15)


@given(norms())
def test_without_a_radius_there_is_nothing_to_sample(norm: float) -> None:
    x, draws = torch.zeros(1, 1, 2, 2), Draws(0, torch.arange(1))
    for make in (on_sphere, in_ball):
        with pytest.raises(ValueError, match="needs a radius"):
            make(x, ThreatModel(norm, None), draws)

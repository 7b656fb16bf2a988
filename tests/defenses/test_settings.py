"""Training settings: what is refused, and what the schedules give."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbench.defenses.schedules import SCHEDULES
from advbench.defenses.settings import Training
from advbench.types import ConfigError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 1.5),
        ("epochs", True),
        ("batch_size", 0),
        ("held_out", -1),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr", "fast"),
        ("weight_decay", -0.1),
        ("momentum", 1.0),
        ("eps_ramp", 1.1),
        ("optimizer", "rmsprop"),
        ("schedule", "step"),
        ("augment", "cutout"),
        ("precision", "float16"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"training.{name} must be .*, got {value!r}"):
        replace(Training(), **{name: value})  # type: ignore[arg-type]


def test_whole_numbers_and_floats_are_the_same_settings() -> None:
    assert repr(Training(lr=1, eps_ramp=0)) == repr(Training(lr=1.0, eps_ramp=0.0))  # type: ignore[arg-type]


@given(st.sampled_from(sorted(SCHEDULES)), st.floats(0.0, 0.999))
def test_the_rate_stays_between_zero_and_lr(name: str, progress: float) -> None:
    training = Training(lr=0.1, schedule=name)  # type: ignore[arg-type]
    assert 0.0 < training.rate(progress) <= 0.1


def test_one_cycle_climbs_to_the_largest_rate_at_three_tenths_and_falls_to_nothing() -> None:
    training = Training(lr=1.0, schedule="one_cycle")
    rates = [training.rate(i / 100) for i in range(100)]
    assert rates[0] == pytest.approx(0.04)
    assert max(rates) == rates[30] == pytest.approx(1.0)
    assert rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert rates[-1] < 0.001


def test_cosine_is_half_way_down_in_the_middle() -> None:
    assert Training(lr=2.0, schedule="cosine").rate(0.5) == pytest.approx(1.0)


@given(st.floats(0.0, 1.0, exclude_min=True), st.floats(0.0, 1.0))
def test_the_radius_grows_with_the_training_up_to_eps(progress: float, eps_ramp: float) -> None:
    training = Training(eps_ramp=eps_ramp)
    assert 0.0 < training.ramp(progress) <= 1.0
    assert (training.ramp(progress) == 1.0) == (progress >= eps_ramp)
    assert training.ramp(1.0) == 1.0

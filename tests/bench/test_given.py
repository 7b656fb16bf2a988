"""given: KEY=VALUE as the argument of a registered function."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import pytest

from advbench.bench.given import given
from advbench.registry import ATTRIBUTIONS, SYNTHESES
from advbench.types import ConfigError, Json


def _parameter(annotation: object) -> inspect.Parameter:
    return inspect.Parameter("own", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (Sequence[int], 60, (60,)),
        (Sequence[int] | None, 60, (60,)),
        (Sequence[int] | None, None, None),
        (Sequence[int], [60, 30], (60, 30)),
        (Sequence[float], 0.1, (0.1,)),
        (tuple[float, ...], 0.1, (0.1,)),
        (Sequence[str] | None, "relu4", ("relu4",)),
        (float | Sequence[float], 0.1, 0.1),
    ],
)
def test_one_value_stands_for_a_list_of_one(annotation: object, value: Json, expected: object) -> None:
    assert given("method", _parameter(annotation), value) == expected


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (Sequence[int], "many", "--param method.own must be an integer, got 'many'"),
        (Sequence[int], 0.5, "--param method.own must be an integer, got '0.5'"),
        (tuple[int, int, int], 8, "--param method.own must be a list of an integer, an integer, an integer, got '8'"),
    ],
)
def test_what_does_not_fit_is_refused(annotation: object, value: Json, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        given("method", _parameter(annotation), value)


def test_the_steps_of_style_and_the_areas_of_a_mask() -> None:
    assert given("style", SYNTHESES["style"].parameters()["steps"], 60) == (60,)
    own = ATTRIBUTIONS["extremal_perturbation"].parameters()["areas"]
    assert given("extremal_perturbation", own, 0.2) == (0.2,)

"""Targets: what is read off a forward pass, by function and by text."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.gradients import in_pieces
from advbench.core.scoring import all_rows, score_gradient, scores_at, turns
from advbench.core.targets import (
    as_target,
    energy,
    log_probability,
    logit,
    of_output,
    parse_target,
    plus,
    probability,
    times,
    unit,
)
from advbench.types import ConfigError
from tests.attributions.small_nets import pooled_net, tiny_vit


def scene() -> tuple[nn.Module, Tensor, Tensor]:
    x = torch.rand(4, 3, 9, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return pooled_net().double(), x, torch.arange(4)


@given(st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 3), st.integers(0, 3))
def test_scores_and_gradients_are_linear_in_the_target(a: float, b: float, first: int, second: int) -> None:
    model, x, rows = scene()
    one, two = logit(first), log_probability(second)
    both = score_gradient(model, x, plus(times(a, one), times(b, two)), rows)
    for mixed, each, other in zip(
        both, score_gradient(model, x, one, rows), score_gradient(model, x, two, rows), strict=True
    ):
        assert torch.allclose(mixed, a * each + b * other, atol=1e-12)


def test_the_gradient_of_a_log_probability_takes_away_what_all_classes_gain() -> None:
    model, x, rows = scene()
    chance = model(x).softmax(1).detach()
    every = [score_gradient(model, x, logit(k), rows)[1] for k in range(4)]
    mean = sum(chance[:, k].reshape(4, 1, 1, 1) * every[k] for k in range(4))
    assert torch.allclose(score_gradient(model, x, log_probability(2), rows)[1], every[2] - mean, rtol=1e-10)


def test_classes_for_each_sample_follow_the_rows() -> None:
    model, x, rows = scene()
    y = torch.tensor([3, 1, 0, 2])
    expected = model(x).gather(1, y[:, None])[:, 0]
    assert torch.equal(scores_at(model, x, as_target(y), rows), expected)
    assert torch.equal(scores_at(model, x[2:], as_target(y), rows[2:]), expected[2:])


def test_units_of_a_layer() -> None:
    model, x, rows = scene()
    maps = model[:3](x)  # type: ignore[index]
    assert torch.allclose(scores_at(model, x, unit("2", 5), rows), maps[:, 5].mean((1, 2)))
    assert torch.equal(scores_at(model, x, unit("2", 5, (1, 3)), rows), maps[:, 5, 1, 3])
    assert torch.equal(scores_at(model, x, unit("2", 5, "centre"), rows), maps[:, 5, 2, 2])
    assert torch.equal(scores_at(model, x, unit("2", 5, "max"), rows), maps[:, 5].flatten(1).amax(1))
    assert torch.allclose(scores_at(model, x, unit("6", 1), rows), model(x)[:, 1])


def test_tokens_have_their_channels_last() -> None:
    vit, x = tiny_vit(), torch.rand(2, 3, 16, 16)
    seen: list[Tensor] = []
    handle = vit.encoder.layers[0].register_forward_hook(lambda module, given, output: seen.append(output))  # type: ignore[union-attr, operator, index]
    vit(x)
    handle.remove()
    layer = "encoder.layers.encoder_layer_0"
    assert torch.allclose(scores_at(vit, x, unit(layer, 3), all_rows(x)), seen[0][:, :, 3].mean(1), atol=1e-6)


def test_the_gradient_of_the_energy_is_the_activation() -> None:
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(4, 2))
    x = torch.randn(3, 1, 2, 2)
    assert torch.allclose(score_gradient(model, x, energy("0"), all_rows(x))[1], x)


NAMED = {
    "class:3": logit(3),
    "log_prob:1": log_probability(1),
    "prob:0": probability(0),
    "2:5": unit("2", 5),
    "2:5@1,3": unit("2", 5, (1, 3)),
    "2:5@centre": unit("2", 5, "centre"),
    "2:5@max": unit("2", 5, "max"),
    "3": energy("3"),
    "class:3 - class:1": plus(logit(3), times(-1.0, logit(1))),
    "2 * class:3 + 0.5 * 2:5": plus(times(2.0, logit(3)), times(0.5, unit("2", 5))),
}


@pytest.mark.parametrize("text", NAMED)
def test_text_names_targets(text: str) -> None:
    model, x, rows = scene()
    target = parse_target(text)
    assert target.name == text
    assert torch.allclose(scores_at(model, x, target, rows), scores_at(model, x, NAMED[text], rows))


@pytest.mark.parametrize("text", ["", "class:", "class:x", "2:5@1", "2:5@top", "two * class:1", "class:1 - ", "a b:3@"])
def test_text_that_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="target"):
        parse_target(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class:4", r"classes are 0 \.\. 3"),
        ("2:8", r"channels are 0 \.\. 7"),
        ("2:0@9,0", "5 rows and 4 columns"),
        ("6:0@1,1", "no rows and columns"),
        ("9:0", "no layer named '9'"),
    ],
)
def test_what_the_model_does_not_have_is_refused(text: str, message: str) -> None:
    model, x, rows = scene()
    with pytest.raises(ConfigError, match=message):
        scores_at(model, x, parse_target(text), rows)


def test_any_function_of_the_output() -> None:
    model, x, rows = scene()
    spread = of_output(lambda output: output.amax(1) - output.amin(1))
    assert torch.equal(scores_at(model, x, spread, rows), model(x).amax(1) - model(x).amin(1))


@given(st.integers(0, 50), st.integers(0, 40), st.integers(1, 60))
def test_turns_cover_every_variant_once_and_fit(count: int, batch: int, size: int) -> None:
    with in_pieces(size):
        ranges = list(turns(count, batch))
    assert [i for each in ranges for i in each] == list(range(count))
    assert all(len(each) * batch <= max(size, batch) for each in ranges)

"""Which methods run with which parameters, and that the maps are those of the methods."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advbench.attributions.explain import explain
from advbench.bench.asked_scores import asked_scores
from advbench.bench.explanation import MAP, PIECE, RANDOM_WEIGHTS, SHUFFLED, Question, methods, panels, shuffled
from advbench.types import ConfigError

K = 4


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(180, K)).eval()


def question(
    count: int = 2, names: tuple[str, ...] = ("saliency",), *, top: int = 1, controls: bool = False
) -> Question:
    x = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    model = net()
    asked = asked_scores(model(x).detach(), [str(k) for k in range(K)], classes=(), targets=(), top=top)
    return Question(x, asked, methods(names, {}, layer=None), [model], [net(1)] if controls else [])


@pytest.mark.parametrize("count", [1, PIECE, PIECE + 3])
def test_the_maps_are_those_of_the_method(count: int) -> None:
    asked = question(count, top=2)
    made = panels(asked)
    assert len(made) == 2 * count
    ranked = asked.nets[0](asked.x).topk(2).indices
    for panel in made:
        expected = explain("saliency", asked.nets[0], asked.x, ranked[:, panel.asked])[panel.sample]
        torch.testing.assert_close(panel.heat, expected, atol=1e-6, rtol=1e-5)


def test_controls_are_random_weights_and_the_map_shuffled() -> None:
    asked = question(controls=True)
    made = panels(asked)
    assert [panel.control for panel in made if panel.sample == 0] == [MAP, RANDOM_WEIGHTS, SHUFFLED]
    own, other, mixed = (panel.heat for panel in made if panel.sample == 0)
    assert not torch.allclose(own, other)
    assert torch.equal(own.flatten().sort().values, mixed.flatten().sort().values)
    best = asked.nets[0](asked.x).argmax(1)
    torch.testing.assert_close(other, explain("saliency", asked.random_nets[0], asked.x, best)[0])


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 99))
def test_shuffling_moves_places_and_keeps_pixels_whole(channels: int, side: int, seed: int) -> None:
    heat = torch.arange(channels * side * side).reshape(channels, side, side)
    mixed = shuffled(heat, [seed])
    assert torch.equal(mixed, shuffled(heat, [seed]))
    columns = {tuple(column) for column in heat.flatten(1).T.tolist()}
    assert {tuple(column) for column in mixed.flatten(1).T.tolist()} == columns


def test_what_is_being_done_is_told() -> None:
    told: list[str] = []
    asked = question(top=2)
    panels(asked, told.append)
    assert told[0] == "saliency, score 1 of 2: 0 images seen"
    assert told[-1] == "saliency, score 2 of 2: 2 images seen"
    assert not asked.nets[0]._forward_pre_hooks


def test_parameters_go_to_the_methods_that_have_them() -> None:
    first, second = methods(["saliency", "grad_cam@2"], {"relu": False}, layer="0", nets=2)
    assert (dict(first.params), first.net) == ({}, 0)
    assert (dict(second.params), second.net) == ({"relu": False, "layer": "0"}, 1)
    assert "relu no" in second.settings
    (only,) = methods(["grad_cam"], {"grad_cam.relu": False}, layer=None)
    assert only.params == {"relu": False}


@pytest.mark.parametrize(
    ("names", "given_", "message"),
    [
        (["grad_cam"], {"rel": 1}, "no parameter 'rel'; did you mean 'relu'"),
        (["grad_cam"], {"saliency.relu": True}, "no parameter 'saliency.relu'"),
        (["grad_cam"], {"relu": 3}, r"^--param grad_cam.relu must be true or false, got '3'"),
        (["grad_cam"], {"relu": [True, False]}, "one value is expected, got 2"),
        (["grad_cam"], {"relu": {"a": 1}}, "a plain value or a list is expected"),
        (["grad_cam@3"], {}, r"1 \.\. 2, got '3'"),
        (["grad_cm"], {}, "did you mean 'grad_cam'"),
        ([""], {}, "no attribution named ''"),
    ],
)
def test_mistakes_are_told_before_any_work(names: list[str], given_: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        methods(names, given_, layer=None, nets=2)  # type: ignore[arg-type]


def test_targets_of_their_own_for_each_sample_go_to_the_right_ones() -> None:
    asked = question(3)
    texts = asked_scores(
        asked.nets[0](asked.x).detach(), [str(k) for k in range(K)], classes=(), targets=("log_prob:y",), top=None
    )
    made = panels(Question(asked.x, texts, asked.methods, asked.nets))
    found = {panel.sample: panel.heat.numpy() for panel in made}
    for sample, text in enumerate(texts[0].texts):
        expected = explain("saliency", asked.nets[0], asked.x[sample : sample + 1], text)[0].numpy()
        np.testing.assert_allclose(found[sample], expected, atol=1e-6)

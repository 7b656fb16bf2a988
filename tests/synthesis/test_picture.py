"""picture: the syntheses by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import advbench as ab
from advbench.types import ConfigError
from tests.attributions.small_nets import pooled_net


def test_equal_seeds_make_equal_pictures_and_others_others() -> None:
    first, again, other = (
        ab.picture("visualize", pooled_net(), "class:1", shape=(3, 12, 12), steps=4, seed=seed) for seed in (0, 0, 1)
    )
    assert first.shape == (1, 3, 12, 12)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_number_is_a_class_and_the_target_may_be_named() -> None:
    first, *others = (
        ab.picture("visualize", pooled_net(), *args, shape=(3, 12, 12), steps=4, **named)  # type: ignore[arg-type]
        for args, named in ((("class:1",), {}), ((1,), {}), ((np.int64(1),), {}), ((), {"target": 1}))
    )
    assert all(torch.equal(first, other) for other in others)


def test_a_network_of_other_images_is_told_to_give_their_shape() -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
    with pytest.raises(ConfigError, match=r"does not take images \(3, 224, 224\): .*default of shape=, give shape="):
        ab.picture("visualize", net, 1, steps=2)
    assert ab.picture("visualize", net, 1, steps=2, shape=(1, 8, 8)).shape == (1, 1, 8, 8)


def test_several_at_once_and_methods_without_a_network() -> None:
    assert len(ab.picture("visualize", pooled_net(), "class:1", shape=(3, 12, 12), steps=2, count=3)) == 3
    assert ab.picture("wei_levoy", None, torch.rand(1, 3, 12, 12), size=(14, 15)).shape == (1, 3, 14, 15)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'visualize'"):
        ab.picture("visualise", pooled_net(), "class:1")
    with pytest.raises(ValueError, match="no parameter 'step'; did you mean 'steps'"):
        ab.picture("visualize", pooled_net(), "class:1", step=3)


@pytest.mark.parametrize(
    ("args", "params", "message"),
    [
        (("visualize", pooled_net(), "class:1234"), {}, r"class 1234: the model's classes are 0 \.\. \d+"),
        (
            ("visualize", pooled_net(), "foo"),
            {},
            "no layer named 'foo' .*; a target is class:N, .*LAYER:CHANNEL@ROW,COL",
        ),
        (("visualize", pooled_net(), 5), {}, r"class 5: the model's classes are 0 \.\. 3"),
        (("visualize", pooled_net(), 2.5), {}, r"target must be a class \(a number\), a target as text .* got 2.5"),
        (("visualize", pooled_net(), True), {}, "or a Target, got True"),
        (("visualize", pooled_net()), {}, "visualize needs 'target' behind the model"),
        (("visualize", None, "class:1"), {}, "model must be a torch.nn.Module, got None"),
        (("visualize", "vgg", "class:1"), {}, "load_model makes one from a name"),
        (
            ("visualize", pooled_net(), "class:1"),
            {"steps": 2.5},
            "visualize: steps must be an integer or None, got 2.5",
        ),
        (("visualize", pooled_net(), "class:1"), {"steps": 0}, "visualize: steps must be at least 1, got 0"),
        (("dream", pooled_net(), torch.rand(1, 3, 12, 12)), {"steps": -1}, "dream: steps must be at least 1, got -1"),
        (
            ("style", pooled_net(), torch.rand(1, 3, 12, 12), [torch.rand(1, 3, 12, 12)]),
            {"steps": [5, 0]},
            "style: steps must be at least 1, got 0",
        ),
        (("visualize", pooled_net(), "class:1"), {"shape": 8}, "visualize: shape must be a list of an integer"),
        (
            ("visualize", pooled_net(), "class:1"),
            {"shape": (1, 12, 12)},
            r"does not take images \(1, 12, 12\): .* 3 chan.*; shape= is \(channels, height, width\)",
        ),
        (("visualize", pooled_net(), "class:1"), {"count": 0}, "count must be a whole number of at least 1, got 0"),
        (("visualize", pooled_net(), "class:1"), {"seed": -1}, "seed must be a whole number >= 0, got -1"),
        (("style", pooled_net(), torch.rand(1, 3, 12, 12)), {}, "style needs 'styles' behind the model"),
        (("texture", pooled_net(), "brick.jpg"), {}, "texture: sample must be a tensor"),
        (("dream", pooled_net(), torch.rand(3, 12, 12)), {}, r"images must be \(B, C, H, W\), got shape \(3, 12, 12\)"),
        (("dream", pooled_net(), 255 * torch.rand(1, 3, 12, 12)), {}, "divide bytes by 255"),
        (("pgd", pooled_net()), {}, "'pgd' is an attack, not a synthesis"),
    ],
)
def test_bad_input_is_refused_before_work(args: tuple[object, ...], params: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ab.picture(*args, **({"steps": 2, "shape": (3, 12, 12)} if args[0] == "visualize" else {}) | params)  # type: ignore[arg-type]

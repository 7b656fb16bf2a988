"""explain: what it refuses before work, and in which words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

import advbench as ab
from advbench.core.draws import Draws
from advbench.core.targets import log_probability, logit, probability
from advbench.registry import ATTRIBUTIONS
from advbench.types import ConfigError
from tests.attributions.small_nets import SHAPES, net_with, pooled_net

X = torch.rand(2, 3, 13, 10, generator=torch.Generator().manual_seed(0))


# The rollout is the same for every class.
@pytest.mark.parametrize("method", sorted(set(ATTRIBUTIONS.names()) - {"attention_rollout"}))
@pytest.mark.parametrize("y", [4, -1])
def test_a_class_that_the_model_has_not_is_named(method: str, y: int) -> None:
    needs = ATTRIBUTIONS[method].info.needs
    model, x = net_with(needs), torch.rand(2, *SHAPES[needs])
    wanted = rf"class {y}: the model's classes are 0 \.\. 3"
    with pytest.raises(ConfigError, match=wanted):
        ab.explain(method, model, x, y)
    with pytest.raises(ConfigError, match=wanted):  # called directly, with one good class and a bad one
        ATTRIBUTIONS[method].function(model, x, torch.tensor([0, y]), draws=Draws(0, torch.arange(2)))


@pytest.mark.parametrize("target", [logit, log_probability, probability])
def test_every_target_of_classes_asks(target: object) -> None:
    with pytest.raises(ConfigError, match=r"class 9: the model's classes are 0 \.\. 3"):
        ab.explain("gradient", pooled_net(), X, target(torch.tensor([1, 9])))  # type: ignore[operator]


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "no class": ({"y": None}, "y must be a class, 2 of them or a target, got None"),
    "words": ({"y": ["cat", "dog"]}, r"y must be a class, 2 of them or a target, got \['cat', 'dog'\]"),
    "a broken class": ({"y": 1.5}, "whole numbers"),
    "channels": (
        {"x": X[:, :1]},
        r"the model does not take images \(1, 13, 10\): its layer '0' \(Conv2d\) takes 3 channels and gets 1",
    ),
    "bytes": ({"x": (255 * X).byte()}, "images must be float32 in .*, got torch.uint8"),
    "0 to 255": ({"x": 255 * X}, "divide bytes by 255"),
    "no number": ({"x": X * math.nan}, r"images must lie in \[0, 1\]"),
    "one image": ({"x": X[0], "y": 1}, r"images must be \(B, C, H, W\), got shape \(3, 13, 10\)"),
    "array": ({"x": X.numpy()}, "images must be a torch tensor"),
    "name of a model": ({"model": "small_cnn"}, "model must be a torch.nn.Module, got 'small_cnn'; load_model makes"),
    "no model": ({"model": None}, "model must be a torch.nn.Module, got None"),
    "no method": ({"method": None}, "an attribution is asked for by its name, got NoneType"),
    "an attack": ({"method": "pgd"}, "'pgd' is an attack, not an attribution"),
    "text for a number": ({"samples": "4"}, "smooth_grad: samples must be an integer, got '4'"),
    "broken number": ({"samples": 2.5}, "smooth_grad: samples must be an integer, got 2.5"),
    "negative seed": ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
    "ids": ({"sample_ids": torch.arange(3)}, r"sample_ids must be 2 whole numbers, got torch.int64 of shape \(3,\)"),
    "no target": ({"y": "foo"}, "target 'foo': no layer named 'foo' .*; a target is class:N, .* LAYER:CHANNEL@ROW,COL"),
    "two targets": ({"y": "class:3 class:5"}, r"target 'class:3 class:5': no layer .*a sum of these such as class:3 -"),
    "layer by number": ({"method": "grad_cam", "layer": 0}, "grad_cam: layer must be a word or None, got 0"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused(change: dict[str, object], message: str) -> None:
    call: dict[str, object] = {"method": "smooth_grad", "model": pooled_net(), "x": X, "y": torch.tensor([0, 1])}
    with pytest.raises(ConfigError, match=message):
        ab.explain(**(call | change))  # type: ignore[arg-type]


def test_the_networks_own_error_is_the_cause() -> None:
    with pytest.raises(ConfigError) as caught:
        ab.explain("gradient", pooled_net(), X[:, :1], 0)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_other_errors_come_through() -> None:
    """An error that is not about the images must not be explained away."""

    class Moody(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Moody.calls += 1
            if Moody.calls == 1:
                raise RuntimeError("out of memory")
            return x.flatten(1)[:, :4]

    with pytest.raises(RuntimeError, match="out of memory"):
        ab.explain("gradient", Moody(), X, 0)


@pytest.mark.parametrize("ids", [[3, 8], torch.tensor([3, 8]), torch.tensor([3, 8], dtype=torch.int32)])
def test_sample_ids_may_be_any_whole_numbers(ids: Sequence[int] | Tensor) -> None:
    heat = ab.explain("smooth_grad", pooled_net(), X, 0, sample_ids=ids)
    assert torch.equal(heat, ab.explain("smooth_grad", pooled_net(), X, 0, sample_ids=torch.tensor([3, 8])))

"""Why a network does not take images is said in words of layers, channels and types, not in PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from advbench.attributions.explain import explain
from advbench.bench.evaluate import evaluate
from advbench.models.refusal import refusal
from advbench.synthesis.picture import picture
from advbench.types import ConfigError, ThreatModel

OTHERS = [torch.float64, torch.float16, torch.bfloat16]
X, Y = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(4, dtype=torch.int64)


class Casting(nn.Module):
    """Computes in another type than that of its images, and answers in it."""

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.dtype = net.to(dtype), dtype

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x.to(self.dtype))
        return logits


class Plain(nn.Module):
    """A network without layers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(5, 64))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


def network() -> nn.Module:
    layers = (nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    return nn.Sequential(*layers).eval()


CALLS: dict[str, Callable[[nn.Module], object]] = {
    "evaluate": lambda net: evaluate(net, X, Y, threat=ThreatModel(math.inf, 0.1), steps=2),
    "explain": lambda net: explain("saliency", net, X, Y),
    "picture": lambda net: picture("visualize", net, "class:1", shape=(1, 8, 8), steps=2),
}


@pytest.mark.parametrize("dtype", OTHERS, ids=str)
@pytest.mark.parametrize("call", CALLS)
def test_parameters_of_another_type_are_named_with_what_to_do(call: str, dtype: torch.dtype) -> None:
    name = str(dtype).split(".")[1]
    message = rf"the parameters of its layer '0' \(Conv2d\) are {name} and it gets float32; call model\.float\(\)"
    with pytest.raises(ConfigError, match=message):
        CALLS[call](network().to(dtype))
    CALLS[call](network().to(dtype).float())


@pytest.mark.parametrize("call", ["evaluate", "explain"])
def test_a_network_without_layers_is_named_itself(call: str) -> None:
    with pytest.raises(ConfigError, match=r"the parameters of Plain are float64 and it gets float32"):
        CALLS[call](Plain().double())


@pytest.mark.parametrize("dtype", OTHERS, ids=str)
def test_a_network_may_compute_in_another_type_if_it_casts(dtype: torch.dtype) -> None:
    for call in CALLS.values():
        call(Casting(network(), dtype))


def test_where_its_answers_do_not_do_their_type_is_named() -> None:
    with pytest.raises(ConfigError, match=r"must return float32 logits, it returned float16; end it with \.float\(\)"):
        explain("integrated_gradients", Casting(network(), torch.float16), X, Y)


def test_images_of_another_type_are_named_too() -> None:
    said = refusal(network(), X.double())
    assert said.endswith("are float32 and it gets float64; let both be float32")


def test_channels_come_before_types() -> None:
    assert "takes 1 channel and gets 3" in refusal(network().double(), torch.rand(1, 3, 8, 8))

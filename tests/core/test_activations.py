"""Reading inside a network changes nothing in it and sees what a forward pass by hand would see."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from advbench.attributions.lrp import lrp
from advbench.core.activations import Partial, layer_names, record
from advbench.core.layer_order import depth_of
from advbench.core.receptive_field import Unit, receptive_fields
from advbench.core.targets import energy, scores
from advbench.diagnostics.layer_distance import layer_distance
from advbench.features.activations import activations
from advbench.types import ConfigError


def net(in_place: bool = False) -> nn.Sequential:
    """conv, relu, pool, conv, relu, head; its weights from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(in_place), nn.AvgPool2d(2), nn.Conv2d(3, 4, 1))
        return nn.Sequential(body, nn.ReLU(in_place), nn.Sequential(nn.Flatten(), nn.Linear(16, 5))).eval()


def images() -> Tensor:
    return torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def interrupt_after(claim: bool) -> None:
    assert claim
    raise KeyboardInterrupt


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize("in_place", [False, True])
def test_recorded_outputs_are_those_of_each_layer_before_what_follows(in_place: bool) -> None:
    model, x = net(in_place), images()
    plain = net(False)
    with record(model, ["0.0", "0.1", "0.3", "1"]) as outputs:
        logits = model(x)
    expected = {"0.0": plain[0][0](x)}
    expected["0.1"] = expected["0.0"].relu()
    expected["0.3"] = plain[0](x)
    expected["1"] = expected["0.3"].relu()
    assert bool((expected["0.3"] < 0).any())  # else a ReLU in place could not be noticed
    assert set(outputs) == set(expected)
    for layer, output in expected.items():
        torch.testing.assert_close(outputs[layer], output)
    assert torch.equal(logits, plain(x))


@pytest.mark.parametrize("in_place", [False, True])
def test_gradients_flow_from_the_record_to_the_image_and_from_the_logits_to_the_record(in_place: bool) -> None:
    model, x = net(in_place), images().requires_grad_(True)
    with record(model, ["0.3"]) as outputs:
        logits = model(x)
    (to_image,) = torch.autograd.grad(outputs["0.3"].square().sum(), x, retain_graph=True)
    assert to_image.any()
    (to_layer,) = torch.autograd.grad(logits[:, 2].sum(), outputs["0.3"])
    plain = net(False)
    inner = plain[0](x.detach()).detach().requires_grad_(True)
    (expected,) = torch.autograd.grad(plain[2](plain[1](inner))[:, 2].sum(), inner)
    torch.testing.assert_close(to_layer, expected)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_partial_pass_copies_only_what_is_written_over(in_place: bool) -> None:
    model, plain, x = net(in_place), net(False), images().requires_grad_(True)
    layers = ["0.0", "0.1", "0.3", "1"]
    partial = Partial(model, layers, images())
    assert partial.overwritten == ({"0.0", "0.3"} if in_place else set())
    found = partial(x)
    with record(plain, layers) as expected:
        plain(x)
    for layer in layers:
        torch.testing.assert_close(found[layer], expected[layer])
        slopes = [torch.autograd.grad(each[layer].sum(), x, retain_graph=True)[0] for each in (found, expected)]
        torch.testing.assert_close(*slopes)
    with torch.inference_mode():
        torch.testing.assert_close(Partial(model, layers, images())(images())["1"], expected["1"].detach())


def test_each_forward_pass_fills_the_record_anew() -> None:
    model, x = net(), images()
    with record(model, ["0.0"]) as outputs:
        assert outputs == {}
        model(x)
        first = outputs["0.0"]
        model(x + 1.0)
        assert not torch.equal(outputs["0.0"], first)


@pytest.mark.parametrize("where", ["inside", "in the model", "in the names"])
def test_hooks_are_gone_afterwards_also_on_exceptions(where: str) -> None:
    model = net()
    if where == "in the names":
        with pytest.raises(ConfigError), record(model, ["0.0", "nowhere"]):
            pass
    elif where == "in the model":
        with pytest.raises(RuntimeError), record(model, ["0.0"]):
            model(torch.rand(2, 7, 6, 6))
    else:
        with pytest.raises(KeyboardInterrupt), record(model, ["0.0", "1"]):
            interrupt_after(hooks(model) == 2 + 4)  # of the layers; of the image, both convolutions, the head
    assert hooks(model) == 0


def test_an_unknown_layer_is_named_with_those_there_are() -> None:
    with (
        pytest.raises(ConfigError, match=r"no layer named 'nowhere' in Sequential; layers: 0, 0\.0, 0\.1"),
        record(net(), ["0.0", "nowhere"]),
    ):
        pass


def test_layers_are_listed_in_order() -> None:
    assert layer_names(net()) == ["0", "0.0", "0.1", "0.2", "0.3", "1", "2", "2.0", "2.1"]


class Wandering(nn.Module):
    """A network with a head that its forward pass leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head_a, self.head_b = nn.Conv2d(1, 2, 3), nn.Linear(32, 3), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head_a(self.body(x).flatten(1))
        return out


X = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
LOOKS: dict[str, Callable[[nn.Module], object]] = {
    "target": lambda model: scores(model, X, energy("head_b"), torch.arange(2)),
    "partial": lambda model: Partial(model, ["body", "head_b"], X),
    "relevance": lambda model: lrp(model, X, energy("head_b")),
    "features": lambda model: activations(model, X, "head_b"),
    "distance": lambda model: layer_distance(model, X, X, layers=["body", "head_b"]),
    "receptive field": lambda model: receptive_fields(model, "head_b", [Unit(0, 0, 0)], (1, 6, 6)),
    "depth": lambda model: depth_of(model, "head_b", X),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_layer_that_the_pass_leaves_out_is_named_everywhere_alike(look: Callable[[nn.Module], object]) -> None:
    wanted = "layer 'head_b' of Wandering takes no part in its forward pass; did you mean 'head_a'?"
    with pytest.raises(ConfigError, match=re.escape(wanted)):
        look(Wandering().eval())

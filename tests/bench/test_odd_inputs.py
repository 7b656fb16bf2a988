"""Networks and data as people bring them: each works, or is refused with what to do."""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from advbench.bench.evaluate import evaluate
from advbench.models.check import warn_if_unsteady
from advbench.types import ConfigError, Outcomes, ThreatModel

X = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
THREAT = ThreatModel(math.inf, 0.05)


def network(channels: int = 1, dropout: float = 0.0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        layers = (nn.Conv2d(channels, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout), nn.Flatten())
        return nn.Sequential(*layers, nn.Linear(288, 5)).eval()


class Answering(nn.Module):
    """A network that hands out something else: answer(net, x)."""

    def __init__(self, answer: Callable[[nn.Module, Tensor], object], net: nn.Module | None = None) -> None:
        super().__init__()
        self.net, self.answer = network() if net is None else net, answer

    def forward(self, x: Tensor) -> object:
        return self.answer(self.net, x)


def labels(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(X).argmax(1)


def attacked(model: nn.Module, x: object = X, y: object = None, **how: object) -> Outcomes:
    given = torch.zeros(len(X), dtype=torch.int64) if y is None else y
    return evaluate(model, x, given, attack="fgsm", threat=THREAT, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda net, x: (net(x), x), r"returned tuple; wrap it in a module that returns model\(x\)\[0\]"),
        (lambda net, x: (x, net(x)), r"returned tuple; wrap it in a module that returns model\(x\)\[1\]"),
        (lambda net, x: OrderedDict(logits=net(x)), r"OrderedDict; wrap it in a module that returns model\(x\)\['log"),
        (lambda net, x: {"loss": net(x).sum()}, "returned dict$"),
        (lambda net, x: None, "returned NoneType$"),
        (lambda net, x: net(x)[:, 0], r"must return logits \(1, K\) for 1 images, it returned \(1,\)"),
        (lambda net, x: net(x)[:, :1], r"one number per image.* torch\.cat\(\[-z, z\], 1\)"),
        (lambda net, x: net(x).softmax(1), "remove its softmax"),
        (lambda net, x: net(x) / 0 * 0, "not finite"),
    ],
)
def test_answers_that_are_no_logits_are_refused(answer: Callable[[nn.Module, Tensor], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        attacked(Answering(answer))


def test_decisions_are_enough_for_an_attack_that_sees_no_more() -> None:
    net = Answering(lambda net, x: nn.functional.one_hot(net(x).argmax(1), 5).float())
    rows = evaluate(net, X, labels(net), attack="hop_skip_jump", threat=ThreatModel(2, None), queries=200)
    assert bool(rows.fooled.all())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch.jit's own
@pytest.mark.parametrize("make", [torch.jit.script, lambda net: torch.jit.trace(net, X[:2])])
def test_torchscript_is_refused_by_name(make: Callable[[nn.Module], nn.Module]) -> None:
    with pytest.raises(ConfigError, match=r"the model is TorchScript.* give the nn.Module that it was made from"):
        attacked(make(network()))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: net.train(),
        nn.DataParallel,
        pytest.param(lambda net: torch.compile(net, backend="eager"), marks=pytest.mark.slow),
        lambda net: Answering(lambda net, x: net(x.double()).float(), net.double()),
    ],
)
def test_a_network_in_other_clothes_gives_the_same_verdicts(wrap: Callable[[nn.Module], nn.Module]) -> None:
    y = labels(network())
    plain, dressed = attacked(network(), y=y), attacked(wrap(network(dropout=0.5)), y=y)
    assert torch.equal(dressed.robust, plain.robust)
    torch.testing.assert_close(dressed.margin_adv, plain.margin_adv, rtol=0, atol=1e-3)


def _stays_in_training(net: nn.Module, x: Tensor) -> object:
    net.train()
    return net(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Answering(lambda net, x: net(nn.functional.dropout(x, 0.5))), "differently when asked again"),
        (Answering(_stays_in_training, network(dropout=0.5)), "differently when asked again"),
        (Answering(_stays_in_training), "depends on the others in its batch"),
    ],
)
def test_a_network_that_is_not_steady_is_warned_of(model: nn.Module, message: str) -> None:
    state = torch.get_rng_state()
    with pytest.warns(UserWarning, match=message):
        warn_if_unsteady(model, X)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.warns(UserWarning, match=message):
        attacked(model)


@pytest.mark.parametrize("size", [0, 1, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_steady_one_is_not(dtype: torch.dtype, size: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_unsteady(Answering(lambda net, x: net(x.to(dtype)), network(dropout=0.5).to(dtype)), X[:size])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": torch.zeros(6, dtype=torch.int32)}, r"torch\.int32 of shape \(6,\): y\.long\(\)"),
        ({"y": torch.zeros(6, 5, dtype=torch.int64)}, r"got torch\.int64 of shape \(6, 5\)$"),
        ({"y": torch.zeros(6)}, r"got torch\.float32 of shape \(6,\)$"),
        ({"y": torch.zeros(6, dtype=torch.int64).numpy()}, r"got ndarray: torch\.as_tensor\(y\)"),
        ({"y": [0] * 6}, r"got list: torch\.as_tensor\(y\)"),
        ({"x": (X * 255).byte()}, r"got torch\.uint8: x\.float\(\) / 255"),
        ({"x": X.double()}, r"got torch\.float64: x\.float\(\)"),
        ({"x": X.numpy()}, r"got ndarray: torch\.from_numpy\(x\)"),
        ({"x": X[0]}, r"a single image is x\[None\]"),
        ({"x": list(X)}, "got list$"),
    ],
)
def test_data_of_another_kind_is_refused_with_the_way_out(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        attacked(network(), **change)


def test_channels_at_the_end_are_seen() -> None:
    with pytest.raises(ConfigError, match=r"takes 3 channels and gets 8; channels come second: x\.permute"):
        attacked(network(3), torch.rand(6, 8, 8, 3))
    with pytest.raises(ConfigError, match=r"takes 3 channels and gets 1$"):
        attacked(network(3))


def test_one_image_none_and_images_with_a_graph_work() -> None:
    y = labels(network())
    whole = attacked(network(), y=y)
    assert torch.equal(attacked(network(), X[:1], y[:1]).robust, whole.robust[:1])
    assert len(attacked(network(), X[:0], y[:0])) == 0
    graph = attacked(network(), X.clone().requires_grad_() * 1, y)
    assert torch.equal(graph.robust, whole.robust)
    assert graph.x_adv is not None
    assert not graph.x_adv.requires_grad

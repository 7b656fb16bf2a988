"""Decision-based attacks read nothing but labels: of what this model answers, nothing but argmax can be had."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from advbench.core.norms import lengths
from advbench.registry import ATTACKS, AttackInfo, Entry
from advbench.types import ThreatModel
from tests.attacks.small_nets import conv_net, images

DECISION = [entry for entry in ATTACKS if entry.info.access == "decision"]
QUERIES = 300


class Sealed(Tensor):
    """Logits that raise on every use but argmax."""

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., object],
        types: tuple[type, ...],
        arguments: tuple[object, ...] = (),
        options: Mapping[str, object] | None = None,
    ) -> object:
        if function is not Tensor.argmax and function is not torch.argmax:
            raise AssertionError(f"{getattr(function, '__name__', function)} was used on the victim's answer")
        with torch._C.DisableTorchFunctionSubclass():
            return function(*arguments, **(options or {}))


class LabelsOnly(nn.Module):
    """The answers of `model`, sealed; queries counts the images asked about."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.queries = model, 0

    def forward(self, x: Tensor) -> Tensor:
        self.queries += len(x)
        return self.model(x).detach().as_subclass(Sealed)  # type: ignore[no-any-return]


def test_the_seal_holds() -> None:
    answer = LabelsOnly(nn.Flatten())(torch.rand(2, 1, 2, 2))
    assert answer.argmax(1).shape == (2,)
    for use in (lambda: answer + 1, lambda: answer[0], lambda: answer.softmax(1), lambda: float(answer.max())):
        with pytest.raises(AssertionError, match="was used"):
            use()


@pytest.mark.parametrize("entry", DECISION, ids=[entry.name for entry in DECISION])
def test_labels_are_enough_and_queries_are_capped(entry: Entry[AttackInfo]) -> None:
    net = conv_net()
    x, y, draws = images(net, 4)
    norm = max(entry.info.norms)
    sealed = LabelsOnly(net)
    key = "tries" if "tries" in entry.parameters() else "queries"
    x_adv = entry.function(sealed, x, y, ThreatModel(norm, None), draws=draws, **{key: QUERIES})
    assert isinstance(x_adv, Tensor)
    assert sealed.queries <= (QUERIES + 1) * len(x)
    for i in range(len(x)):  # alone, so that this counter is the sample's own
        alone = LabelsOnly(net)
        row = torch.tensor([i])
        entry.function(alone, x[row], y[row], ThreatModel(norm, None), draws=draws.rows(row), **{key: QUERIES})
        assert alone.queries <= QUERIES + 1
    found = net(x_adv).argmax(1) != y
    assert bool((lengths(x_adv - x, norm)[~found] == 0).all()), "what is no example is x"


def test_some_attack_is_tried() -> None:
    assert len(DECISION) >= 6

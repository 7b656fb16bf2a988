"""Every attack that asks for gradients is found out where there are none, and none is suspected where there are."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from advbench.bench.evaluate import evaluate
from advbench.registry import ATTACKS, AttackInfo, Entry
from advbench.testing.check_attack import no_params
from advbench.types import Outcomes, ThreatModel
from tests.contracts.test_attacks import PARAMETERS

EPS = {math.inf: 0.05, 2.0: 0.5, 1.0: 2.0, 0.0: 3.0}
FOLLOWERS: list[Entry[AttackInfo]] = [entry for entry in ATTACKS if entry.info.access == "gradient"]


class Rounded(nn.Module):
    """Derivative zero wherever there is one."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 8).round() / 8


def network(first: nn.Module) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = (nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, stride=2), nn.ReLU(), nn.Flatten())
        return nn.Sequential(first, *layers, nn.Linear(54, 4)).eval()


def attacked(net: nn.Module, method: Entry[AttackInfo], norm: float, goal: str) -> tuple[Outcomes, list[str]]:
    """The rows on ten samples, and what was warned of."""
    x = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        y = net(x).argmax(1)
    params = {**PARAMETERS.get(method.name, no_params)(net), **({"module": "0"} if method.name == "bpda" else {})}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = evaluate(net, x, y, attack=method.name, threat=ThreatModel(norm, EPS[norm]), goal=goal, **params)  # type: ignore[arg-type]
    return rows, [str(warning.message) for warning in caught]


@pytest.mark.slow
@pytest.mark.parametrize("method", FOLLOWERS, ids=[entry.name for entry in FOLLOWERS])
def test_an_ordinary_network_raises_no_suspicion(method: Entry[AttackInfo]) -> None:
    for norm in method.info.norms:
        for goal in ("untargeted", "next") if method.takes("targeted") else ("untargeted",):
            rows, said = attacked(network(nn.Identity()), method, norm, goal)
            assert said == []
            assert not (rows.blind & ~rows.fooled).any()


@pytest.mark.slow
@pytest.mark.parametrize("method", FOLLOWERS, ids=[entry.name for entry in FOLLOWERS])
def test_rounded_images_do_unless_bpda_goes_past_the_rounding(method: Entry[AttackInfo]) -> None:
    rows, said = attacked(network(Rounded()), method, method.info.norms[-1], "untargeted")
    assert int(rows.robust.sum()) > 0
    assert [text.split(":")[0] for text in said] == ([] if method.name == "bpda" else [method.name])

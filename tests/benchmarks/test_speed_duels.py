"""The paired speed table: how many images a duel gets, what a row says, what the line says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from advbench.models.linear import linear
from benchmarks.peers.compare import Subjects
from benchmarks.peers.duels import Duel, duels
from benchmarks.speed.duels import FEWEST, FEWEST_SLOW, images_of, one_round, table


def test_dear_attacks_get_fewer_images() -> None:
    dear, cheap = Duel("carlini_wagner", 2.0, {}, slow=True), Duel("fgsm", math.inf, {}, 0.1)
    assert images_of(cheap, 100, 20_000) == 100
    assert images_of(dear, 100, 20_000) == FEWEST_SLOW
    assert images_of(replace(dear, slow=False), 100, 20_000) == FEWEST
    assert images_of(dear, 100, 20_000 * 18_053) == 100
    assert images_of(Duel("boundary", 2.0, {}, params={"queries": 1000}), 100, 20_000) == 20


@pytest.fixture
def subjects() -> Subjects:
    torch.manual_seed(0)
    model = linear((1, 4, 4), 3).eval()
    x = torch.rand(5, 1, 4, 4)
    return Subjects("linear", model, x, model(x).argmax(1), 5)


def _one_pass(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    z = x.requires_grad_(True)
    return (x + torch.autograd.grad(model(z).logsumexp(1).sum(), z)[0]).detach()


def _broken(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    raise RuntimeError("no")


def test_a_round_times_ours_its_floor_and_every_rival(subjects: Subjects) -> None:
    rivals = {"one": _one_pass, "broken": _broken}
    ours, one, broken = one_round(Duel("fgsm", math.inf, rivals, 0.1), subjects, 0)
    assert (ours["library"], one["library"], broken["library"]) == ("advbench", "one", "broken")
    assert (one["forwards"], one["backwards"]) == (1.0, 1.0)
    assert (ours["error"], one["error"], broken["error"]) == ("", "", "RuntimeError")
    assert isinstance(ours["floor"], float)
    assert ours["floor"] > 0


def test_ratios_are_taken_within_a_round(tmp_path: Path) -> None:
    names = {"attack": "a", "params": "", "norm": "l2", "n": 5, "forwards": 2.0, "backwards": 1.0, "error": ""}
    rows = [
        {**names, "round": turn, "library": library, "seconds": seconds, "floor": floor}
        for turn, slowness in enumerate((1.0, 10.0, 2.0))
        for library, seconds, floor in (("advbench", 2 * slowness, slowness), ("peer", 5 * slowness, math.nan))
    ]
    (line,) = table(pd.DataFrame(rows))[2:]
    assert line == "| `a` | l2 | 5 | 2 + 1 | 2 | 4 | 2.00 | peer 10, 2.50 (2 + 1) |"


def test_every_duel_has_a_size() -> None:
    for duel in duels({math.inf: 0.1, 2.0: 1.0, 1.0: 5.0}):
        assert FEWEST_SLOW <= images_of(duel, 100, 20_000) <= 100

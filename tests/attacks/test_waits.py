"""No step of these attacks makes a GPU wait for its queue, but for the checks that the loops make now and then."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import NamedTuple

import pytest
import torch
from torch import nn

from advbench.core import devices
from advbench.core.views import jpeg
from advbench.registry import ATTACKS
from advbench.types import ThreatModel
from tests.attacks.small_nets import conv_net, images
from tests.attacks.waits import waits


class Loop(NamedTuple):
    """An attack, a radius that the model of the test withstands, and the parameter that makes it longer."""

    name: str
    norm: float
    eps: float | None
    params: Mapping[str, object]
    length: str


LOOPS = [
    Loop("square", inf, 1e-4, {}, "queries"),
    Loop("square", 2.0, 1e-3, {}, "queries"),
    Loop("simba", inf, 1e-4, {}, "queries"),
    Loop("sparse_rs", 0.0, 2.0, {}, "queries"),
    Loop("sparse_rs", 0.0, 2.0, {"unit": "pixel"}, "queries"),
    Loop("patch_rs", 0.0, 4.0, {}, "queries"),
    Loop("apgd", 2.0, 1e-3, {}, "steps"),
    Loop("apgd", inf, 1e-4, {}, "steps"),
    Loop("pdpgd", 2.0, None, {}, "steps"),
    Loop("fmn", 2.0, None, {}, "steps"),
    Loop("ddn", 2.0, None, {}, "steps"),
]


def firm_net() -> nn.Module:
    """Class 0 everywhere."""
    model = conv_net()
    with torch.no_grad():
        list(model.parameters())[-1][0] += 1000.0
    return model


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: f"{loop.name} {loop.norm}")
def test_a_longer_run_waits_no_more_often(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(devices._STEPS_BETWEEN_CHECKS, "cpu", 1000)  # as on a GPU, but for the number
    model = firm_net()
    x, y, draws = images(model, 3)
    counts = []
    for count in (20, 60):
        with waits() as found:
            threat, params = ThreatModel(loop.norm, loop.eps), {**loop.params, loop.length: count}
            ATTACKS[loop.name].function(model, x, y, threat, draws=draws, **params)
        counts.append(found)
    assert counts[0] == counts[1]


def test_jpeg_waits_for_nothing_once_its_tables_are_there() -> None:
    x, quality = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([50.0, 80.0])
    jpeg(x, quality)
    with waits() as found:
        jpeg(x, quality)
    assert not found


@pytest.mark.parametrize("name", ["mi_fgsm", "ni_fgsm", "di_fgsm", "vmi_fgsm", "newton_fool"])
def test_a_step_waits_once_to_see_whether_a_sample_may_leave(name: str) -> None:
    """Twice where the gradient is taken elsewhere than at the iterate, which is asked about only if that is likely."""
    model = firm_net()
    x, y, draws = images(model, 3)
    counts = []
    for steps in (10, 20):
        with waits() as found:
            ATTACKS[name].function(
                model, x, y, ThreatModel(ATTACKS[name].info.norms[-1], 1e-4), draws=draws, steps=steps
            )
        counts.append(found.total())
    assert counts[1] - counts[0] <= 20

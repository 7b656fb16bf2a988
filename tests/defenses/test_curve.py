"""The curve: what is measured, when it warns, how it is stored."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import torch
from torch import nn

from advbench.defenses.curve import Curve, Epoch, Measured, measure
from advbench.types import ThreatModel

ROW = Epoch(1, 0.5, 0.001, 0.3, 0.9, 0.6, 0.88, None, 1.25)


def test_json_keeps_every_number() -> None:
    curve = Curve((ROW, replace(ROW, epoch=2, loss=0.25)))
    assert Curve.from_json(json.loads(json.dumps(curve.to_json()))) == curve


def test_a_fall_of_the_pgd_accuracy_is_called_a_collapse() -> None:
    steady = [replace(ROW, train_pgd_accuracy=value) for value in (0.1, 0.5, 0.6, 0.55)]
    assert not Curve().collapsed
    assert not Curve(tuple(steady)).collapsed
    assert Curve((*steady, replace(ROW, train_pgd_accuracy=0.0))).collapsed


def test_measuring_a_linear_model_gives_what_can_be_counted_by_hand() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)).train()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))  # type: ignore[union-attr, operator]
    x = torch.tensor([[0.9, 0.1], [0.6, 0.5], [0.2, 0.8], [0.4, 0.6]]).reshape(4, 1, 1, 2)
    y = torch.tensor([0, 0, 1, 0])  # the last one is wrong without any attack
    # A sample falls when eps reaches half of its logit difference: 0.8, 0.1, 0.6.
    measured = measure(model, x.__getitem__, y, torch.arange(4), threat=ThreatModel(math.inf, 0.2), seed=0, size=3)
    assert measured == Measured(0.75, 0.5)
    assert model.training


def test_without_samples_or_without_a_radius_there_is_nothing_to_say() -> None:
    model, x = nn.Flatten(), torch.zeros(1, 1, 1, 2)
    y, unperturbed = torch.zeros(1, dtype=torch.int64), ThreatModel(2, 0.0)
    nothing = measure(model, x.__getitem__, y, torch.arange(0), threat=unperturbed, seed=0, size=2)
    assert nothing == Measured(None, None)
    assert measure(model, x.__getitem__, y, torch.arange(1), threat=unperturbed, seed=0, size=2) == Measured(1.0, None)

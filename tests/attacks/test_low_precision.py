"""Attacks that are called with a model and images of 16 bits stay in them."""

from __future__ import annotations

from math import inf

import pytest
import torch

from advbench.registry import ATTACKS
from advbench.types import ThreatModel
from tests.attacks.small_nets import conv_net, images

CALLS = [
    ("pgd", 1.0, 2.0),
    ("pgd", 2.0, 0.5),
    ("pgd", inf, 0.1),
    ("apgd", 1.0, 2.0),
    ("apgd", 2.0, 0.5),
    ("apgd", inf, 0.1),
    ("ddn", 2.0, 0.5),
]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("name", "norm", "eps"), CALLS)
def test_sixteen_bits_come_back_as_they_came(name: str, norm: float, eps: float, dtype: torch.dtype) -> None:
    model = conv_net().to(dtype)
    x, _, draws = images(conv_net(), 4)
    x = x.to(dtype)
    y = model(x).argmax(1)
    found = ATTACKS[name].function(model, x, y, ThreatModel(norm, eps), draws=draws, steps=20)
    assert found.dtype == dtype
    assert bool(found.isfinite().all())
    assert bool((model(found).argmax(1) != y).any())

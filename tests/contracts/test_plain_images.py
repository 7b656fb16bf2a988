"""Called directly, an attack does not care what x came from, and refuses numbers too coarse for a radius."""

from __future__ import annotations

import pytest
import torch

from advbench.registry import ATTACKS, CONTROLS, AttackInfo, Entry
from advbench.testing.check_attack import no_params
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import conv_net, images
from tests.contracts.test_attacks import PARAMETERS

METHODS: list[Entry[AttackInfo]] = [*ATTACKS, *CONTROLS]
EVERY = pytest.mark.parametrize("method", METHODS, ids=[entry.name for entry in METHODS])


@EVERY
def test_a_graph_behind_x_changes_nothing_and_is_not_kept(method: Entry[AttackInfo]) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    params = PARAMETERS.get(method.name, no_params)(model)
    threat = ThreatModel(method.info.norms[0], 2.0 if method.info.norms[0] < 1 else 0.1)
    plain = method.function(model, x, y, threat, draws=draws, **params)
    leaf = x.clone().requires_grad_(True)
    for tensor in (leaf, leaf * 1.0):
        found = method.function(model, tensor, y, threat, draws=draws, **params)
        assert not found.requires_grad
        assert torch.equal(found, plain)
    assert leaf.grad is None


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_numbers_of_sixteen_bits_are_refused(method: Entry[AttackInfo], dtype: torch.dtype) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    params, threat = PARAMETERS.get(method.name, no_params)(model), ThreatModel(method.info.norms[-1], 0.1)
    with pytest.raises(ConfigError, match=f"x must be float32 or float64, got {str(dtype)[6:]}"):
        method.function(model.to(dtype), x.to(dtype), y, threat, draws=draws, **params)

"""The Python face of the attributions: a heat map by name."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.registry import ATTRIBUTIONS, nearest
from advbench.types import ConfigError


def explain(
    method: str,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    seed: int = 0,
    sample_ids: Tensor | None = None,
    **params: object,
) -> Tensor:
    """Signed map (B, C, H, W) or (B, 1, H, W) of what in x (B, C, H, W) speaks for class y (B,), by the named method.

    params: the method's own. Raises ConfigError for an unknown method or parameter.
    """
    entry = ATTRIBUTIONS[method]
    known = list(entry.parameters())
    for name in params:
        if name not in known:
            raise ConfigError(f"{method} has no parameter {name!r}; {nearest(name, known)}It has: {', '.join(known)}")
    ids = torch.arange(len(x)) if sample_ids is None else sample_ids
    heat = entry.function(model, x, y, draws=Draws(seed, ids.to(x.device)), **params)
    assert isinstance(heat, Tensor)
    return heat

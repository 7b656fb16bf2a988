"""The Python face of the syntheses: a picture by name."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.registry import SYNTHESES, nearest
from advbench.types import ConfigError


def picture(
    method: str, model: nn.Module | None, *args: object, seed: int = 0, count: int = 1, **params: object
) -> Tensor:
    """Images (B, C, H, W) in [0, 1] made by the named method, as in picture("visualize", model, "class:258").

    model: None for the few methods that need no network. args, params: the method's own, see `advbench show synthesis
    NAME`. count: how many pictures a method that starts from nothing makes, each with random numbers of its own. Raises
    ConfigError for an unknown method or parameter.
    """
    entry = SYNTHESES[method]
    known = list(entry.parameters())
    for name in params:
        if name not in known:
            raise ConfigError(f"{method} has no parameter {name!r}; {nearest(name, known)}It has: {', '.join(known)}")
    first = None if model is None else next(model.parameters(), None)
    ids = torch.arange(count, device=None if first is None else first.device)
    made = entry.function(model, *args, draws=Draws(seed, ids), **params)
    assert isinstance(made, Tensor)
    return made

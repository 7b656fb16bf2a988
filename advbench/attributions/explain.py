"""The Python face of the attributions: a heat map by name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.targets import Explained, Target, parse_target
from advbench.registry import ATTRIBUTIONS, nearest
from advbench.types import ConfigError


def explain(
    method: str,
    model: nn.Module,
    x: Tensor,
    y: Tensor | Sequence[int] | int | str | Target,
    *,
    seed: int = 0,
    sample_ids: Tensor | None = None,
    **params: object,
) -> Tensor:
    """Signed map (B, C, H, W) or (B, 1, H, W) of what in x (B, C, H, W) speaks for y, by the named method.

    y: a class, or (B,) of them, meaning their raw scores; a target as text ("log_prob:258", "layer4:17", "class:258 -
    class:281") or a `core.targets.Target`. params: the method's own. Raises ConfigError for an unknown method or
    parameter, for a y that does not fit x or the model, and where the method has no meaning for the model.
    """
    entry = ATTRIBUTIONS[method]
    known = list(entry.parameters())
    for name in params:
        if name not in known:
            has = f"It has: {', '.join(known)}" if known else "It has none"
            raise ConfigError(f"{method} has no parameter {name!r}; {nearest(name, known)}{has}")
    ids = torch.arange(len(x)) if sample_ids is None else sample_ids
    heat = entry.function(model, x, explained(y, x), draws=Draws(seed, ids.to(x.device)), **params)
    assert isinstance(heat, Tensor)
    return heat


def explained(y: Tensor | Sequence[int] | int | str | Target, x: Tensor) -> Explained:
    """What `y` means for the samples x (B, ...): classes (B,) or a target. Raises ConfigError if it does not fit."""
    if isinstance(y, Target):
        return y
    if isinstance(y, str):
        return parse_target(y)
    classes = torch.as_tensor(y, device=x.device)
    if classes.dtype not in (torch.int64, torch.int32) or classes.dim() > 1 or classes.numel() not in (1, len(x)):
        raise ConfigError(
            f"y must be a class or {len(x)} of them (whole numbers), got {tuple(classes.shape)} {classes.dtype}"
        )
    return classes.long().reshape(-1).expand(len(x)).contiguous()

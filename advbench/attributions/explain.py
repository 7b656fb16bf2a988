"""The Python face of the attributions: a heat map by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from advbench.core.call_checks import check_parameters, check_seed, sample_numbers, shown
from advbench.core.draws import Draws
from advbench.core.targets import Explained, Target, parse_target
from advbench.models.check import check_images
from advbench.models.refusal import naming_refusals
from advbench.models.target_layers import check_layers
from advbench.plain_images import ordinary
from advbench.registry import ATTRIBUTIONS
from advbench.types import ConfigError


@dataclass(frozen=True)
class Explainer:
    """A registered attribution with parameters of its own. label: what its maps are shown and stored by."""

    method: str
    label: str
    params: Mapping[str, object] = field(default_factory=dict)


@torch.inference_mode(False)  # there are no gradients in the caller's, if there is one
def explain(
    method: str,
    model: nn.Module,
    x: Tensor,
    y: Tensor | Sequence[int] | int | str | Target,
    *,
    seed: int = 0,
    sample_ids: Tensor | Sequence[int] | None = None,
    **params: object,
) -> Tensor:
    """Signed map (B, C, H, W) or (B, 1, H, W) of what in x (B, C, H, W) speaks for y, by the named method.

    y: a class, or (B,) of them, meaning their raw scores; a target as text ("log_prob:258", "layer4:17", "class:258 -
    class:281") or a `core.targets.Target`. params: the method's own. Raises ConfigError for an unknown method or
    parameter, for images outside [0, 1] or that the model does not take, for a y that does not fit x or the model, and
    where the method has no meaning for the model.
    """
    entry = ATTRIBUTIONS[method]
    check_parameters(entry, params)
    check_seed(seed)
    check_images(x, dtypes=(torch.float32, torch.float64))
    x = ordinary(x)
    draws = Draws(seed, sample_numbers(sample_ids, len(x)).to(x.device))
    target = explained(ordinary(y) if isinstance(y, Tensor) else y, x)
    with naming_refusals(model, x, logits=isinstance(target, Tensor)):
        if isinstance(target, Target):
            check_layers(model, target)
        heat = entry.function(model, x, target, draws=draws, **params)
    assert isinstance(heat, Tensor)
    return heat


def explained(y: Tensor | Sequence[int] | int | str | Target, x: Tensor) -> Explained:
    """What `y` means for the samples x (B, ...): classes (B,) or a target. Raises ConfigError if it does not fit."""
    if isinstance(y, Target):
        return y
    if isinstance(y, str):
        return parse_target(y)
    try:
        classes = torch.as_tensor(y, device=x.device)
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(f"y must be a class, {len(x)} of them or a target, got {shown(y)}") from None
    if classes.dtype not in (torch.int64, torch.int32) or classes.dim() > 1 or classes.numel() not in (1, len(x)):
        raise ConfigError(
            f"y must be a class or {len(x)} of them (whole numbers), got {tuple(classes.shape)} {classes.dtype}"
        )
    return classes.long().reshape(-1).expand(len(x)).contiguous()

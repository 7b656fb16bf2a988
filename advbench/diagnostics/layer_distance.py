"""How far apart clean and adversarial images are inside the network, layer by layer: where a small change grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench.core.activations import check_reached, record
from advbench.core.gradients import frozen, piece_size
from advbench.core.layer_order import finishing_order
from advbench.types import ConfigError

_IMAGES = 16  # pairs whose features are held at a time, where nobody has set a size (`in_pieces`)


@dataclass(frozen=True, eq=False)
class LayerDistance:
    """layers: names, in the order of the forward pass. relative (L, B): |f(x_adv) - f(x)| / |f(x)| in l2.

    cosine (L, B): of the angle between f(x) and f(x_adv). Both features zero: 0 and 1; only f(x) zero: inf and 0.
    """

    layers: tuple[str, ...]
    relative: Tensor
    cosine: Tensor


def layer_distance(model: nn.Module, x: Tensor, x_adv: Tensor, *, layers: Sequence[str] | None = None) -> LayerDistance:
    """Compare the features of x and x_adv (B, C, H, W) at each of `layers`.

    layers: module names; None: every module without modules of its own that takes part and puts out a tensor. A layer
    used several times in a pass is looked at the last time. Raises ConfigError if the shapes differ, or a layer is
    unknown or takes no part.
    """
    if x.shape != x_adv.shape or not len(x):
        raise ConfigError(
            f"x and x_adv must be of one shape and not empty, got {tuple(x.shape)} and {tuple(x_adv.shape)}"
        )
    with frozen(model), torch.no_grad():
        names = _in_order(model, x[:1]) if layers is None else tuple(layers)
        size = piece_size() or _IMAGES
        pieces = [
            _distances(model, clean, changed, names)
            for clean, changed in zip(torch.split(x, size), torch.split(x_adv, size), strict=True)
        ]
    relative, cosine = (torch.cat(parts, dim=1) for parts in zip(*pieces, strict=True))
    return LayerDistance(names, relative, cosine)


def _distances(model: nn.Module, x: Tensor, x_adv: Tensor, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    with record(model, names) as clean:
        model(x)
    with record(model, names) as changed:
        model(x_adv)
    check_reached(model, names, clean)
    found = [_between(clean[name].flatten(1).double(), changed[name].flatten(1).double()) for name in names]
    relative, cosine = zip(*found, strict=True)
    return torch.stack(relative), torch.stack(cosine)


def _between(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Relative distance and cosine (A,) of two batches of features (A, N)."""
    apart, first, second = ((v * v).sum(1).sqrt() for v in (b - a, a, b))
    relative = torch.where(apart > 0, apart / first, 0.0)
    both = first * second
    cosine = torch.where(both > 0, (a * b).sum(1) / both, (apart == 0).double())
    return relative, cosine.clamp(-1.0, 1.0)


def _in_order(model: nn.Module, x: Tensor) -> tuple[str, ...]:
    """Names of the innermost modules in the order in which x (1, C, H, W) passes them for the last time."""
    modules = dict(model.named_modules())
    return tuple(name for name in finishing_order(model, x) if not any(modules[name].children()))

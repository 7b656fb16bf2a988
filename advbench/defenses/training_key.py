"""Which training is this? So that a checkpoint is taken up by the training that wrote it, and by no other."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Tensor, nn

from advbench.defenses.curve import Images
from advbench.defenses.settings import Training
from advbench.registry import DEFENSES
from advbench.types import Json, ThreatModel, content_key, norm_name

_LOOKED_AT = 32  # images: enough to tell two datasets with the same labels apart


def training_key(
    model: nn.Module,
    images: Images,
    labels: Tensor,
    loss: Callable[..., object],
    *,
    training: Training,
    threat: ThreatModel,
    seed: int,
) -> str:
    """SHA-256 of what decides the weights: settings, threat, seed, architecture, labels (N,), some images, the loss.

    The weights at the start are left out: who resumes may have built the network anew.
    """
    tensors: list[Json] = [f"{name} {tuple(tensor.shape)}" for name, tensor in model.state_dict().items()]
    some = torch.linspace(0, len(labels) - 1, min(_LOOKED_AT, len(labels))).long()
    return content_key(
        [
            asdict(training),
            [norm_name(threat.norm), threat.eps, threat.low, threat.high],
            seed,
            tensors,
            _digest(labels),
            _digest(images(some)),
            _named(loss),
        ]
    )


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def _named(value: object) -> Json:
    """A loss and its parameters in words that are the same in the next process: no addresses."""
    if isinstance(value, functools.partial):
        bound: dict[str, Json] = {name: _named(each) for name, each in value.keywords.items()}
        return [_named(value.func), [_named(each) for each in value.args], bound]
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, list | tuple):
        return [_named(each) for each in value]
    of = value if hasattr(value, "__qualname__") else type(value)
    own = DEFENSES.entry_of(value)
    return f"{of.__module__}.{of.__qualname__}" + (own.code if own else "")

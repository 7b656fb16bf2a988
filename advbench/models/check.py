"""Is this a classifier of [0, 1] images with logits? Asked once, on a few samples, before any work."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.core.gradients import frozen
from advbench.types import ConfigError

SAMPLES = 4  # enough to see a shape and a softmax, cheap for any model
_SUM_TOLERANCE = 1e-3  # of a row of probabilities, also of half-precision ones


def check_model(model: nn.Module, x: Tensor, classes: int) -> None:
    """Raise ConfigError if the model's answers to the first images of x (B, C, H, W) are not logits of `classes`.

    That is: x outside [0, 1]; an output that is no floating-point (B, K) tensor, has another K, is not finite, or
    looks like probabilities. The model is left as it came, its mode included; torch's generators too.
    """
    images = x[:SAMPLES]
    check_images(images)
    devices = [images.device] if images.is_cuda else []  # naming none would start CUDA for a model on the CPU
    with frozen(model), torch.random.fork_rng(devices), torch.no_grad():
        try:
            logits = model(images)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ConfigError(f"the model does not take images {tuple(x.shape[1:])}: {error}") from error
    _check_logits(logits, len(images), classes)


def check_images(x: Tensor) -> None:
    """Raise ConfigError unless x (B, C, H, W) holds at least one image, float32, finite, in [0, 1]."""
    if x.ndim != 4 or len(x) == 0:
        raise ConfigError(f"images must be (B, C, H, W) with B >= 1, got shape {tuple(x.shape)}")
    if x.dtype != torch.float32:
        raise ConfigError(f"images must be float32 in [0, 1], got {x.dtype}")
    low, high = x.min().item(), x.max().item()
    if not (low >= 0 and high <= 1):
        raise ConfigError(
            f"images must lie in [0, 1], got [{low:g}, {high:g}]: divide bytes by 255, and move any normalisation into "
            f"the model as its first layer"
        )


def _check_logits(logits: object, count: int, classes: int) -> None:
    if not isinstance(logits, Tensor):
        raise ConfigError(f"the model must return a tensor of logits (B, K), it returned {type(logits).__name__}")
    if not logits.is_floating_point():
        raise ConfigError(f"the model must return real-valued logits, it returned {logits.dtype}: decisions?")
    if logits.ndim != 2 or len(logits) != count:
        raise ConfigError(f"the model must return logits ({count}, K) for {count} images, got {tuple(logits.shape)}")
    if logits.shape[1] != classes:
        raise ConfigError(f"the model gives {logits.shape[1]} logits per image, the data has {classes} classes")
    if not torch.isfinite(logits).all():
        raise ConfigError("the model's logits are not finite on clean images: broken or mismatched weights?")
    if _look_like_probabilities(logits):
        raise ConfigError(
            "the model returns probabilities (each row is in [0, 1] and sums to 1); remove its softmax: attacks and "
            "margins need logits"
        )


def _look_like_probabilities(logits: Tensor) -> bool:
    if logits.shape[1] < 2:
        return False
    sums = logits.double().sum(1)  # (B,)
    inside = (logits >= 0).all() and (logits <= 1).all()
    return bool(inside and (sums - 1).abs().max() < _SUM_TOLERANCE)

"""Is this a classifier of [0, 1] images with logits? Asked once, on a few samples, before any work."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from advbench.core.gradients import frozen
from advbench.models.refusal import naming_refusals
from advbench.types import ConfigError

SAMPLES = 4  # enough to see a shape and a softmax, cheap for any model
_UNSTEADY = 0.02  # of the largest logit: more than half precision rounds, less than dropout changes
_SUM_TOLERANCE = 1e-3  # of a row of probabilities, also of half-precision ones


def check_model(model: nn.Module, x: Tensor, classes: int) -> None:
    """Raise ConfigError if the model's answers to the first images of x (B, C, H, W) are not logits of `classes`.

    That is: x outside [0, 1]; an output that is no floating-point (B, K) tensor, has another K, is not finite, or
    looks like probabilities. The model is left as it came, its mode included; torch's generators too.
    """
    images = x[:SAMPLES]
    check_images(images)
    if not len(images):
        raise ConfigError(f"images must be (B, C, H, W) with B >= 1, got shape {tuple(x.shape)}")
    devices = [images.device] if images.is_cuda else []  # naming none would start CUDA for a model on the CPU
    with naming_refusals(model, images), frozen(model), torch.random.fork_rng(devices), torch.no_grad():
        logits = model(images)
    check_logits(logits, len(images), classes)


def check_leaves_input(model: nn.Module, x: Tensor) -> None:
    """Raise ConfigError if the model writes into the images it is given; tried on a copy of the first of x (B, ...)."""
    image = x[:1].clone()
    devices = [x.device] if x.is_cuda else []
    with frozen(model), torch.random.fork_rng(devices), torch.no_grad():
        model(image)
    if not torch.equal(image, x[:1]):
        raise ConfigError("the model changes the images it is given in place; let it compute on a copy (z = z - mean)")


def warn_if_unsteady(model: nn.Module, x: Tensor) -> None:
    """Warn if the answer to the first image of x (B, ...) changes when asked again, or with the rest of its batch.

    Four small passes; torch's generators are left as they were.
    """
    images = x[:SAMPLES]
    if not len(images):
        return
    devices = [x.device] if x.is_cuda else []
    with frozen(model), torch.random.fork_rng(devices), torch.no_grad():
        first, again, alone = (model(part)[0].float() for part in (images, images, images[:1]))
    slack = _UNSTEADY * (1.0 + first.abs().max())
    if bool((first - again).abs().max() > slack):
        said = (
            "the model answers the same image differently when asked again (dropout or noise that eval mode does not "
            "end): attacks that follow single passes overstate its robustness; auto with version='rand' averages them"
        )
    elif bool((first - alone).abs().max() > slack):
        said = (
            "the model's answer to an image depends on the others in its batch (batch norm in training mode, or "
            "statistics over the batch): its rows depend on how the samples are batched"
        )
    else:
        return
    warnings.warn(said, UserWarning, stacklevel=2)


def check_images(
    x: object, *, dtypes: Sequence[torch.dtype] = (torch.float32,), low: float = 0.0, high: float = 1.0
) -> None:
    """Raise ConfigError unless x has images (B, C, H, W) of one of these types, finite, in [low, high]; B may be 0."""
    if not isinstance(x, Tensor):
        remedy = ": torch.from_numpy(x)" if type(x).__module__ == "numpy" else ""
        raise ConfigError(f"images must be a torch tensor (B, C, H, W), got {type(x).__name__}{remedy}")
    if x.ndim != 4:
        remedy = ": a single image is x[None]" if x.ndim == 3 else ""
        raise ConfigError(f"images must be (B, C, H, W), got shape {tuple(x.shape)}{remedy}")
    if x.dtype not in dtypes:
        remedy = "x.float() / 255" if x.dtype == torch.uint8 else "x.float()"
        raise ConfigError(f"images must be float32 in [{low:g}, {high:g}], got {x.dtype}: {remedy}")
    if not x.numel():
        return
    least, most = x.min().item(), x.max().item()
    if math.isnan(least) or math.isnan(most):
        raise ConfigError(f"images must lie in [{low:g}, {high:g}], got values that are no numbers")
    if not (least >= low and most <= high):
        raise ConfigError(
            f"images must lie in [{low:g}, {high:g}], got [{least:g}, {most:g}]: divide bytes by 255, and move any "
            f"normalisation into the model as its first layer"
        )


def check_logits(logits: object, count: int, classes: int | None = None) -> None:
    """Raise ConfigError unless `logits` are (count, classes) finite numbers and no probabilities.

    classes None: any number from two on, and decisions (one-hot) pass, too: a decision-based attack needs no more.
    """
    if not isinstance(logits, Tensor):
        raise ConfigError(f"the model must return a tensor of logits (B, K), it returned {type(logits).__name__}")
    if not logits.is_floating_point():
        raise ConfigError(f"the model must return real-valued logits, it returned {logits.dtype}: decisions?")
    if logits.ndim != 2 or len(logits) != count:
        raise ConfigError(f"the model must return logits ({count}, K) for {count} images, got {tuple(logits.shape)}")
    if logits.shape[1] < 2:
        raise ConfigError(
            "the model gives one number per image, which leaves no other class; a single logit z of a binary "
            "classifier becomes two with torch.cat([-z, z], 1)"
        )
    if classes is not None and logits.shape[1] != classes:
        raise ConfigError(f"the model gives {logits.shape[1]} logits per image, the data has {classes} classes")
    if not torch.isfinite(logits).all():
        raise ConfigError("the model's logits are not finite on clean images: broken or mismatched weights?")
    decided = classes is None and bool(((logits == 0) | (logits == 1)).all())
    if _look_like_probabilities(logits) and not decided:
        raise ConfigError(
            "the model returns probabilities (each row is in [0, 1] and sums to 1); remove its softmax: attacks and "
            "margins need logits"
        )


def _look_like_probabilities(logits: Tensor) -> bool:
    if not len(logits):
        return False
    sums = logits.double().sum(1)  # (B,)
    inside = (logits >= 0).all() and (logits <= 1).all()
    return bool(inside and (sums - 1).abs().max() < _SUM_TOLERANCE)

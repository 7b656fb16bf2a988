"""Any classification network of torchvision, plain or with its published weights."""

from __future__ import annotations

from torch import nn
from torchvision.models import WeightsEnum, get_model, get_model_weights, list_models

from advbench.models.normalize import IMAGENET, Normalized
from advbench.models.seeding import seeded
from advbench.names import nearest
from advbench.registry import model
from advbench.types import ConfigError


@model()
def torchvision(
    shape: tuple[int, int, int] = (3, 224, 224),
    classes: int = 1000,
    *,
    seed: int = 0,
    name: str,
    weights: str = "",
) -> nn.Module:
    """torchvision's network `name` behind the normalisation of its weights (without weights: ImageNet's).

    weights: a member of the network's weights enum such as IMAGENET1K_V1 or DEFAULT, downloaded once with its hash
    checked. Resizing and cropping belong to the dataset, before the attack. Raises ConfigError if the network, the
    weights or the download are not to be had, if images are not RGB, or if the weights have other classes.
    """
    check_name(name)
    if shape[0] != 3:
        raise ConfigError(f"torchvision:{name} takes images with 3 channels, got {shape[0]}")
    if weights in ("", "none"):
        with seeded(seed):
            return Normalized(get_model(name, weights=None, num_classes=classes), *IMAGENET)
    check_classes(name, weights, classes)
    member = _member(name, weights)
    try:
        with seeded(seed):
            network = get_model(name, weights=member)
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"the weights {weights} of {name} could not be downloaded from {member.url}: {error}. Without a network, "
            f"save that file yourself and give its path as weights"
        ) from None
    preset = member.transforms()
    return Normalized(network, preset.mean, preset.std)


def published_accuracy(name: str, weights: str) -> float | None:
    """Top-1 accuracy in [0, 1] that the publisher of the weights states for ImageNet-1K; None if there is none."""
    metrics = _member(name, weights).meta.get("_metrics", {}).get("ImageNet-1K", {})
    return metrics["acc@1"] / 100 if "acc@1" in metrics else None


def check_classes(name: str, weights: str, classes: int) -> None:
    """Raise ConfigError if published `weights` of the network are for another number of classes, or do not exist."""
    if weights in ("", "none"):
        return
    trained_on = len(_member(name, weights).meta["categories"])
    if classes != trained_on:
        raise ConfigError(f"torchvision:{name}@{weights} knows {trained_on} classes, the data has {classes}")


def _member(name: str, weights: str) -> WeightsEnum:
    check_name(name)
    published = get_model_weights(name)
    members = published.__members__
    if weights not in members:
        raise ConfigError(
            f"torchvision:{name} has no weights {weights!r}; {nearest(weights, list(members))}"
            f"It has: {', '.join(members)}. A file ends in .safetensors, .pt or .pth"
        )
    return members[weights]


def check_name(name: str) -> None:
    """Raise ConfigError unless torchvision has a classification network of that name."""
    import torchvision.models as zoo

    names = list_models(module=zoo)
    if name not in names:
        raise ConfigError(f"torchvision has no classification network {name!r}; {nearest(name, names)}".rstrip())

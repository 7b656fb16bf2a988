"""Any network of timm (optional extra), plain or with its published weights."""

from __future__ import annotations

from torch import nn

from advbench.models.extras import import_extra
from advbench.models.normalize import Normalized
from advbench.models.seeding import seeded
from advbench.names import nearest
from advbench.registry import model
from advbench.types import ConfigError


@model()
def timm(
    shape: tuple[int, int, int] = (3, 224, 224),
    classes: int = 1000,
    *,
    seed: int = 0,
    name: str,
    weights: str = "",
) -> nn.Module:
    """timm's network `name` behind the normalisation of its configuration.

    weights: a tag such as a1_in1k, or DEFAULT for the network's first. Raises ConfigError if timm is not installed, the
    network or the tag are unknown, the download fails, or the weights have other classes.
    """
    check_name(name)
    package = import_extra("timm", "timm")
    pretrained = weights not in ("", "none")
    tagged = f"{name}.{weights}" if pretrained and weights != "DEFAULT" else name
    if pretrained and not package.is_model_pretrained(tagged):
        raise ConfigError(f"timm has no weights {weights!r} for {name}")
    if pretrained:
        trained_on = package.get_pretrained_cfg(tagged).num_classes
        if trained_on != classes:
            raise ConfigError(f"timm:{name}@{weights} knows {trained_on} classes, the data has {classes}")
    try:
        with seeded(seed):
            network = package.create_model(tagged, pretrained=pretrained, num_classes=classes, in_chans=shape[0])
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"timm:{name}@{weights} could not be made: {error}") from None
    mean, std = network.pretrained_cfg["mean"], network.pretrained_cfg["std"]
    if len(mean) != shape[0]:
        mean, std = mean[:1] * shape[0], std[:1] * shape[0]  # timm's own rule is to repeat weights over channels
    return Normalized(network, mean, std)


def check_name(name: str) -> None:
    """Raise ConfigError if timm is not installed or has no network of that name."""
    names = import_extra("timm", "timm").list_models()
    if name not in names:
        raise ConfigError(f"timm has no network {name!r}; {nearest(name, names)}".rstrip())

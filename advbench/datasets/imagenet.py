"""ImageNet-1k, 50,000 validation photographs in torchvision's folder layout. Russakovsky et al., arXiv:1409.0575."""

from __future__ import annotations

from pathlib import Path

from advbench.datasets.class_names import class_names
from advbench.datasets.dataset import Dataset
from advbench.datasets.folder import from_listing, list_classes
from advbench.registry import dataset
from advbench.types import ConfigError


@dataset(shape=(3, 224, 224), classes=1000, source="folder")
def imagenet(split: str, *, root: Path, download: bool, size: int = 224) -> Dataset:
    """root/val/<wnid>/*.JPEG, or root/imagenet/val/...; split test and val both mean these. train reads root/train.

    The 1,000 sub-folders in string order are the usual labels. Images: short side 256, centre 224. It cannot be
    downloaded: raises ConfigError if the folders are not there.
    """
    if split not in ("train", "val", "test"):
        raise ConfigError(f"imagenet has the splits train and val (test means val), got {split!r}")
    part = "train" if split == "train" else "val"
    place = next((folder for folder in (root / "imagenet" / part, root / part) if folder.is_dir()), None)
    if place is None:
        raise ConfigError(
            f"imagenet is not in {root} and cannot be downloaded without an account: get it from image-net.org and "
            f"unpack it to {root / 'imagenet' / part}/<wnid>/*.JPEG"
        )
    listing = list_classes(place)
    if len(listing.classes) != 1000:
        raise ConfigError(f"{place}: ImageNet has 1000 class folders, found {len(listing.classes)}")
    return from_listing("imagenet", part, listing._replace(classes=class_names("imagenet")), size)

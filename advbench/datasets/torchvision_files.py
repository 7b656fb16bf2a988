"""What the readers on top of torchvision share: which split, and what to say when files cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from advbench.types import ConfigError


def is_train(name: str, split: str) -> bool:
    """Whether `split` is "train"; False for "test". Raises ConfigError for another."""
    if split not in ("train", "test"):
        raise ConfigError(f"{name} has the splits train and test, got {split!r}")
    return split == "train"


@contextmanager
def available(name: str, root: Path, download: bool) -> Iterator[None]:
    """Inside, torchvision may fail to find, download or unpack its files: then ConfigError says what to do."""
    try:
        yield
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        how = "could not be downloaded to" if download else "is not complete (and download is off) in"
        raise ConfigError(
            f"{name} {how} {root}: {error}. Copy the dataset's files there by hand (in torchvision's layout), choose "
            f"another root, or use npz:FILE with your own arrays"
        ) from error

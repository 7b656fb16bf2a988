"""From an image file to a tensor, with caps against files made to exhaust memory."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms import functional

from advbench.types import ConfigError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAX_PIXELS = 50_000_000
MAX_BYTES = 64 * 2**20

_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError, MemoryError)


def read_image(path: Path, *, size: int | None = None) -> Tensor:
    """The image at `path`: (3, H, W) float32 in [0, 1]; with `size`, (3, size, size) as `fit` makes it.

    Raises ConfigError, before anything large is allocated, if the file is missing, above 64 MB or 50 megapixels, no
    PNG, JPEG, WebP or BMP with 8 bits per channel, or damaged.
    """
    if not path.is_file():
        raise ConfigError(f"image {path}: there is no such file")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"image {path}: {path.stat().st_size / 2**20:.0f} MB; at most {MAX_BYTES // 2**20} are read")
    picture = decode(path.read_bytes(), f"image {path}")
    return as_tensor(picture if size is None else fit(picture, size))


def decode(data: bytes, where: str) -> Image.Image:
    """The RGB picture in `data`; transparency is dropped, EXIF rotation ignored, as in torchvision's ImageFolder.

    where: names the source in the ConfigError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    raise _too_large(where, f"{width} x {height}")
                if picture.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
                    raise ConfigError(f"{where}: 8 bits per channel are needed, the file has mode {picture.mode}")
                return picture.convert("RGB")
    except ConfigError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(where, "far more pixels") from None
    except UnidentifiedImageError:
        raise ConfigError(f"{where}: no image in one of the formats {', '.join(FORMATS)}") from None
    except _DAMAGED as error:
        raise ConfigError(f"{where}: damaged or truncated ({error})") from None


def fit(picture: Image.Image, size: int) -> Image.Image:
    """`picture` as size x size: short side to size / 0.875 (256 for 224), bilinear, then the centre; as torchvision.

    A picture that has this size already is not touched.
    """
    if picture.size == (size, size):
        return picture
    resized = functional.resize(picture, round(size / 0.875), antialias=True)
    cropped: Image.Image = functional.center_crop(resized, [size, size])
    return cropped


def as_tensor(picture: Image.Image) -> Tensor:
    """(3, H, W) float32 in [0, 1] of an RGB picture."""
    return torch.from_numpy(np.array(picture, dtype=np.uint8)).permute(2, 0, 1).float() / 255


def _too_large(where: str, found: str) -> ConfigError:
    return ConfigError(f"{where}: {found}; at most {MAX_PIXELS // 1_000_000} megapixels are read")

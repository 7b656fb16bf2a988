"""A strip of pictures as one PNG, each under the value that it was made with."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from torch import Tensor

from advbench.report.picture_file import enlarged, pixels_of
from advbench.report.text import visible
from advbench.store import atomic_write
from advbench.types import ConfigError

WIDEST = 1400  # pixels of the whole, unless one picture is wider
_GAP, _TEXT, _LINE = 4, 11, 16  # pixels: between pictures, of a letter, of a line of text
_LEAST = 96  # pixels of a column: room for a label
_SIDE = 128  # pixels of the longer side of a picture that was enlarged, at least


def check_strip(path: Path) -> None:
    """Raises ConfigError unless the name is that of a PNG."""
    if path.suffix.lower() != ".png":
        raise ConfigError(f"--vary draws a strip, so --out must end in .png, got {path.name}")


def write_strip(
    path: Path, key: str, strip: Sequence[tuple[str, Tensor]], facts: Mapping[str, str], *, enlarge: bool = True
) -> None:
    """strip: (value, images (B, C, H, W) in [0, 1]); each value is a column, its images stand below each other.

    The first label also says what varies, where there is room. facts: text for the file. enlarge: make small pictures
    as wide as a label needs, and say so in the facts. Long strips go on in rows.
    """
    columns = [(label, [pixels_of(image) for image in images]) for label, images in strip]
    if enlarge:
        larger = [(label, *enlarged(pictures, facts, _SIDE)) for label, pictures in columns]
        columns = [(label, pictures) for label, pictures, _ in larger]
        facts = larger[0][2]
    drawn = strip_of(columns, key)
    chunks = PngImagePlugin.PngInfo()
    values = ", ".join(label for label, _ in strip)
    for name, text in {**facts, "Description": f"a column of pictures for each {key}, from the left: {values}"}.items():
        chunks.add_text(name, visible(text))
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "PNG", pnginfo=chunks, optimize=True)
    atomic_write(path, lambda file: file.write(buffer.getbuffer()))


def strip_of(columns: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]], key: str = "") -> NDArray[np.uint8]:
    """Labelled columns of pictures (H, W, 3) as one picture on white, in as many rows as it takes."""
    width = max(_LEAST, *(picture.shape[1] for _, pictures in columns for picture in pictures))
    heights = [sum(picture.shape[0] + _GAP for picture in pictures) for _, pictures in columns]
    height = _LINE + max(heights)
    across = max(1, WIDEST // (width + _GAP))
    rows = math.ceil(len(columns) / across)
    across = math.ceil(len(columns) / rows)
    whole = Image.new("RGB", (across * (width + _GAP) - _GAP, rows * height - _GAP), "white")
    pen = ImageDraw.Draw(whole)
    font = ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), _TEXT)
    for number, (label, pictures) in enumerate(columns):
        left, top = number % across * (width + _GAP), number // across * height
        whole_label = f"{key} = {label}" if key and number == 0 else label
        text = visible(whole_label if font.getlength(visible(whole_label)) <= width else label)
        pen.text((left + 1, top), _cut(text, font, width), "#1b1f24", font)
        top += _LINE
        for picture in pictures:
            whole.paste(Image.fromarray(picture), (left, top))
            top += picture.shape[0] + _GAP
    return np.asarray(whole)


def _cut(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text, or its end behind "..": what tells files and layers apart stands last."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"..{text}") > width:
        text = text[1:]
    return f"..{text}"

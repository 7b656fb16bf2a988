"""Made pictures as files that say how they were made: PNG, GIF, MP4."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from torch import Tensor

from advbench.models.extras import import_extra
from advbench.report.text import visible
from advbench.store import atomic_write
from advbench.types import ConfigError

SUFFIXES = (".png", ".gif", ".mp4")
SIDE = 256  # pixels of the longer side of a picture that was enlarged, at least
_GAP = 4  # white pixels between pictures of a sheet


def check_suffix(path: Path) -> None:
    """Raises ConfigError for a name that says no format that is written."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--out must end in {', '.join(SUFFIXES)}, got {path.name}")
    if path.suffix.lower() == ".mp4":
        import_extra("imageio_ffmpeg", "video")


def write_pictures(
    path: Path, images: Tensor, facts: Mapping[str, str], *, enlarge: bool = True, per_second: float = 12.0
) -> None:
    """images (B, C, H, W) in [0, 1]: one picture or a sheet (.png), or frames (.gif, .mp4).

    facts: text for the file (PNG chunks, GIF comment). enlarge: make small pictures large enough to be seen, see
    `enlarged`, and say so in the facts. Sheets are about as wide as high, pictures in reading order.
    """
    check_suffix(path)
    frames = [pixels_of(image) for image in images]
    if enlarge:
        frames, facts = enlarged(frames, facts)
    if path.suffix.lower() == ".mp4":
        _write_video(path, frames, per_second)
        return
    buffer = io.BytesIO()
    if path.suffix.lower() == ".gif":
        pictures = [Image.fromarray(frame) for frame in frames]
        comment = "\n".join(f"{name}: {visible(text)}" for name, text in facts.items())
        pictures[0].save(
            buffer,
            "GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 / per_second),
            loop=0,
            comment=comment.encode("ascii", "replace"),
        )
    else:
        chunks = PngImagePlugin.PngInfo()
        for name, text in facts.items():
            chunks.add_text(name, visible(text))
        Image.fromarray(sheet(frames)).save(buffer, "PNG", pnginfo=chunks, optimize=True)
    atomic_write(path, lambda file: file.write(buffer.getbuffer()))


def enlarged(
    frames: Sequence[NDArray[np.uint8]], facts: Mapping[str, str], side: int = SIDE
) -> tuple[list[NDArray[np.uint8]], Mapping[str, str]]:
    """Pictures (H, W, 3) of one size, each pixel as a square, so that the longer side has at least `side` pixels.

    Only where it has less than half of that: others can be seen as they are, and keep their size. The facts then say
    the true size.
    """
    height, width = frames[0].shape[:2]
    if max(height, width) >= side / 2:
        return list(frames), facts
    factor = -(-side // max(height, width))
    larger = [frame.repeat(factor, axis=0).repeat(factor, axis=1) for frame in frames]
    return larger, {**facts, "True size": f"{height} x {width} pixels (H x W), each drawn as {factor} x {factor}"}


def sheet(frames: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures (H, W, 3) of one size in rows with white gaps; a single one is left as it is."""
    if len(frames) == 1:
        return frames[0]
    height, width = frames[0].shape[:2]
    columns = min(len(frames), math.ceil(math.sqrt(len(frames) * height / width)))
    if len(frames) <= 8:
        columns = len(frames)  # few pictures are a strip
    rows = math.ceil(len(frames) / columns)
    whole = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), 255, dtype=np.uint8)
    for number, frame in enumerate(frames):
        top, left = number // columns * (height + _GAP), number % columns * (width + _GAP)
        whole[top : top + height, left : left + width] = frame
    return whole


def pixels_of(image: Tensor) -> NDArray[np.uint8]:
    """image (C, H, W) in [0, 1] as (H, W, 3) bytes."""
    values = (255.0 * image.detach().cpu().float().clamp(0.0, 1.0)).round().byte()
    colours = values.expand(3, -1, -1) if len(values) == 1 else values[:3]
    pixels: NDArray[np.uint8] = colours.permute(1, 2, 0).contiguous().numpy()
    return pixels


def _write_video(path: Path, frames: list[NDArray[np.uint8]], per_second: float) -> None:
    writer = import_extra("imageio_ffmpeg", "video")
    height, width = frames[0].shape[:2]
    # The format wants even sides: the last row or column is left out.
    even = (width // 2 * 2, height // 2 * 2)
    part = path.with_name(f".{path.stem}.part.mp4")
    try:
        stream = writer.write_frames(str(part), even, fps=per_second)
        stream.send(None)
        for frame in frames:
            stream.send(np.ascontiguousarray(frame[: even[1], : even[0]]))
        stream.close()
        content = part.read_bytes()
    finally:
        part.unlink(missing_ok=True)
    atomic_write(path, lambda file: file.write(content))

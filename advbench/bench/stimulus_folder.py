"""`advbench cue-conflict-stimuli`: a folder of pictures with two labels, made from the user's own images."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from advbench.bench.picture_sources import Source, materials_of
from advbench.datasets.dataset import Dataset
from advbench.datasets.load import load_dataset
from advbench.diagnostics.conflict_stimuli import STYLE_WEIGHT, Painted, conflict_pairs, conflict_stimuli
from advbench.names import nearest
from advbench.store import atomic_write, write_text
from advbench.types import ConfigError

_BATCH = 8


@dataclass(frozen=True)
class StimulusJob:
    """What to paint: images of `dataset`, by the network `painter` for the data `painter_dataset` (None: ImageNet).

    classes: names, all of the dataset's if empty. The other fields are those of `conflict_pairs`, `conflict_stimuli`.
    """

    painter: str
    dataset: str
    weights: Path | None = None
    painter_dataset: str | None = None
    split: str = "test"
    classes: tuple[str, ...] = ()
    each: int = 1
    side: int = 128
    style_weight: float = STYLE_WEIGHT
    steps: tuple[int, int] = (40, 60)
    seed: int = 0
    allow_code: bool = False


class Made(NamedTuple):
    """How many pictures; the median share of the style's distance that is left; medians of the likeness of edges."""

    pictures: int
    style_left: float
    edges: float
    other_edges: float


def make_stimuli(job: StimulusJob, folder: Path, *, told: Callable[[int, int], object] | None = None) -> Made:
    """Write the pictures and, last, labels.csv. told: is called with the number done and that of all.

    Raises ConfigError before any painting if the folder has a labels.csv, or for what cannot be read.
    """
    if (folder / "labels.csv").exists():
        raise ConfigError(f"{folder} holds stimuli already: name another folder, or remove that one")
    data = load_dataset(job.dataset, job.split)
    pairs = conflict_pairs(data.labels, _numbers(data, job.classes), each=job.each, seed=job.seed)
    source = Source(job.painter, job.weights, job.painter_dataset, job.allow_code)
    painter = materials_of(source, torch.device("cpu")).model
    assert painter is not None
    rows: list[dict[str, str]] = []
    groups: list[Painted] = []
    for painted in conflict_stimuli(
        painter,
        data.images,
        pairs,
        side=job.side,
        channels=_channels(painter),
        style_weight=job.style_weight,
        steps=job.steps,
        batch=_BATCH,
        seed=job.seed,
    ):
        rows += _write(painted, folder, data.classes, len(rows))
        groups.append(painted)
        if told is not None:
            told(len(rows), len(pairs))
    write_labels(folder, rows)
    left, edges, other = (
        float(torch.cat([getattr(group, name) for group in groups]).median())
        for name in ("style_left", "edges", "other_edges")
    )
    return Made(len(rows), left, edges, other)


def write_picture(file: Path, image: Tensor) -> None:
    """image (3, H, W) in [0, 1] as a PNG, whole or not at all."""
    pixels = (255 * image.detach().cpu().clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, "PNG")
    atomic_write(file, lambda out: out.write(buffer.getbuffer()))


def write_labels(folder: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """folder/labels.csv with the columns of the first row, file, shape and texture among them."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(folder / "labels.csv", text.getvalue())


def _write(painted: Painted, folder: Path, classes: Sequence[str], start: int) -> list[dict[str, str]]:
    """The pictures of a group; their rows of labels.csv."""
    rows = []
    images = painted.images if painted.images.shape[1] == 3 else painted.images[:, :1].expand(-1, 3, -1, -1)
    for i, pair in enumerate(painted.pairs):
        file = f"{start + i:05d}.png"
        write_picture(folder / file, images[i])
        rows.append(
            {
                "file": file,
                "shape": classes[pair.shape],
                "texture": classes[pair.texture],
                "shape_id": str(pair.shape_id),
                "texture_id": str(pair.texture_id),
                "style_left": f"{float(painted.style_left[i]):.4f}",
                "edges": f"{float(painted.edges[i]):.4f}",
                "other_edges": f"{float(painted.other_edges[i]):.4f}",
            }
        )
    return rows


def _numbers(data: Dataset, names: Sequence[str]) -> list[int]:
    for name in names:
        if name not in data.classes:
            hint = nearest(name, list(data.classes))
            raise ConfigError(f"{data.name} has no class {name!r}; {hint}all: {', '.join(data.classes)}")
    return [data.classes.index(name) for name in names or data.classes]


def _channels(painter: nn.Module) -> int:
    """What its first convolution takes; 3 if there is none, and the search for layers will say so."""
    first = next((module for module in painter.modules() if isinstance(module, nn.Conv2d)), None)
    return 3 if first is None else first.in_channels

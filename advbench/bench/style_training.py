"""The training of a style network, from files to a file."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, cast

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from advbench.bench.picture_sources import LONGEST, Source, materials_of, pictures_in, read_pictures
from advbench.datasets.images import read_image
from advbench.store import atomic_write, write_tensors
from advbench.synthesis.feed_forward.adaptive import train_adaptive
from advbench.synthesis.feed_forward.compare_norms import compare_norms
from advbench.synthesis.feed_forward.contrastive import TRAININGS, CastWeights, train_contrastive
from advbench.synthesis.feed_forward.losses import Weights
from advbench.synthesis.feed_forward.networks import Norm
from advbench.synthesis.feed_forward.train_style import train_style
from advbench.synthesis.feed_forward.training import Course, History, Row, Watch
from advbench.types import ConfigError, Json

_APART = 10  # every tenth image is kept apart; with fewer than ten none
_ROOM = 2  # photographs are kept this many times as large as the crops, so that crops differ


@dataclass(frozen=True)
class StyleJob:
    """What `advbench train-style` was asked for."""

    kind: str
    model: str
    images: Path
    weights: Path | None = None
    dataset: str | None = None
    styles: tuple[Path, ...] = ()
    style_folder: Path | None = None
    steps: int = 2000
    batch: int = 4
    side: int = 128
    learning_rate: float = 2e-3
    style_weight: float | None = None
    norm: str = "instance"
    layer: str | None = None
    seed: int = 0
    allow_code: bool = False
    model_params: Mapping[str, Json] = field(default_factory=dict)

    @property
    def course(self) -> Course:
        """How long and on what to train."""
        return Course(self.steps, self.batch, self.side, self.learning_rate, self.seed)

    @property
    def side_of_images(self) -> int:
        """Pixels of a photograph, and of a style's longer side: strokes are as large as the photographs' details."""
        return min(LONGEST, _ROOM * self.side)


class Change(NamedTuple):
    """The loss before and after a training, of a style or of all, on `images` photographs kept apart."""

    name: str
    images: int
    before: float
    after: float

    def __str__(self) -> str:
        """What the command line says."""
        several = "" if self.images == 1 else "s"
        where = f"on {self.images} photograph{several} kept apart, " if self.images else ""
        times = self.before / max(self.after, 1e-12)
        return f"{where}{self.name}: {self.before:.3g} -> {self.after:.3g}, {times:.2g} times less"


class _Made(NamedTuple):
    network: nn.Module
    history: History
    changes: list[Change]


def train_style_network(job: StyleJob, out: Path) -> list[Change]:
    """Train, write the weights to `out` and the losses beside it (.csv); how the loss changed.

    Raises ConfigError, before work starts, for files that cannot be read and for nothing to learn from.
    """
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out must end in .safetensors, got {out.name}")
    files, model, photos = _materials(job)
    courses = TRAININGS if job.kind == "contrastive" else 1
    with tqdm(total=courses * job.steps, desc=job.kind, disable=not sys.stderr.isatty()) as bar:

        def watch(step: int, row: Row) -> None:
            bar.update(1)
            bar.set_postfix({name: f"{value:.3g}" for name, value in row.items()})

        made = _KINDS[job.kind](job, model, photos, files, watch)
    write_tensors(out, made.network.state_dict())
    _write_table(out, pd.DataFrame(made.history).rename_axis("step").reset_index())
    return made.changes


def compare_norm_losses(job: StyleJob, out: Path) -> pd.DataFrame:
    """The losses of `compare_norms` for a style, written beside `out` (.csv).

    Raises ConfigError as above, and for several styles.
    """
    if out.suffix != ".png":
        raise ConfigError(f"--out must end in .png, got {out.name}")
    files, model, photos = _materials(job)
    if len(files) > 1:
        raise ConfigError(f"train-style norms compares the losses for one style, {len(files)} are given")
    weights = Weights() if job.style_weight is None else Weights(style=job.style_weight)
    with tqdm(total=7 * job.steps, desc="norms", disable=not sys.stderr.isatty()) as bar:

        def watch(kind: str, norm: str, step: int, row: Row) -> None:
            bar.update(1)
            bar.set_postfix_str(f"{kind}, {norm} norm: {row['loss']:.3g}")

        table = compare_norms(model, _style(job, files[0]), photos, job.course, weights=weights, watch=watch)
    _write_table(out, table)
    return table


def _materials(job: StyleJob) -> tuple[tuple[Path, ...], nn.Module, Tensor]:
    """The files of the styles, the network that judges, and the photographs (N, 3, side, side)."""
    files = job.styles + (pictures_in(job.style_folder) if job.style_folder else ())
    if not files:
        raise ConfigError("train-style needs --style or --styles")
    source = Source(job.model, job.weights, job.dataset, allow_code=job.allow_code, model_params=job.model_params)
    model = materials_of(source, torch.device("cpu")).model
    assert model is not None
    return files, model, _squares(pictures_in(job.images), job.side_of_images)


def _transform(job: StyleJob, model: nn.Module, photos: Tensor, files: Sequence[Path], watch: Watch) -> _Made:
    weights = Weights() if job.style_weight is None else Weights(style=job.style_weight)
    styles = [_style(job, file) for file in files]
    used, apart = _apart(photos)
    trained = train_style(
        model, styles, used, job.course, weights=weights, norm=cast("Norm", job.norm), held_out=apart, watch=watch
    )
    rows = zip(files, trained.before, trained.after, strict=False)
    changes = [Change(file.name, len(photos) - len(used), old["loss"], new["loss"]) for file, old, new in rows]
    return _Made(trained.network, trained.history, changes or [_trained_on(trained.history)])


def _adaptive(job: StyleJob, model: nn.Module, photos: Tensor, files: Sequence[Path], watch: Watch) -> _Made:
    weight = 2.0 if job.style_weight is None else job.style_weight
    known = _squares(files, photos.shape[2])
    (used, apart), (styles, others) = _apart(photos), _apart(known)
    held_out = None if apart is None or others is None else (apart, others)
    if held_out is None:  # nothing to measure on: no image is spared for it
        used, styles = photos, known
    found = train_adaptive(
        model, used, styles, job.course, layer=job.layer, style_weight=weight, held_out=held_out, watch=watch
    )
    if found.before is None or found.after is None:
        return _Made(found.decoder, found.history, [_trained_on(found.history)])
    changed = Change("styles not seen", len(photos) - len(used), found.before["loss"], found.after["loss"])
    return _Made(found.decoder, found.history, [changed])


def _contrastive(job: StyleJob, model: nn.Module, photos: Tensor, files: Sequence[Path], watch: Watch) -> _Made:
    styles = _squares(files, photos.shape[2])
    weights = CastWeights() if job.style_weight is None else CastWeights(style=job.style_weight)
    cast_net = train_contrastive(model, photos, styles, job.course, layer=job.layer, weights=weights, watch=watch)
    return _Made(cast_net.decoder, cast_net.history, [_trained_on(cast_net.history)])


_KINDS = {"transform": _transform, "adaptive": _adaptive, "contrastive": _contrastive}


def _trained_on(history: History) -> Change:
    """Where nothing could be kept apart: the loss of training, its first step and the mean of the last tenth."""
    last = [row["loss"] for row in history[-max(1, len(history) // 10) :]]
    return Change("in training", 0, history[0]["loss"], sum(last) / len(last))


def _apart(images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Images to train on and every tenth, to measure on."""
    kept = torch.arange(len(images)) % _APART == _APART - 1
    return (images[~kept], images[kept]) if bool(kept.any()) else (images, None)


def _style(job: StyleJob, file: Path) -> Tensor:
    """(1, 3, H, W): the style image, its longer side at most as long as that of the photographs."""
    picture = read_image(file)[None]
    share = min(1.0, job.side_of_images / max(picture.shape[2:]))
    size = (round(picture.shape[2] * share), round(picture.shape[3] * share))
    return read_pictures((file,), size=size)


def _squares(files: Sequence[Path], side: int) -> Tensor:
    """(N, 3, side, side): the middle of each picture."""
    return torch.stack([read_image(file, size=side) for file in files])


def _write_table(out: Path, table: pd.DataFrame) -> None:
    text = table.to_csv(index=False).encode()
    atomic_write(out.with_suffix(".csv"), lambda file: file.write(text))

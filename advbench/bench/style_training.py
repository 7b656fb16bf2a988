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
from advbench.synthesis.feed_forward.contrastive import train_contrastive
from advbench.synthesis.feed_forward.losses import Weights
from advbench.synthesis.feed_forward.networks import Norm
from advbench.synthesis.feed_forward.train_style import train_style
from advbench.synthesis.feed_forward.training import Course, History, Watch
from advbench.types import ConfigError, Json

_AVERAGED = 20  # steps over which the first and the last loss are read: single batches scatter
_ROOM = 2  # photographs are kept this many times as large as the crops, so that crops differ


class _Made(NamedTuple):
    network: nn.Module
    history: History


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
    steps: int = 1000
    batch: int = 4
    side: int = 128
    learning_rate: float = 2e-3
    style_weight: float | None = None
    norm: str = "instance"
    seed: int = 0
    allow_code: bool = False
    model_params: Mapping[str, Json] = field(default_factory=dict)

    @property
    def course(self) -> Course:
        """How long and on what to train."""
        return Course(self.steps, self.batch, self.side, self.learning_rate, self.seed)


def train_style_network(job: StyleJob, out: Path) -> tuple[float, float]:
    """Train, write the weights to `out` and the losses beside it (.csv); the mean loss of the first and last steps.

    Raises ConfigError, before work starts, for files that cannot be read and for nothing to learn from.
    """
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out must end in .safetensors, got {out.name}")
    files = job.styles + (pictures_in(job.style_folder) if job.style_folder else ())
    if not files:
        raise ConfigError("train-style needs --style or --styles")
    source = Source(job.model, job.weights, job.dataset, allow_code=job.allow_code, model_params=job.model_params)
    model = materials_of(source, torch.device("cpu")).model
    assert model is not None
    side = min(LONGEST, _ROOM * job.side)
    photos = _squares(pictures_in(job.images), side)
    with tqdm(total=job.steps, desc=job.kind, disable=not sys.stderr.isatty()) as bar:

        def watch(step: int, row: dict[str, float]) -> None:
            bar.update(1)
            bar.set_postfix({name: f"{value:.3g}" for name, value in row.items()})

        made = _KINDS[job.kind](job, model, photos, files, watch)
    write_tensors(out, made.network.state_dict())
    table = pd.DataFrame(made.history).to_csv(index_label="step")
    atomic_write(out.with_suffix(".csv"), lambda file: file.write(table.encode()))
    losses = [row["loss"] for row in made.history]
    few = min(_AVERAGED, max(1, len(losses) // 4))
    return losses[0], sum(losses[-few:]) / few


def _transform(job: StyleJob, model: nn.Module, photos: Tensor, files: Sequence[Path], watch: Watch) -> _Made:
    weights = Weights() if job.style_weight is None else Weights(style=job.style_weight)
    styles = [read_pictures((file,)) for file in files]
    norm = cast("Norm", job.norm)
    return _Made(*train_style(model, styles, photos, job.course, weights=weights, norm=norm, watch=watch))


def _adaptive(job: StyleJob, model: nn.Module, photos: Tensor, files: Sequence[Path], watch: Watch) -> _Made:
    styles, weight = _squares(files, photos.shape[2]), 10.0 if job.style_weight is None else job.style_weight
    return _Made(*train_adaptive(model, photos, styles, job.course, style_weight=weight, watch=watch))


def _contrastive(job: StyleJob, model: nn.Module, photos: Tensor, files: Sequence[Path], watch: Watch) -> _Made:
    styles, weight = _squares(files, photos.shape[2]), 0.2 if job.style_weight is None else job.style_weight
    cast_net = train_contrastive(model, photos, styles, job.course, style_weight=weight, watch=watch)
    return _Made(cast_net.decoder, cast_net.history)


_KINDS = {"transform": _transform, "adaptive": _adaptive, "contrastive": _contrastive}


def _squares(files: Sequence[Path], side: int) -> Tensor:
    """(N, 3, side, side): the middle of each picture."""
    return torch.stack([read_image(file, size=side) for file in files])

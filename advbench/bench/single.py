"""One attack without a matrix file: the file is written, and then run like any other."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from advbench.bench.config import load_matrix
from advbench.bench.matrix import expand
from advbench.bench.recipes import obtain
from advbench.bench.runner import Tally, run
from advbench.bench.yaml_loader import load_yaml, parse_yaml
from advbench.core.devices import choose_device
from advbench.datasets.load import classes_of, load_dataset, read_as
from advbench.models.load import comes_trained
from advbench.models.predict import predict
from advbench.registry import CONTROLS, DATASETS, attack_or_control
from advbench.store import atomic_write, check_room, write_text
from advbench.types import ConfigError, Json, content_key

FILE = "attack.yaml"


@dataclass(frozen=True)
class Single:
    """What to attack and how. eps: as written, None for the nearest example; image: a file instead of `samples`."""

    attack: str
    model: str
    dataset: str
    norm: str
    eps: str | None
    samples: int = 64
    weights: Path | None = None
    params: Mapping[str, Json] | None = None
    goal: str = "untargeted"
    budget: int | None = None
    image: Path | None = None
    seed: int = 0
    allow_code: bool = False


class Picture(NamedTuple):
    """A picture of the user's (1, C, H, W) as an image of a dataset, and the names of its classes."""

    pixels: torch.Tensor
    classes: tuple[str, ...]


def attack_once(single: Single, out: Path, *, device: str = "auto", micro_batch: int | None = None) -> Tally:
    """Run one attack on one model and keep the result under `out`, with the matrix file that repeats it.

    A model without weights is trained first, on the training part of the dataset. The same attack again resumes, or
    finds everything stored. Raises ConfigError on bad input, and if `out` holds another attack.
    """
    made = not out.exists()
    check_room(out)
    matrix, file = out / FILE, out.resolve() / "image.npz"
    data: dict[str, Json] = {"name": single.dataset, "count": single.samples}
    picture = None
    if single.image is not None:
        data = {"name": f"npz:{file}"}
        if not comes_trained(single.model, weights=single.weights):
            data["train"] = single.dataset
        picture = _read(single.image, single.dataset)
        _check_same_image(file, picture.pixels)
    text = json.dumps(_matrix(single, data), indent=1) + "\n"
    _check_same_attack(matrix, text)
    new = [path for path in (matrix, file) if not path.exists()]
    write_text(matrix, text)
    try:
        if picture is not None:
            _label(file, picture, single, matrix, choose_device(device))
        tally = run(matrix, results=out, device=device, allow_code=single.allow_code, micro_batch=micro_batch)
    except ConfigError as error:
        _undo(new, out if made else None)
        # The user wrote no file: where in it the mistake is would only confuse.
        raise ConfigError(re.sub(rf"^\S*{re.escape(FILE)}:\d+: ", "", str(error))) from None
    if tally.failed or not tally.selected:
        # Nothing was stored that they would repeat: the attack may be corrected.
        _undo(new, out if made else None)
    return tally


def usual_folder(single: Single) -> Path:
    """Where an attack is kept if nobody says: each in a folder of its own, the same for the same attack."""
    image = None if single.image is None else str(single.image.resolve())
    key = content_key(_matrix(single, {"name": single.dataset, "count": single.samples, "image": image}))
    name = re.sub(r"[^A-Za-z0-9_.]+", "-", f"{single.attack}-{single.model}-{single.dataset}")
    return Path("results", "attacks", f"{name[:60].strip('-.')}-{key[:8]}")


def _undo(files: Sequence[Path], folder: Path | None) -> None:
    """Remove the files, and the folder if nothing else is in it."""
    for path in files:
        path.unlink(missing_ok=True)
    if folder is not None:
        with suppress(OSError):  # there is something in it: why the attack failed
            folder.rmdir()


def _check_same_attack(matrix: Path, text: str) -> None:
    """Raise ConfigError if another attack was stored here: its results would lose the file that repeats them."""
    if not matrix.exists():
        return
    before, now = (load_yaml(matrix).plain(), parse_yaml(text, FILE).plain())
    if before != now:
        assert isinstance(before, dict)
        assert isinstance(now, dict)
        other = [key for key in {**before, **now} if before.get(key) != now.get(key) and key != "question"]
        raise ConfigError(
            f"{matrix.parent} holds another attack: {', '.join(other)} in {matrix} differ; give another --out, or "
            "remove that folder"
        )


def _check_same_image(file: Path, pixels: torch.Tensor) -> None:
    if file.exists() and not np.array_equal(np.load(file, allow_pickle=False)["images"], pixels.numpy()):
        raise ConfigError(f"{file.parent} holds the attack on another picture; give another --out")


def _label(file: Path, picture: Picture, single: Single, matrix: Path, device: str) -> None:
    """Store the picture with what the model sees in it: that is what the attack should change."""
    if not file.exists():
        _write_image(file, picture, 0)  # a plan needs a file to be there
    plan = expand(load_matrix(matrix, allow_code=single.allow_code))
    if plan.jobs:
        model = obtain(plan.jobs[0].recipe, results=matrix.parent.resolve(), device=device)
        _write_image(file, picture, _predicted(model, picture.pixels.to(device)))


def _matrix(single: Single, data: Mapping[str, Json]) -> dict[str, Json]:
    """The matrix of one cell. JSON is YAML."""
    kind = "controls" if single.attack in CONTROLS else "attacks"
    if kind == "attacks":
        attack_or_control(single.attack)  # refused here, where the message names both kinds of methods
    named: Json = int(single.goal) if single.goal.isdecimal() else single.goal  # a class is a number in a matrix
    goal: dict[str, Json] = {} if single.goal == "untargeted" else {"goal": named}
    threat: dict[str, Json] = {"norm": single.norm} | ({} if single.eps is None else {"eps": [single.eps]})
    weights: dict[str, Json] = {} if single.weights is None else {"weights": str(single.weights.resolve())}
    return {
        "schema": 1,
        "question": f"What does {single.attack} do to {single.model} on {single.dataset}?",
        "seed": single.seed,
        **({} if single.budget is None else {"budget": single.budget}),
        "data": dict(data),
        "models": [{single.model: weights} if weights else single.model],
        "threats": [threat],
        kind: [{single.attack: {**(single.params or {}), **goal}}],
    }


def _read(image: Path, dataset: str) -> Picture:
    """Where shape and class names are known from the dataset's name alone, no file of it is needed."""
    shape = DATASETS[dataset.partition(":")[0]].info.shape or load_dataset(dataset).shape
    return Picture(read_as(image, dataset, shape)[None], classes_of(dataset))


def _write_image(file: Path, picture: Picture, label: int) -> None:
    arrays = {"images": picture.pixels.numpy(), "labels": np.array([label]), "classes": np.array(picture.classes)}
    atomic_write(file, lambda target: np.savez(target, allow_pickle=False, **arrays))


def _predicted(model: nn.Module, x: torch.Tensor) -> int:
    """A picture of the user's has no label: what the model says is what the attack should change."""
    return int(predict(model, x).argmax())

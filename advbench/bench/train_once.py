"""One training without a matrix file: checked like an entry of one, with its weights where the user wants them."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, cast

from advbench.bench.entries import DefenseChoice, read_defenses
from advbench.bench.yaml_loader import parse_yaml
from advbench.datasets.load import load_dataset
from advbench.defenses.curve import Curve
from advbench.defenses.train import UNPERTURBED, TrainingLoss, plain, train
from advbench.models.load import load_model
from advbench.registry import DEFENSES
from advbench.store import check_room, write_json, write_tensors
from advbench.types import ConfigError, Json, ThreatModel, norm_name

# Of the weights: a checkpoint holds them and their momentum, and so does the one that replaces it; and `out`.
COPIES = 5
_PLACE = "train"  # stands for the file in messages, and is cut out of them


@dataclass(frozen=True)
class Request:
    """What to train, on what, how. params: of the defense (norm and eps among them) and of `Training`."""

    model: str
    data: str
    defense: str
    params: Mapping[str, Json]
    seed: int = 0
    allow_code: bool = False


class Trained(NamedTuple):
    """What a training left behind."""

    weights: Path
    curve_file: Path
    curve: Curve


def train_once(request: Request, out: Path, *, device: str = "cpu", progress: bool = True) -> Trained:
    """Train and write `out` (.safetensors) and, beside it, the curve as .curve.json.

    An interrupted training goes on when it is asked for again. Raises ConfigError on bad input, before any work.
    """
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out must end in .safetensors, got {out}")
    choice = _checked(request)
    data = load_dataset(request.data, "train")
    model = load_model(
        request.model, shape=data.shape, classes=len(data.classes), seed=request.seed, allow_code=request.allow_code
    )
    check_room(out.parent, COPIES * sum(each.numel() * each.element_size() for each in model.state_dict().values()))
    checkpoint = out.with_suffix(".checkpoint.pt")
    curve = train(
        model,
        data.images,
        data.labels,
        loss=_loss(choice),
        threat=_threat(choice),
        training=choice.training,
        seed=request.seed,
        checkpoint=checkpoint,
        device=device,
        progress=progress,
    )
    curve_file = out.with_suffix(".curve.json")
    write_json(curve_file, curve.to_json() | {"recipe": _described(request, choice)})
    write_tensors(out, model.state_dict())
    checkpoint.unlink()
    return Trained(out, curve_file, curve)


def _checked(request: Request) -> DefenseChoice:
    """The defense and the training settings, every default filled in."""
    if request.defense != "none":
        info = DEFENSES[request.defense].info  # refused here, where no matrix is spoken of
        if info.stage == "training" and info.radius and "eps" not in request.params:
            raise ConfigError(f"{request.defense} needs --eps, the radius to train against, such as 0.3 or 8/255")
    text = json.dumps({request.defense: dict(request.params)})  # JSON is YAML
    try:
        node = parse_yaml(text, _PLACE)
        choices = read_defenses(node, (), node)
    except ConfigError as error:
        raise ConfigError(re.sub(rf"^{_PLACE}:\d+:[: ]*(none\.)?", "", str(error))) from None
    if len(choices) != 1:
        raise ConfigError(f"{request.defense}: one training takes one value for each parameter, not a list")
    if choices[0].stage == "inference":
        raise ConfigError(f"{request.defense} is an inference defense: there is nothing to train")
    return choices[0]


def _loss(choice: DefenseChoice) -> TrainingLoss:
    if choice.stage == "none":
        return plain
    return cast("TrainingLoss", functools.partial(DEFENSES[choice.name].function, **choice.params))


def _threat(choice: DefenseChoice) -> ThreatModel:
    if choice.norm is None or choice.eps is None:
        return UNPERTURBED
    return ThreatModel(choice.norm, float(choice.eps))


def _described(request: Request, choice: DefenseChoice) -> dict[str, Json]:
    return {
        "model": request.model,
        "data": request.data,
        "defense": choice.name,
        "params": choice.params,
        "norm": None if choice.norm is None else norm_name(choice.norm),
        "eps": None if choice.eps is None else str(choice.eps),
        "training": asdict(choice.training),
        "seed": request.seed,
    }

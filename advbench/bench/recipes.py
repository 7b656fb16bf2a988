"""From a recipe to a model: load its weights, or train them once and keep them under their content key."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import nn
from tqdm import tqdm

from advbench.bench.jobs import EnsembleRecipe, Recipe, SubstituteRecipe
from advbench.datasets.dataset import Dataset
from advbench.datasets.load import load_dataset
from advbench.defenses.substitute import Substitute, substitute
from advbench.defenses.train import UNPERTURBED, TrainingLoss, plain, train
from advbench.models.ensemble import MeanLogits
from advbench.models.fits import without_weights
from advbench.models.load import load_model
from advbench.models.weights import load_weights
from advbench.registry import DEFENSES
from advbench.store import read_json, sole_writer, write_json, write_tensors
from advbench.types import ConfigError, Json

WEIGHTS = "weights.safetensors"  # written last: its presence says that the folder is complete
CURVE = "curve.json"
RECIPE = "recipe.json"
_CHECKPOINT = "checkpoint.pt"


def obtain(
    recipe: Recipe | SubstituteRecipe | EnsembleRecipe,
    *,
    results: Path,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> nn.Module:
    """The model of `recipe` in eval mode on `device`.

    Fixed weights are loaded. Otherwise the model is trained once: `results/models/<key>/` keeps weights.safetensors,
    curve.json and recipe.json, all whole or absent. A second process waits for the first; after an interruption the
    training goes on at its last epoch. Raises ConfigError if the recipe has neither weights nor training data.
    """
    if isinstance(recipe, EnsembleRecipe):
        members = [obtain(each, results=results, device=device, progress=progress) for each in recipe.members]
        return MeanLogits(members).eval()
    folder = model_folder(recipe, results)
    if isinstance(recipe, SubstituteRecipe):
        model = _built(recipe.student)
        _once(folder, lambda: _learn(recipe, model, folder, results=results, device=device, progress=progress))
        load_weights(model, folder / WEIGHTS)
        return model.to(device).eval()
    model = _built(recipe)
    if not recipe.fixed:
        _once(folder, lambda: _train(recipe, model, folder, device=device, progress=progress))
        load_weights(model, folder / WEIGHTS)
    return _wrapped(recipe, model).to(device).eval()


def untrained(recipe: Recipe | SubstituteRecipe | EnsembleRecipe) -> nn.Module:
    """The network of `recipe` with weights drawn from its seed, in eval mode: to look at what it is made of."""
    if isinstance(recipe, EnsembleRecipe):
        return MeanLogits([untrained(each) for each in recipe.members]).eval()
    if isinstance(recipe, SubstituteRecipe):
        return untrained(recipe.student)
    params = without_weights(recipe.spec, recipe.params)
    return _wrapped(recipe, _built(replace(recipe, weights=None, params=params))).eval()


def model_folder(recipe: Recipe | SubstituteRecipe, results: Path) -> Path:
    """Where the weights of a trained recipe are kept."""
    return results / "models" / recipe.key


def transfer_facts(recipe: Recipe | SubstituteRecipe | EnsembleRecipe, *, results: Path) -> dict[str, Json]:
    """What a report says about an obtained substitute: its name and, if it asked the victim, queries and agreement.

    Of an ensemble: the names, and the queries of all members together.
    """
    if isinstance(recipe, EnsembleRecipe):
        each = [transfer_facts(member, results=results) for member in recipe.members]
        queries = [int(cast(int, own["queries"])) for own in each if "queries" in own]
        together: dict[str, Json] = {"queries": sum(queries)} if queries else {}
        return {"substitute": " + ".join(str(own["substitute"]) for own in each)} | together
    facts: dict[str, Json] = {"substitute": recipe.label if isinstance(recipe, Recipe) else recipe.student.label}
    if isinstance(recipe, SubstituteRecipe):
        stored = cast("Mapping[str, Json]", read_json(model_folder(recipe, results) / RECIPE))
        facts |= {name: stored[name] for name in ("queries", "agreement")}
    return facts


def _built(recipe: Recipe) -> nn.Module:
    return load_model(
        recipe.spec,
        shape=recipe.shape,
        classes=recipe.classes,
        weights=recipe.weights,
        seed=recipe.seed,
        allow_code=recipe.allow_code,
        params=recipe.params,
    )


def _once(folder: Path, make: Callable[[], None]) -> None:
    """Call `make` unless the folder is complete; processes that ask at the same time take turns."""
    if (folder / WEIGHTS).exists():
        return
    with sole_writer(folder):
        if not (folder / WEIGHTS).exists():
            make()


def _train(recipe: Recipe, model: nn.Module, folder: Path, *, device: str | torch.device, progress: bool) -> None:
    if recipe.training is None:
        raise ConfigError(f"{recipe.label or recipe.spec}: there are neither weights nor a training")
    _announce(recipe.label or recipe.spec, recipe.key, progress=progress)
    data = _training_data(recipe)
    curve = train(
        model,
        data.images,
        data.labels,
        loss=_loss(recipe),
        training=recipe.training,
        seed=recipe.seed,
        threat=recipe.threat or UNPERTURBED,
        checkpoint=folder / _CHECKPOINT,
        device=device,
        progress=progress,
    )
    write_json(folder / CURVE, curve.to_json())
    write_json(folder / RECIPE, {"key": recipe.key, "label": recipe.label, "identity": recipe.identity()})
    write_tensors(folder / WEIGHTS, model.state_dict())
    (folder / _CHECKPOINT).unlink(missing_ok=True)


def _learn(
    recipe: SubstituteRecipe,
    model: nn.Module,
    folder: Path,
    *,
    results: Path,
    device: str | torch.device,
    progress: bool,
) -> None:
    who = f"{recipe.student.label} from the labels of {recipe.victim.label}"
    _announce(who, recipe.key, progress=progress)
    data = _training_data(recipe.student)
    victim = obtain(recipe.victim, results=results, device=device, progress=progress)
    ask: Callable[..., Substitute] = substitute
    learnt = ask(
        victim, model, data.images, data.labels, seed=recipe.seed, device=device, progress=progress, **recipe.params
    )
    facts: dict[str, Json] = {"queries": learnt.queries, "agreement": learnt.agreement}
    write_json(folder / RECIPE, {"key": recipe.key, "identity": recipe.identity(), **facts})
    write_tensors(folder / WEIGHTS, model.state_dict())


def _announce(label: str, key: str, *, progress: bool) -> None:
    """The epochs told below do not say whose they are."""
    if progress:
        tqdm.write(f"training {label} ({key[:8]})", file=sys.stderr)


def _training_data(recipe: Recipe) -> Dataset:
    if recipe.data is None:
        raise ConfigError(f"{recipe.label or recipe.spec} must be trained, but there are no training data")
    return load_dataset(recipe.data, "train", root=None if recipe.root is None else Path(recipe.root), size=recipe.size)


def _loss(recipe: Recipe) -> TrainingLoss:
    if recipe.stage != "training":
        return plain
    return cast("TrainingLoss", functools.partial(DEFENSES[recipe.defense].function, **recipe.defense_params))


def _wrapped(recipe: Recipe, model: nn.Module) -> nn.Module:
    """The model behind its inference defense, if it has one."""
    if recipe.stage != "inference":
        return model
    return cast("nn.Module", DEFENSES[recipe.defense].function(model, **recipe.defense_params))

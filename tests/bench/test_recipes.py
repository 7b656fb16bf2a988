"""From a recipe to a model: loaded, or trained once and kept."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import filelock
import pytest
import torch
from torch import Tensor, nn

from advbench.bench import recipes
from advbench.bench.jobs import Recipe, SubstituteRecipe
from advbench.bench.recipes import model_folder, obtain, transfer_facts
from advbench.datasets.load import load_samples
from advbench.defenses.curve import Curve
from advbench.defenses.train import Training
from advbench.models.load import load_model
from advbench.registry import DEFENSES, DefenseInfo, Entry
from advbench.store import read_json, read_tensors, write_tensors
from advbench.types import ConfigError, ThreatModel

RECIPE = Recipe(
    spec="small_cnn",
    params={"width": 4},
    content={"name": "small_cnn", "params": {"width": 4}},
    weights=None,
    fixed=False,
    shape=(1, 8, 8),
    classes=10,
    defense="adversarial",
    defense_params={"steps": 2, "relative_step": 2.5},
    stage="training",
    threat=ThreatModel(math.inf, 0.1),
    training=Training(epochs=2, batch_size=128),
    data="digits",
    data_content={"name": "digits", "split": "train"},
    root=None,
    size=None,
    seed=0,
    label="small_cnn adversarial",
)
PARAMS = {"seeds": 20, "rounds": 2, "epochs": 2}


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def obtain_in(results: Path, recipe: Recipe = RECIPE) -> None:
    """For another process."""
    torch.set_num_threads(1)
    obtain(recipe, results=results, progress=False)


def test_a_training_is_kept_whole_under_its_key_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = obtain(RECIPE, results=tmp_path, progress=False)
    folder = tmp_path / "models" / RECIPE.key
    assert {path.name for path in folder.iterdir()} - {".lock"} == {"weights.safetensors", "curve.json", "recipe.json"}
    assert same(read_tensors(folder / "weights.safetensors"), weights(model))
    assert len(Curve.from_json(read_json(folder / "curve.json")).epochs) == 2
    stored = json.loads((folder / "recipe.json").read_text())
    assert stored["identity"] == json.loads(json.dumps(RECIPE.identity()))
    assert not model.training
    monkeypatch.setattr(recipes, "train", None)  # from now on a training would fail
    assert same(weights(obtain(RECIPE, results=tmp_path, progress=False)), weights(model))


@pytest.mark.slow
def test_it_is_said_what_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    student = replace(RECIPE.plain(), seed=7, label="twin")
    recipe = SubstituteRecipe(student, RECIPE, PARAMS, 0)
    obtain(recipe, results=tmp_path)
    heads = [line for line in capsys.readouterr().err.splitlines() if line.startswith("training")]
    assert heads == [
        f"training twin from the labels of small_cnn adversarial ({recipe.key[:8]})",
        f"training small_cnn adversarial ({RECIPE.key[:8]})",
    ]
    obtain(recipe, results=tmp_path)
    assert "training" not in capsys.readouterr().err


def test_defense_and_seed_reach_the_training(tmp_path: Path) -> None:
    variants = [RECIPE, RECIPE.plain(), replace(RECIPE, seed=1), replace(RECIPE, threat=ThreatModel(2.0, 0.5))]
    models = [weights(obtain(recipe, results=tmp_path, progress=False)) for recipe in variants]
    assert len({recipe.key for recipe in variants}) == 4
    assert not any(same(models[i], models[j]) for i in range(4) for j in range(i))


def test_fixed_weights_are_loaded_and_nothing_is_written(tmp_path: Path) -> None:
    file = tmp_path / "given.safetensors"
    given = load_model("small_cnn", shape=(1, 8, 8), classes=10, seed=5, params={"width": 4})
    write_tensors(file, given.state_dict())
    fixed = replace(RECIPE.plain(), weights=str(file), fixed=True, training=None, data=None)
    model = obtain(fixed, results=tmp_path / "results", progress=False)
    assert same(weights(model), weights(given))
    assert not (tmp_path / "results").exists()


def test_a_recipe_without_training_or_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither weights nor a training"):
        obtain(replace(RECIPE, training=None), results=tmp_path, progress=False)
    with pytest.raises(ConfigError, match="no training data"):
        obtain(replace(RECIPE, data=None), results=tmp_path, progress=False)


def test_an_inference_defense_stands_around_the_plainly_trained_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inverting(model: nn.Module, *, scale: float) -> nn.Module:
        return nn.Sequential(model, nn.Flatten(), nn.Threshold(-math.inf, scale))

    monkeypatch.setitem(DEFENSES._entries, "inverting", Entry("inverting", inverting, DefenseInfo("inference")))
    recipe = replace(RECIPE.plain(), defense="inverting", defense_params={"scale": 2.0}, stage="inference")
    model = obtain(recipe, results=tmp_path, progress=False)
    assert isinstance(model, nn.Sequential)
    assert recipe.key == RECIPE.plain().key
    assert same(weights(model[0]), weights(obtain(RECIPE.plain(), results=tmp_path, progress=False)))


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    recipe = replace(RECIPE, training=Training(epochs=5, batch_size=64))
    folder = model_folder(recipe, tmp_path / "killed")
    process = multiprocessing.get_context("spawn").Process(target=obtain_in, args=(tmp_path / "killed", recipe))
    process.start()
    assert process.pid is not None
    while not (folder / "checkpoint.pt").exists() and process.is_alive():
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (folder / "weights.safetensors").exists()
    resumed = obtain(recipe, results=tmp_path / "killed", progress=False)
    whole = obtain(recipe, results=tmp_path / "whole", progress=False)
    assert same(weights(resumed), weights(whole))
    assert {path.name for path in folder.iterdir()} - {".lock"} == {"weights.safetensors", "curve.json", "recipe.json"}


def test_a_process_that_finds_the_lock_taken_waits_for_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = obtain(RECIPE, results=tmp_path / "other", progress=False)
    lock = filelock.FileLock

    class Slow(lock):  # type: ignore[misc, valid-type]
        """While this process waits, another one finishes the training."""

        def acquire(self, *args: object, **kwargs: object) -> object:
            write_tensors(model_folder(RECIPE, tmp_path / "mine") / "weights.safetensors", trained.state_dict())
            return super().acquire(*args, **kwargs)

    monkeypatch.setattr(filelock, "FileLock", Slow)
    monkeypatch.setattr(recipes, "train", None)
    assert same(weights(obtain(RECIPE, results=tmp_path / "mine", progress=False)), weights(trained))


def test_a_substitute_is_kept_with_its_queries_and_its_agreement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = replace(RECIPE.plain(), spec="mlp", params={}, content={"name": "mlp"}, seed=7, label="mlp")
    recipe = SubstituteRecipe(student, RECIPE, PARAMS, 0)
    model = obtain(recipe, results=tmp_path, progress=False)
    victim = obtain(RECIPE, results=tmp_path, progress=False)
    facts = transfer_facts(recipe, results=tmp_path)
    assert facts["substitute"] == "mlp"
    assert facts["queries"] == 20 * 2**2
    x, _ = load_samples("digits", split="test")
    with torch.no_grad():
        agreement = (model(x).argmax(1) == victim(x).argmax(1)).float().mean()
    assert facts["agreement"] == pytest.approx(float(agreement), abs=0.1)
    monkeypatch.setattr(recipes, "substitute", None)
    assert same(weights(obtain(recipe, results=tmp_path, progress=False)), weights(model))


def test_a_named_substitute_has_a_name_only(tmp_path: Path) -> None:
    assert transfer_facts(RECIPE, results=tmp_path) == {"substitute": "small_cnn adversarial"}

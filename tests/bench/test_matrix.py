"""Unfolding a matrix: every combination is a cell or a skip, and keys follow content alone.

`python tests/bench/test_matrix.py` rewrites tests/golden_keys.json. That orphans every stored result: do it only with
a new schema number.
"""

from __future__ import annotations

import copy
import json
import pickle
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.bench.config import load_matrix
from advbench.bench.cost import passes
from advbench.bench.jobs import Job, Plan, Recipe, SubstituteRecipe
from advbench.bench.matrix import expand
from advbench.models.load import load_model
from advbench.store import write_tensors
from advbench.types import ConfigError, canonical_json, content_key

Document = dict[str, object]
Write = Callable[[Document], Path]

GOLDEN = Path(__file__).resolve().parents[1] / "golden_keys.json"
GOLDEN_MATRIX = """\
question: Do keys stay?
seed: 7
data: {name: digits, count: 30}
models: [linear, {small_cnn: {width: 8}}]
defenses: [none, {adversarial: {eps: 1/5, epochs: 3}}]
threats: [{norm: inf, eps: [0.1, 8/255]}, {norm: 2}]
attacks: [fgsm, {pgd: {steps: 7, goal: next}}, {fooling: {goal: 3}}, {transfer: {substitute: twin, via: fgsm}}]
controls: [random_sphere]
"""


def plan_of(path: Path, text: str) -> Plan:
    path.write_text(text)
    return expand(load_matrix(path))


def keys(plan: Plan) -> list[str]:
    return [job.cell.key for job in plan.jobs]


def shuffled(value: object, order: random.Random, *, lists: bool) -> object:
    """The same document with the keys of its tables (and the values of its lists) in another order."""
    if isinstance(value, dict):
        items = [(key, shuffled(inner, order, lists=lists)) for key, inner in value.items()]
        order.shuffle(items)
        return dict(items)
    if isinstance(value, list):
        values = [shuffled(inner, order, lists=lists) for inner in value]
        if lists:
            order.shuffle(values)
        return values
    return value


@pytest.fixture(scope="module")
def plan(document: Document, write: Write) -> Plan:
    return expand(load_matrix(write(document)))


@pytest.mark.slow
@settings(max_examples=15)
@given(order=st.randoms(use_true_random=False))
def test_the_order_of_keys_changes_no_cell(order: random.Random, document: Document, write: Write, plan: Plan) -> None:
    other = shuffled(document, order, lists=False)
    assert isinstance(other, dict)
    again = expand(load_matrix(write(other)))
    assert keys(again) == keys(plan)
    assert [job.slug for job in again.jobs] == [job.slug for job in plan.jobs]


@pytest.mark.slow
@settings(max_examples=15)
@given(order=st.randoms(use_true_random=False))
def test_the_order_of_values_changes_the_order_of_cells_only(
    order: random.Random, document: Document, write: Write, plan: Plan
) -> None:
    other = shuffled(document, order, lists=True)
    assert isinstance(other, dict)
    again = expand(load_matrix(write(other)))
    assert sorted(keys(again)) == sorted(keys(plan))
    assert {job.cell.key: dict(job.labels) for job in again.jobs} == {
        job.cell.key: dict(job.labels) for job in plan.jobs
    }


def test_every_combination_is_one_cell_or_a_skip(plan: Plan) -> None:
    placed = [dict(job.labels) for job in plan.jobs]
    matrix = plan.matrix
    models = {job.labels["model"] for job in plan.jobs}
    defenses = {job.labels["defense"] for job in plan.jobs}
    methods = {(job.labels["attack"], job.goal) for job in plan.jobs}
    assert (len(models), len(defenses)) == (len(matrix.models), len(matrix.defenses))
    assert len(methods) == len(matrix.attacks) + len(matrix.controls)
    for model in models:
        for defense in defenses:
            for attack, goal in methods:
                for norm in ("linf", "l2"):
                    place = {"model": model, "defense": defense, "attack": attack, "goal": goal, "norm": norm}
                    skipped = [
                        skip for skip in plan.skips if all(place[key] == value for key, value in skip.labels.items())
                    ]
                    assert placed.count(place) + len(skipped) == 1
    assert all(skip.reason for skip in plan.skips)


def test_the_reasons_are_those_of_the_matrix(plan: Plan) -> None:
    reasons = {skip.reason for skip in plan.skips}
    assert "pgd needs a radius, and this threat has none" in reasons
    assert "excluded: linear models need no more" in reasons


def test_a_cell_holds_every_parameter_resolved(plan: Plan) -> None:
    job = next(
        job for job in plan.jobs if job.attack.name == "pgd" and job.goal == "4" and job.labels["norm"] == "linf"
    )
    spec = json.loads(canonical_json(job.cell.spec()))
    assert spec["attack"]["params"]["restarts"] == 1
    assert spec["goal"] == "4"
    assert spec["eps"] == ["8/255", "1/10"]
    assert spec["dataset"]["count"] == 20
    assert spec["seed"] == 3


def test_keys_are_distinct_and_slugs_are_safe(plan: Plan) -> None:
    assert len(set(keys(plan))) == len(plan.jobs)
    for job in plan.jobs:
        assert job.slug.isascii()
        assert len(job.slug) <= 80
        assert not set(job.slug) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def test_cheap_cells_of_a_model_come_first(plan: Plan) -> None:
    runs: list[list[Job]] = []
    for job in plan.jobs:
        if not runs or runs[-1][-1].recipe != job.recipe:
            runs.append([])
        runs[-1].append(job)
    assert len(runs) == len({job.recipe.key for job in plan.jobs})  # each model is loaded once
    for run in runs:
        assert [passes(job) for job in run] == sorted(passes(job) for job in run)


def test_a_job_travels_to_another_process(plan: Plan) -> None:
    for job in plan.jobs:
        assert pickle.loads(pickle.dumps(job)) == job


def test_a_model_is_trained_once_for_all_its_cells(plan: Plan) -> None:
    by_label = {(job.labels["model"], job.labels["defense"]): job.recipe.key for job in plan.jobs}
    assert len(set(by_label.values())) == len(by_label)
    assert {job.cell.model["weights"] for job in plan.jobs} == set(by_label.values())


def test_substitutes_are_what_their_entry_says(plan: Plan) -> None:
    for job in plan.jobs:
        if job.attack.name != "transfer":
            assert job.substitute is None
            continue
        (kind,) = job.attack.params["substitute"]  # type: ignore[misc, union-attr]
        substitute = job.substitute
        if kind == "labels":
            assert isinstance(substitute, SubstituteRecipe)
            assert substitute.victim == job.recipe
            assert substitute.params["seeds"] == 10
            continue
        assert isinstance(substitute, Recipe)
        assert substitute.stage == "none"
        assert (substitute.seed, substitute.spec) == ((4, job.recipe.spec) if kind == "twin" else (3, "linear"))
        assert substitute.key != job.recipe.key or kind == "model"


def test_a_twin_is_trained_like_its_victim_with_another_seed(tmp_path: Path) -> None:
    found = plan_of(tmp_path / "m.yaml", GOLDEN_MATRIX)
    twins = [(job.recipe, job.substitute) for job in found.jobs if job.substitute is not None]
    assert {recipe.stage for recipe, _ in twins} == {"none", "training"}
    for recipe, twin in twins:
        assert isinstance(twin, Recipe)
        assert twin.identity() == {**recipe.identity(), "seed": recipe.seed + 1}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "linear.safetensors"
    write_tensors(path, load_model("linear", dataset="digits").state_dict())
    return path


def test_fixed_weights_take_no_training_defense_and_no_twin(tmp_path: Path, weights: Path) -> None:
    found = plan_of(
        tmp_path / "m.yaml", GOLDEN_MATRIX.replace("[linear,", f"[{{linear: {{weights: {weights.name}}}}},")
    )
    reasons = {skip.reason for skip in found.skips if skip.labels.get("model") == "linear"}
    assert "linear comes with fixed weights; adversarial would have to train them" in reasons
    assert any(reason.startswith("a twin is trained like its victim") for reason in reasons)
    fixed = [job.recipe for job in found.jobs if job.labels["model"] == "linear"]
    assert fixed
    assert all(recipe.training is None and recipe.defense == "none" for recipe in fixed)


def test_keys_know_contents_and_no_paths(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    copied = shutil.copy(weights, tmp_path / "elsewhere" / "renamed.safetensors")
    text = GOLDEN_MATRIX.replace("[linear, {small_cnn: {width: 8}}]", "[{linear: {weights: FILE}}]")
    here = plan_of(tmp_path / "m.yaml", text.replace("FILE", str(weights)))
    there = plan_of(tmp_path / "elsewhere" / "other.yaml", text.replace("FILE", str(copied)))
    assert keys(here) == keys(there)
    write_tensors(weights, load_model("linear", dataset="digits", seed=1).state_dict())
    assert not set(keys(plan_of(tmp_path / "m.yaml", text.replace("FILE", str(weights))))) & set(keys(here))


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("'torchvision:resnet18'", "m.yaml:4: resnet18: torchvision:resnet18 takes images with 3 channels, got 1"),
        ("linear, {linear: {weights: linear.safetensors}}", "m.yaml:4: linear: weights .*has shape"),
    ],
)
def test_a_model_that_does_not_fit_its_data_is_refused_in_the_plan(tmp_path: Path, models: str, message: str) -> None:
    write_tensors(tmp_path / "linear.safetensors", load_model("linear", dataset="mnist").state_dict())
    text = GOLDEN_MATRIX.replace("linear, {small_cnn: {width: 8}}", models)
    with pytest.raises(ConfigError, match=message):
        plan_of(tmp_path / "m.yaml", text)


def test_a_substitute_that_does_not_fit_is_refused_too(tmp_path: Path) -> None:
    text = GOLDEN_MATRIX.replace("substitute: twin", "substitute: 'torchvision:resnet18'")
    with pytest.raises(ConfigError, match=r"m.yaml:7: resnet18: .*3 channels"):
        plan_of(tmp_path / "m.yaml", text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps: 7", "steps: 0", "m.yaml:7: pgd: steps must be at least 1, got 0"),
        ("steps: 7", "steps: [7, 0]", "m.yaml:7: pgd: steps must be at least 1, got 0"),
        ("steps: 7", "relative_step: inf", "m.yaml:7: pgd: relative_step must be positive and finite, got inf"),
        ("via: fgsm", "via: {pgd: {steps: 0}}", "m.yaml:7: transfer: steps must be at least 1, got 0"),
        (
            "[random_sphere]",
            "[{random_sphere: {tries: 0}}]",
            "m.yaml:8: random_sphere: tries must be at least 1, got 0",
        ),
        ("epochs: 3", "steps: 0", "m.yaml:5: adversarial: steps must be at least 1, got 0"),
        ("controls:", "explain: [{rise: {masks: 0}}]\ncontrols:", "m.yaml:8: rise: rise: needs masks >= 1"),
        ("controls:", "explain: [{grad_cam: {layer: conv9}}]\ncontrols:", "m.yaml:8: grad_cam: no layer named 'conv9'"),
        ("epochs: 3", "relative_step: 0", "m.yaml:5: adversarial: relative_step must be positive and finite, got 0.0"),
        ("[fgsm,", "[{bpda: {module: absent}},", "m.yaml:7: bpda: .*'absent'"),
        ("[fgsm,", "[{bpda: {module: 7}},", "m.yaml:7: bpda: no module named '7' in Sequential"),  # linear has two
        (
            "[fgsm,",
            "[{bpda: {module: 1}},",
            "m.yaml:7: bpda: the stand-in for '1' gives .64,. per sample, the module .10",
        ),
        (
            "via: fgsm",
            "via: {bpda: {module: 1, via: fgsm}}",
            "m.yaml:7: transfer: the stand-in for '1' gives .64,. per",
        ),
        ("via: fgsm", "via: {bpda: {module: absent}}", "m.yaml:7: transfer: .*'absent'"),
        (
            "substitute: twin",
            "substitute: {labels: {model: linear, seeds: 0}}",
            "m.yaml:7: transfer: substitute.seeds must be at least 1, got 0",
        ),
    ],
)
def test_values_that_a_method_refuses_are_found_in_the_plan(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOLDEN_MATRIX
    with pytest.raises(ConfigError, match=message):
        plan_of(tmp_path / "m.yaml", GOLDEN_MATRIX.replace(old, new))


def test_each_model_is_asked_for_a_module_of_its_own(tmp_path: Path) -> None:
    """A ReLU of the one is the last layer of the other."""
    text = GOLDEN_MATRIX.replace("[fgsm,", "[{bpda: {module: 1}},")
    both = "[linear, {small_cnn: {width: 8}}]"
    assert plan_of(tmp_path / "m.yaml", text.replace(both, "[{small_cnn: {width: 8}}]")).jobs
    with pytest.raises(ConfigError, match=r"m.yaml:7: bpda: the stand-in for '1' gives \(64,\) per sample, the module"):
        plan_of(tmp_path / "m.yaml", text.replace(both, "[{small_cnn: {width: 8}}, linear]"))


@pytest.mark.parametrize(
    "entry",
    ["{bpda: {module: net.stage1}}", "{transfer: {substitute: twin, via: {bpda: {module: net.stage1}}}}"],
)
def test_a_module_of_the_model_itself_may_be_named(tmp_path: Path, entry: str) -> None:
    """The rehearsal's stand-in has no such module: the model of the cell is asked."""
    text = GOLDEN_MATRIX.replace("[fgsm,", f"[{entry},").replace(
        "[linear, {small_cnn: {width: 8}}]", "[preact_resnet18]"
    )
    assert [job for job in plan_of(tmp_path / "m.yaml", text).jobs if "bpda" in str(job.attack)]


def test_a_layer_that_one_of_the_models_has_may_be_explained(tmp_path: Path) -> None:
    text = GOLDEN_MATRIX.replace("{small_cnn: {width: 8}}", "preact_resnet18")
    plan = plan_of(tmp_path / "m.yaml", f"{text}explain: [{{grad_cam: {{layer: net.stem}}}}]\n")
    assert {job.explain[0].params["layer"] for job in plan.jobs} == {"net.stem"}


def test_an_attack_inside_an_attack_inside_an_attack_is_asked_for_the_norm(tmp_path: Path) -> None:
    """transfer and bpda take l2, pgd_l0 does not: two levels down."""
    entry = "{transfer: {substitute: twin, via: {bpda: {module: conv, via: pgd_l0}}}}"
    found = plan_of(tmp_path / "m.yaml", GOLDEN_MATRIX.replace("{transfer: {substitute: twin, via: fgsm}}", entry))
    assert not [job for job in found.jobs if job.attack.name == "transfer"]
    assert "pgd_l0 does not work in linf, only in l0" in {skip.reason for skip in found.skips}


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("{name: digits, split: train, count: 99999}", "m.yaml:7: universal: images: digits train has"),
        ("digits, goal: next", "m.yaml:7: universal learns on images whose class 'next' is not known"),
        ("'npz:rgb.npz'", r"m.yaml:7: universal: images are \(3, 8, 8\), those of the data \(1, 8, 8\)"),
    ],
)
def test_images_to_learn_on_must_be_there_and_fit(tmp_path: Path, images: str, message: str) -> None:
    np.savez(tmp_path / "rgb.npz", images=np.zeros((4, 3, 8, 8), np.uint8), labels=np.arange(4))
    with pytest.raises(ConfigError, match=message):
        plan_of(tmp_path / "m.yaml", GOLDEN_MATRIX.replace("[fgsm,", f"[{{universal: {{images: {images}}}}},"))


def test_images_to_learn_on_are_known_by_content(tmp_path: Path) -> None:
    """A copy of a file elsewhere is the same cell; another count is another one."""
    found = []
    for folder, count in (("a", 5), ("b", 5), ("b", 6)):
        (tmp_path / folder).mkdir(exist_ok=True)
        np.savez(tmp_path / folder / "x.npz", images=np.zeros((9, 8, 8), np.uint8), labels=np.arange(9))
        entry = f"[{{universal: {{images: {{name: 'npz:{folder}/x.npz', count: {count}}}}}}},"
        plan = plan_of(tmp_path / "m.yaml", GOLDEN_MATRIX.replace("[fgsm,", entry))
        found.append([job.cell.key for job in plan.jobs if job.attack.name == "universal"])
    assert found[0]
    assert found[0] == found[1]
    assert not set(found[1]) & set(found[2])


def test_what_changes_a_result_changes_its_key(tmp_path: Path) -> None:
    before = set(keys(plan_of(tmp_path / "m.yaml", GOLDEN_MATRIX)))
    for old, new in (
        ("seed: 7", "seed: 8"),
        ("count: 30", "count: 31"),
        ("name: digits,", "name: digits, split: train,"),
        ("question: Do keys stay?", "question: Do keys stay?\nprecision: bfloat16"),
    ):
        assert old in GOLDEN_MATRIX
        assert not before & set(keys(plan_of(tmp_path / "m.yaml", GOLDEN_MATRIX.replace(old, new))))
    for old, new in (("8/255", "16/510"), ("Do keys stay?", "Really?"), ("[0.1, 8/255]", "[8/255, 1e-1]")):
        assert before == set(keys(plan_of(tmp_path / "m.yaml", GOLDEN_MATRIX.replace(old, new))))


def test_a_nested_grid_changes_the_keys_of_the_attacks_it_concerns_and_no_other(tmp_path: Path) -> None:
    every = plan_of(tmp_path / "every.yaml", GOLDEN_MATRIX)
    nested = plan_of(tmp_path / "nested.yaml", GOLDEN_MATRIX + "grid: nested\n")
    changed = {a.attack.name for a, b in zip(every.jobs, nested.jobs, strict=True) if a.cell.key != b.cell.key}
    assert changed == {"pgd"}
    assert {job.grid for job in nested.jobs} == {"nested"}


def test_equal_cells_are_run_once(tmp_path: Path) -> None:
    twice = plan_of(tmp_path / "m.yaml", GOLDEN_MATRIX.replace("[fgsm,", "[fgsm, fgsm,"))
    assert keys(twice) == keys(plan_of(tmp_path / "m.yaml", GOLDEN_MATRIX))
    assert any(skip.reason.startswith("the same cell as linear / none / fgsm") for skip in twice.skips)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "{norm: 2}",
            "{norm: 2, eps: 8.1}",
            "m.yaml:6: eps 8.1 in l2 is larger than the box of these images, 8 across",
        ),
        ("goal: 3", "goal: 10", "m.yaml:7: fooling has the goal 10, but the classes are 0 to 9"),
        ("count: 30", "count: 5000", "m.yaml:3: data: digits test has 500 samples, 5000 were asked for"),
        ("controls:", "exclude: [{norm: 1, because: x}]\ncontrols:", "m.yaml:8: exclude[0] matches no cell"),
    ],
)
def test_what_the_data_cannot_serve_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        plan_of(tmp_path / "m.yaml", GOLDEN_MATRIX.replace(old, new))
    assert message in str(refusal.value)


_IMAGES, _LABELS = np.zeros((20, 8, 8), dtype=np.uint8), np.arange(20) % 10
BAD_ARRAYS: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "no images": ({"labels": _LABELS}, "has neither 'images' nor"),
    "no labels": ({"images": _IMAGES}, "has no array 'labels'"),
    "whole numbers": ({"images": _IMAGES.astype(np.int32), "labels": _LABELS}, "images must be uint8 or floats"),
    "too bright": ({"images": _IMAGES + np.float32(2), "labels": _LABELS}, "float images must lie in [0, 1]"),
    "labels are floats": ({"images": _IMAGES, "labels": _LABELS / 2}, "labels must be integers"),
    "few labels": ({"images": _IMAGES, "labels": _LABELS[:3]}, "as many labels as images"),
    "one class name": ({"images": _IMAGES, "labels": _LABELS, "classes": np.array("a")}, "classes must be names (K,)"),
}


@pytest.mark.parametrize(("arrays", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
@pytest.mark.parametrize("key", ["data", "data.train"])
def test_bad_arrays_are_refused_at_their_line(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str, key: str
) -> None:
    np.savez(tmp_path / "own.npz", **arrays)  # type: ignore[arg-type]
    entry = {"data": "{name: npz:own.npz}", "data.train": "{name: digits, train: npz:own.npz}"}[key]
    with pytest.raises(ConfigError) as refusal:
        plan_of(tmp_path / "m.yaml", GOLDEN_MATRIX.replace("{name: digits, count: 30}", entry))
    assert str(refusal.value).startswith(f"{tmp_path}/m.yaml:3: {key}: ")
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((20, 9, 9), np.uint8), _LABELS, "its images are (1, 9, 9), those of the data (1, 8, 8)"),
        (_IMAGES, _LABELS + 1, "its labels go to 10, the classes of the data are 0 .. 9"),
    ],
)
def test_a_training_part_that_does_not_fit_is_refused(
    tmp_path: Path, images: np.ndarray, labels: np.ndarray, message: str
) -> None:
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    entry = "{name: digits, count: 30, train: npz:own.npz}"
    with pytest.raises(ConfigError) as refusal:
        plan_of(tmp_path / "m.yaml", GOLDEN_MATRIX.replace("{name: digits, count: 30}", entry))
    assert str(refusal.value) == f"{tmp_path}/m.yaml:3: data.train: {message}"


def test_a_rule_for_cells_that_are_skipped_anyway_is_needless_but_no_mistake(tmp_path: Path) -> None:
    rule = "exclude: [{attack: pgd, norm: 0, because: x}]\ncontrols:"
    text = GOLDEN_MATRIX.replace("{norm: 2}]", "{norm: 2}, {norm: 0, eps: 3}]")
    without, with_rule = (
        plan_of(tmp_path / "m.yaml", text),
        plan_of(tmp_path / "m.yaml", text.replace("controls:", rule)),
    )
    assert keys(with_rule) == keys(without)
    assert [skip.reason for skip in with_rule.skips] == [skip.reason for skip in without.skips]
    assert any(skip.reason.startswith("pgd does not work in l0") for skip in with_rule.skips)


def test_data_without_a_training_part_need_weights(tmp_path: Path, shared_data: Path) -> None:
    one_file = f"'npz:{shared_data}/mnist/mnist_test.npz#mnist'"
    with pytest.raises(ConfigError, match=r"m.yaml:4: linear must be trained, but .* has no training part"):
        plan_of(tmp_path / "m.yaml", GOLDEN_MATRIX.replace("digits", one_file))


def test_a_published_net_of_layers_is_known_by_its_layers_and_weights(tmp_path: Path, shared_data: Path) -> None:
    data = f"data: {{name: 'npz:{shared_data}/mnist/mnist_{{split}}.npz#mnist', count: 10}}"
    models = f"models: ['sequential:{shared_data}/models/models.json#mnist_lenet5_plain']"
    text = f"question: Why?\n{data}\n{models}\nthreats: [{{norm: inf, eps: 0.1}}]\nattacks: [fgsm]\n"
    (job,) = plan_of(tmp_path / "m.yaml", text).jobs
    assert job.labels["model"] == "mnist_lenet5_plain"
    assert job.recipe.fixed
    assert set(job.recipe.content) == {"name", "layers", "weights"}
    assert str(shared_data) not in canonical_json(job.cell.spec())


def golden(folder: Path) -> Iterator[dict[str, object]]:
    for job in plan_of(folder / "golden.yaml", GOLDEN_MATRIX).jobs:
        yield {"slug": job.slug, "key": job.cell.key, "spec": job.cell.spec()}


def test_keys_of_stored_results_stay() -> None:
    for entry in json.loads(GOLDEN.read_text()):
        assert content_key(entry["spec"]) == entry["key"]


def test_the_same_matrix_still_has_the_same_cells(tmp_path: Path) -> None:
    assert list(golden(tmp_path)) == json.loads(GOLDEN.read_text())


def test_the_document_is_left_alone(document: Document, write: Write) -> None:
    before = copy.deepcopy(document)
    expand(load_matrix(write(document)))
    assert document == before


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        GOLDEN.write_text(json.dumps(list(golden(Path(temporary))), indent=1) + "\n")
    sys.stdout.write(f"wrote {GOLDEN}\n")

"""Reading a matrix: what it may say, and that every mistake is one line with file, line and the nearest name."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbench.bench.config import Matrix, load_matrix
from advbench.types import ConfigError

Document = dict[str, object]
Write = Callable[[Document], Path]
Place = tuple[str | int, ...]

SMALL = """\
question: Does it hold?
data: digits
models: [linear]
threats: [{norm: inf, eps: [0.1]}]
attacks: [fgsm]
"""


def places(value: object, at: Place = ()) -> Iterator[Place]:
    """Every place below `value`."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*at, key)
        yield from places(inner, (*at, key))


def parent_of(document: Document, place: Place) -> dict[str | int, object]:
    found: object = document
    for key in place[:-1]:
        found = found[key]  # type: ignore[index]
    assert isinstance(found, dict | list)
    return found  # type: ignore[return-value]


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as error:
        load_matrix(path)
    return str(error.value)


def load_text(folder: Path, text: str, *, allow_code: bool = False) -> Matrix:
    path = folder / "m.yaml"
    path.write_text(text)
    return load_matrix(path, allow_code=allow_code)


def test_every_key_of_a_matrix_arrives(document: Document, write: Write) -> None:
    matrix = load_matrix(write(document))
    assert (matrix.name, matrix.question, matrix.seed) == ("m", "Does anything hold?", 3)
    assert (matrix.data.name, matrix.data.split, matrix.data.count) == ("digits", "test", 20)
    assert [model.label for model in matrix.models] == ["linear", "small_cnn", "small_cnn"]
    assert [model.params for model in matrix.models] == [{}, {"width": 4}, {"width": 8}]
    plain, weak, strong = matrix.defenses
    assert (plain.stage, plain.training.epochs, plain.training.lr) == ("none", 2, 0.01)
    assert (weak.params["steps"], strong.params["steps"]) == (3, 7)
    assert (weak.norm, str(weak.eps), weak.training.optimizer) == (math.inf, "1/5", "sgd")
    assert [(threat.norm, threat.eps and tuple(map(str, threat.eps))) for threat in matrix.threats] == [
        (math.inf, ("8/255", "0.1")),
        (2.0, None),
    ]
    assert [choice.goal for choice in matrix.attacks if choice.name == "pgd"] == ["untargeted"] * 2 + ["next"] * 2 + [
        "4"
    ] * 2
    assert [(choice.name, choice.params) for choice in matrix.explain] == [("saliency", {})]
    assert matrix.exclude[0].because == "linear models need no more"


def test_a_class_goes_by_its_name_wherever_its_number_does(tmp_path: Path) -> None:
    text = SMALL.replace("digits", "{name: cifar10}").replace("[fgsm]", "[{pgd: {goal: [frog, Horse, 3, '4', next]}}]")
    matrix = load_text(tmp_path, f"{text}exclude: [{{goal: [frog, 3], because: they are left out}}]\n")
    assert [choice.goal for choice in matrix.attacks] == ["6", "7", "3", "4", "next"]
    assert matrix.exclude[0].names == {"goal": ("6", "3")}
    with pytest.raises(ConfigError, match=r"m\.yaml:5: .*goal\[0\] must be .*no class 'frogg'; did you mean 'frog'"):
        load_text(tmp_path, text.replace("frog", "frogg"))


def test_names_of_classes_in_a_file_of_ones_own(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", images=np.zeros((2, 8, 8)), labels=np.arange(2), classes=np.array(["hen", "no"]))
    text = SMALL.replace("digits", "'npz:own.npz'").replace("[fgsm]", "[{pgd: {goal: no}}]")
    assert [choice.goal for choice in load_text(tmp_path, text).attacks] == ["1"]


def test_attributions_take_parameters_as_attacks_do_and_only_what_differs_from_the_defaults_counts(
    tmp_path: Path,
) -> None:
    asked = "[rise, {rise: {grid: 4, masks: [500, 4000]}}, {rise: {masks: 4000}}, {smooth_grad: {noise: 1}}]"
    found = load_text(tmp_path, f"{SMALL}explain: {asked}\n").explain
    assert [(choice.name, list(choice.params.items())) for choice in found] == [
        ("rise", []),
        ("rise", [("masks", 500), ("grid", 4)]),
        ("rise", [("grid", 4)]),
        ("smooth_grad", [("noise", 1.0)]),
    ]


def test_the_smallest_matrix_has_defaults(tmp_path: Path) -> None:
    matrix = load_text(tmp_path, SMALL)
    assert [choice.name for choice in matrix.defenses] == ["none"]
    assert (matrix.seed, matrix.controls, matrix.exclude, matrix.precision) == (0, (), (), "float32")
    assert matrix.data.split == "test"
    assert matrix.data.count is None


@pytest.mark.slow
@given(data=st.data())
def test_a_misspelled_key_is_named_with_its_line_and_the_right_one(
    data: st.DataObject, write: Write, document: Document
) -> None:
    place = data.draw(st.sampled_from([place for place in places(document) if isinstance(place[-1], str)]))
    at = data.draw(st.integers(0, len(str(place[-1])) - 1))
    right = str(place[-1])
    wrong = right[:at] + right[at] + right[at:]
    broken = copy.deepcopy(document)
    table = parent_of(broken, place)
    renamed = {wrong if key == right else key: value for key, value in table.items()}
    table.clear()
    table.update(renamed)
    path = write(broken)
    message = refusal(path)
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if re.search(rf"\b{wrong}:", text))
    assert message.startswith(f"{path}:{line}: ")
    assert repr(wrong) in message
    assert f"did you mean {right!r}?" in message
    assert "\n" not in message


@given(data=st.data())
def test_a_duplicate_key_is_named_with_both_lines(data: st.DataObject, write: Write, document: Document) -> None:
    path = write(document)
    lines = path.read_text().splitlines()
    # Lines `key: value` whose value ends there: their copy, at the same depth, is a second key of the same table.
    simple = [i for i, line in enumerate(lines) if re.fullmatch(r"[- ]*\w+: \S.*", line)]
    at = data.draw(st.sampled_from(simple))
    twin = lines[at].replace("- ", "  ")
    path.write_text("\n".join([*lines[: at + 1], twin, *lines[at + 1 :]]))
    key = twin.split(":", maxsplit=1)[0].strip()
    assert re.fullmatch(
        rf"{re.escape(str(path))}:{at + 2}: \S*{key} stands twice; first on line {at + 1}", refusal(path)
    )


@given(data=st.data())
def test_a_table_where_a_value_belongs_is_refused_with_its_line(
    data: st.DataObject, write: Write, document: Document
) -> None:
    scalars = [
        place
        for place in places(document)
        if isinstance(place[-1], str) and isinstance(parent_of(document, place)[place[-1]], str | int | float)
    ]
    place = data.draw(st.sampled_from(scalars))
    broken = copy.deepcopy(document)
    parent_of(broken, place)[place[-1]] = {"surprise": 1}
    path = write(broken)
    line = 1 + path.read_text().splitlines().index(
        next(text for text in path.read_text().splitlines() if "surprise" in text)
    )
    message = refusal(path)
    assert message.startswith((f"{path}:{line - 1}: ", f"{path}:{line}: "))
    assert str(place[-1]) in message or "surprise" in message


WRONG = st.sampled_from([None, True, -7, 10**9, 0.5, "zzz", "", [], [[]], {}, {"a": {"b": 1}}, ["zzz", 1], "1e9"])


@pytest.mark.slow
@given(data=st.data(), value=WRONG)
def test_whatever_is_written_either_loads_or_is_refused_in_one_line(
    data: st.DataObject, value: object, write: Write, document: Document
) -> None:
    place = data.draw(st.sampled_from(list(places(document))))
    broken = copy.deepcopy(document)
    parent_of(broken, place)[place[-1]] = value
    path = write(broken)
    message = None
    try:
        load_matrix(path)
    except ConfigError as error:
        message = str(error)
    assert message is None or re.fullmatch(rf"{re.escape(str(path))}:\d+: \S.*", message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("eps: [0.1]", "eps: [8]", "m.yaml:4: threats[0].eps[0]: threat.eps = 8 in linf is larger than the box"),
        ("eps: [0.1]", "eps: [-0.1]", "m.yaml:4: threats[0].eps[0]: eps must not be negative, got -0.1"),
        ("eps: [0.1]", "eps: [0.1, 1/10]", "m.yaml:4: threats[0].eps[1] = 1/10 stands twice in the grid"),
        ("eps: [0.1]", "eps: []", "m.yaml:4: threats[0].eps is empty"),
        ("eps: [0.1]", "eps: no", "m.yaml:4: threats[0].eps must be a number such as 0.3 or 8/255, got 'no'"),
        ("eps: [0.1]", "eps: 1e999999999", "m.yaml:4: threats[0].eps must be a number"),
        ("eps: [0.1]", "eps: 1/0", "m.yaml:4: threats[0].eps: eps must be a number"),
        ("norm: inf", "norm: 3", "m.yaml:4: threats[0].norm: norm must be 0, 1, 2 or inf, got 3"),
        ("eps: [0.1]}", "eps: 0.1}, {norm: linf, eps: 0.2}", "m.yaml:4: threats[1] repeats the norm linf"),
        ("[fgsm]", "[]", "m.yaml:5: attacks is empty"),
        ("[fgsm]", "[fgsn]", "m.yaml:5: attacks[0]: no attack named 'fgsn'; did you mean 'fgsm'?"),
        (
            "[fgsm]",
            "[fgsm, {pgd: {step: 3}}]",
            "m.yaml:5: attacks[1].pgd has no parameter 'step'; did you mean 'steps'?",
        ),
        (
            "[fgsm]",
            "[random_sphere]",
            "m.yaml:5: attacks[0]: 'random_sphere' is a control and belongs under `controls:`",
        ),
        ("[fgsm]", "[{gaussian: {tries: 3}}]", "attacks[0]: 'gaussian' is a control and belongs under `controls:`"),
        ("[fgsm]", "[adversarial]", "attacks[0]: 'adversarial' is a defense and belongs under `defenses:`"),
        ("[fgsm]", "[grad_cam]", "attacks[0]: 'grad_cam' is an attribution and belongs under `explain:`"),
        ("[fgsm]", "[{transfer: {substitute: twin, via: gaussian}}]", "'gaussian' is a control and belongs under"),
        ("attacks: [fgsm]", "controls: [fgsm]", "controls[0]: 'fgsm' is an attack and belongs under `attacks:`"),
        (
            "attacks: [fgsm]",
            "attacks: [fgsm]\nexplain: [pgd]",
            "explain[0]: 'pgd' is an attack and belongs under `attac",
        ),
        ("attacks: [fgsm]", "attacks: [fgsm]\ndefenses: [fgsm]", "m.yaml:6: defenses[0]: 'fgsm' is an attack and"),
        ("attacks: [fgsm]", "attacks: [fgsm]\npictures: [lrp]", "pictures[0]: 'lrp' is an attribution and"),
        ("[linear]", "[digits]", "m.yaml:3: models[0]: 'digits' is a dataset and belongs under `data:`"),
        ("data: digits", "data: linear", "m.yaml:2: data: 'linear' is a model and belongs under `models:`"),
        ("[fgsm]", "[{universal: {images: {name: digitz}}}]", "universal.images.name: no dataset named 'digitz'"),
        ("[fgsm]", "[{universal: {images: {count: 3}}}]", "attacks[0].universal.images needs the key 'name'"),
        (
            "[fgsm]",
            "[{universal: {labels: 3}}]",
            "attacks[0].universal.labels is a tensor, which Python alone can give",
        ),
        ("[fgsm]", "[{pgd: 3}]", "m.yaml:5: attacks[0].pgd must be a table of parameters, got '3'"),
        ("[fgsm]", "[{pgd: {goal: nexxt}}]", "m.yaml:5: attacks[0].pgd.goal must be"),
        ("[fgsm]", "[{pgd: {goal: nexxt}}]", "did you mean 'next'?"),
        ("[fgsm]", "[{pgd: {goal: [[3]]}}]", "m.yaml:5: attacks[0].pgd.goal[0] must be"),
        ("[fgsm]", "[{transfer: {substitute: twin, via: {pgd: {goal: next}}}}]", "pgd has no parameter 'goal'"),
        ("[fgsm]", "[{transfer: {via: fgsm}}]", "m.yaml:5: attacks[0].transfer needs the parameter 'substitute'"),
        ("[fgsm]", "[{transfer: {substitute: twinn}}]", "no substitute named 'twinn'; did you mean 'twin'?"),
        ("[fgsm]", "[{transfer: {substitute: {labels: {}}}}]", "needs the parameter 'model'"),
        ("[linear]", "[lineer]", "m.yaml:3: models[0]: no model named 'lineer'; did you mean 'linear'?"),
        ("[linear]", "[{small_cnn: {width: 0}}]", "m.yaml:3: models[0].small_cnn: width must be at least 1, got 0"),
        ("[linear]", "[{linear: {weights: a.pt}}]", "models[0].linear.weights names 'a.pt', which does not exist"),
        ("[linear]", "[{linear: {weights: V1}}]", "models[0].linear.weights must be a file ending in .safetensors"),
        ("[linear]", "['sequential:layers.json#a']", "sequential:layers.json#a.file names 'layers.json', which does"),
        ("[linear]", "['python:os:getcwd']", "m.yaml:3: models[0] runs code of yours"),
        ("[linear]", "[linear, a b]", "m.yaml:3: models[1]: a model is written name[:argument]"),
        ("data: digits", "data: digitz", "m.yaml:2: data: no dataset named 'digitz'; did you mean 'digits'?"),
        ("data: digits", "data: {split: test}", "m.yaml:2: data needs the key 'name'"),
        ("data: digits", "data: {name: digits, count: 0}", "m.yaml:2: data.count must be an integer >= 1, got '0'"),
        ("data: digits", "data: 'npz:absent.npz'", "m.yaml:2: data names 'absent.npz', which does not exist"),
        ("data: digits", "data: {name: digits, choose: best}", "data.choose must be stratified, first or all"),
        ("data: digits", "data: {name: digits, choose: all, count: 3}", "data.count does not go with choose: all"),
        ("question: Does it hold?", "question: ' '", "m.yaml:1: question is empty"),
        ("question: Does it hold?", "seed: 1", "m.yaml:1: needs the key 'question'"),
        ("question: Does it hold?", "schema: 2\nquestion: Why?", "m.yaml:1: schema must be 1, got '2'"),
        ("attacks: [fgsm]", "explain: [saliency]", "m.yaml:1: needs 'attacks' or 'controls'"),
        ("attacks: [fgsm]", "attacks: [fgsm]\nexplain: [salience]", "m.yaml:6: explain[0]: no attribution named"),
        (
            "attacks: [fgsm]",
            "attacks: [fgsm]\nexplain: [{rise: {mask: 3}}]",
            "explain[0].rise has no parameter 'mask'; d",
        ),
        ("attacks: [fgsm]", "attacks: [fgsm]\nexplain: [{rise: {masks: many}}]", "rise.masks must be an integer"),
        ("attacks: [fgsm]", "attacks: [fgsm]\nexplain: [{saliency: {a: 1}}]", "has no parameter 'a'; it takes none"),
        ("attacks: [fgsm]", "attacks: [fgsm]\ndefenses: [nnone]", "no defense named 'nnone'; did you mean 'none'?"),
        ("attacks: [fgsm]", "attacks: [fgsm]\ndefenses: [{none: {eps: 1}}]", "defenses[0].none has no parameter 'eps'"),
        ("attacks: [fgsm]", "attacks: [fgsm]\ndefenses: [{none: {epochs: 0}}]", "defenses[0].none: training.epochs"),
        (
            "attacks: [fgsm]",
            "attacks: [fgsm]\nexclude: [{attack: pgd, because: x}]",
            "exclude[0].attack = 'pgd' is not",
        ),
        ("attacks: [fgsm]", "attacks: [fgsm]\nexclude: [{attack: fgsm}]", "exclude[0] needs the key 'because'"),
        ("attacks: [fgsm]", "attacks: [fgsm]\nexclude: [{because: x}]", "exclude[0] names nothing to leave out"),
        ("attacks: [fgsm]", "attacks: [fgsm]\nprecision: half", "precision must be float32 or bfloat16, got 'half'"),
        ("attacks: [fgsm]", "attacks: [fgsm]\ngrid: some", "grid must be every or nested, got 'some'"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SMALL
    path = tmp_path / "m.yaml"
    path.write_text(SMALL.replace(old, new))
    assert message in refusal(path)


@given(st.sampled_from(["1", "0.3", "1e-3", "8/255", ".5", "010e-3"]))
def test_a_radius_is_kept_as_written(write: Write, document: Document, text: str) -> None:
    path = write({**document, "threats": [{"norm": 2, "eps": text}]})
    path.write_text(path.read_text().replace(f"'{text}'", text))
    (threat,) = load_matrix(path).threats
    assert threat.eps is not None
    assert [str(radius) for radius in threat.eps] == [text]


def test_a_defense_without_eps_trains_against_the_matrixs_own_threat(tmp_path: Path) -> None:
    text = SMALL.replace("[0.1]", "[0.1, 0.2]") + "defenses: [adversarial, {adversarial: {norm: 2, eps: 1.5}}]\n"
    own, given_one = load_text(tmp_path, text).defenses
    assert (own.norm, str(own.eps)) == (math.inf, "0.2")
    assert (given_one.norm, str(given_one.eps)) == (2.0, "1.5")
    with pytest.raises(ConfigError, match=r"m.yaml:6: defenses\[0\].adversarial needs eps"):
        load_text(tmp_path, SMALL + "defenses: [{adversarial: {norm: 2}}]\n")


def test_code_runs_only_where_it_is_allowed(tmp_path: Path) -> None:
    (model,) = load_text(tmp_path, SMALL.replace("[linear]", "['python:json:loads']"), allow_code=True).models
    assert model.fixed
    assert model.content["sha256"] is not None


def test_paths_are_seen_from_the_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "a.safetensors").write_bytes(b"weights")
    monkeypatch.chdir("/")
    (model,) = load_text(tmp_path, SMALL.replace("[linear]", "[{linear: {weights: nets/a.safetensors}}]")).models
    assert model.weights == str(tmp_path / "nets" / "a.safetensors")
    assert model.fixed


def test_published_weights_are_a_name() -> None:
    text = SMALL.replace(
        "[linear]", "[{torchvision: {name: resnet18, weights: IMAGENET1K_V1}}, 'torchvision:resnet18']"
    )
    from advbench.bench.model_entries import read_models
    from advbench.bench.yaml_loader import parse_yaml

    sections = parse_yaml(text, "m.yaml").value
    assert isinstance(sections, dict)
    published, random = read_models(sections["models"], False)
    assert (published.spec, published.params["name"], published.fixed) == ("torchvision", "resnet18", True)
    assert published.params["weights"] == "IMAGENET1K_V1"
    assert not random.fixed

"""Write docs/matrix.md from the reader of matrices: `python docs/matrix_keys.py`. A test holds the file to it."""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from advbench.bench.config import (
    DATA_KEYS,
    GRIDS,
    PICTURES,
    PRECISIONS,
    THREAT_KEYS,
    Matrix,
    load_matrix,
)
from advbench.bench.data_entries import LEARNED_KEYS
from advbench.bench.entries import RADIUS, TRAINING
from advbench.bench.excludes import NAMES
from advbench.bench.goals import GOALS
from advbench.bench.jobs import DataChoice
from advbench.bench.model_entries import LABELS, TWIN, WEIGHT_FILES
from advbench.bench.sections import KEYS, REQUIRED
from advbench.core.annotations import describe

DOCS = Path(__file__).parent
SMALLEST = """\
question: Does it hold?
data: digits
models: [linear]
threats: [{norm: inf, eps: [0.1]}]
attacks: [fgsm]
"""
EXAMPLE = """\
schema: 1
question: Does training against pgd hold on digits, and do attacks that only see scores agree?
seed: 0
precision: float32
grid: every
budget: 5000
data: {name: digits, split: test, count: 200, choose: stratified}
models:
  - small_cnn
  - {mlp: {width: [64, 256]}} # a list of values is an axis: two models
defenses:
  - {none: {epochs: 20, batch_size: 32}}
  - {adversarial: {norm: inf, eps: 0.2, steps: 7, epochs: 20, batch_size: 32}}
threats:
  - {norm: inf, eps: [0.05, 0.1, 51/255]}
  - {norm: 2} # no eps: how far is the nearest example?
attacks:
  - fgsm
  - {pgd: {steps: [10, 40], goal: [untargeted, least_likely]}} # four attacks
  - {square: {queries: 1000}}
  - fmn # the nearest example, in l2 and in linf
  - {transfer: {substitute: {twin: {defense: none}}, via: {mi_fgsm: {steps: 20}}}}
controls: [{random_sphere: {tries: 100}}]
explain: [saliency, {rise: {masks: 500}}]
pictures: [visualize]
exclude:
  - {attack: pgd, steps: 40, model: mlp, because: ten steps are enough for it}
"""

TEXT = """\
# The keys of a matrix

Written by `python docs/matrix_keys.py` from the reader of matrices.

A matrix is one YAML file; `advbench plan FILE` checks it and says what it comes to. A list of values where one is
expected is an axis, and every combination is computed. A name with parameters is written `{name: {key: value}}`.
Unknown and duplicate keys, ill-typed values, values that a method refuses and names of another kind are an error with
file, line and the nearest right name. Paths are seen from the folder of the file.

$keys

`attacks` or `controls` must be there.

## data

$data

`data: digits` is short for `data: {name: digits}`. Names: `advbench list datasets`.

## models

A registered name (`advbench list models`) with its parameters, or a spec: `torchvision:NAME@WEIGHTS`, `timm:NAME`,
`sequential:FILE#ENTRY`, `python:MODULE:FUNCTION` (with `--allow-code`). Each takes `weights`, a file ($files);
a model without weights is trained as its defense says. A model that does not take the images of `data`, or has other
classes, is refused before anything runs.

## defenses

`none`, or a registered name (`advbench list defenses`) with its parameters. Each also takes how a model is trained:

$training

A training defense against a threat takes besides:

$against

## threats

$threats

## attacks and controls

A registered name (`advbench list attacks`, [attacks.md](attacks.md)) with its parameters (`advbench show attack NAME`),
and `goal`: $goals, or a class by number or name. An attack that works through another
one takes that as `via`. One that learns a perturbation for all images (`universal`, `universal_patch`) learns on
`images`, $learned as under `data` (default split: train), or on those attacked.

`substitute` of the attacks by transfer: a model as under `models`, `twin`, `{labels: {model: ..., ...}}` (a model that
learns from labels the victim answers), or `{ensemble: [...]}` of several of these.

$twin

$labels

## exclude

$exclude

Any parameter of an attack is a key, too. A cell goes if all keys of a rule match; a rule that matches no cell is
refused. A rule for cells that are skipped for another reason (an attack in a norm that it does not have) is accepted.

## An example with every key

```yaml
$example```
"""

VALUES: Mapping[str, tuple[str, str]] = {  # key: what may stand there, what it means
    "schema": ("1", "the version of this format"),
    "question": ("a text", "what the matrix is to answer; the title of its report"),
    "seed": ("an integer >= 0", "of everything random: samples, trainings, attacks"),
    "precision": (
        " or ".join(PRECISIONS),
        "bfloat16: attacks run under autocast; every image is judged by the float32 model",
    ),
    "grid": (" or ".join(GRIDS), "nested: a sample that held in a ball is not attacked again in the smaller ones"),
    "budget": ("an integer >= 1", "forward plus backward passes that one run of an attack may spend on a sample"),
    "data": ("a dataset or a table, see below", "the images that are attacked"),
    "models": ("a list of models, see below", "each meets each defense"),
    "defenses": ("a list of defenses, see below", "each meets each model"),
    "threats": ("a list of tables, see below", "what the attacker may do; one entry for each norm"),
    "attacks": ("a list of attacks, see below", "each meets each model, defense and threat"),
    "controls": ("a list of controls", "perturbations without information, written like attacks"),
    "explain": (
        "a list of attributions, with parameters like attacks",
        "heat maps before and after the attack, with numbers, of each cell computed from then on",
    ),
    "pictures": (f"of {', '.join(PICTURES)}", "pictures from every net, side by side"),
    "exclude": ("a list of rules, see below", "cells to leave out, each with its reason"),
}
DATA: Mapping[str, tuple[str, str]] = {
    "name": ("a name or a spec", "a registered dataset, `npz:FILE` or `folder:PATH`; {split} in the path is filled in"),
    "split": ("a word", "the part whose samples are attacked"),
    "count": ("an integer >= 1", "how many samples; without it all of the split"),
    "choose": ("stratified, first or all", "stratified: as many of each class, drawn from `seed`"),
    "train": ("a name or a spec", "what models are trained on; without it the training part of `name`"),
    "root": ("a folder", "where downloaded files lie or are put"),
    "size": ("an integer >= 1", "side in pixels to which photographs are brought"),
}
THREAT: Mapping[str, tuple[str, str]] = {
    "norm": ("0, 1, 2 or inf", "the length that is limited; l0 counts changed components"),
    "eps": ("radii such as 0.3 or 8/255", "in units of images in [0, 1]; without it the nearest example is sought"),
}
EXCLUDE: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(NAMES, ("a name or a list", "only cells with one of these")),
    "because": ("a text", "required: the report shows it beside the skip"),
}
TRAINED: Mapping[str, str] = {
    "epochs": "passes over the training part",
    "batch_size": "samples in a step",
    "lr": "the largest learning rate of the schedule",
    "optimizer": "what takes the steps",
    "schedule": "the learning rate over the training",
    "weight_decay": "of the optimizer",
    "momentum": "of sgd",
    "augment": "crop_flip: random crops after padding by 4 pixels, and mirror images",
    "eps_ramp": "share of the training in which the radius grows up to eps",
    "held_out": "training samples set aside to measure on, at most a tenth",
    "precision": "of the training; weights stay float32",
}
AGAINST: Mapping[str, tuple[str, str]] = {
    "norm": ("0, 1, 2 or inf", "default: that of the first threat with a radius"),
    "eps": ("a radius", "default: the largest eps of the first threat of that norm"),
}
TWINS: Mapping[str, str] = {
    "defense": "same: trained as the victim was; none: without its defense",
    "seed": "added to the victim's",
}
ASKED: Mapping[str, str] = {
    "seeds": "samples to begin with",
    "rounds": "times that the number of inputs doubles: seeds x 2^rounds queries",
    "step_size": "of the new inputs, along the student's gradient sign",
    "flip_every": "rounds after which the sign of the step changes; 0: never",
    "reservoir": "at most so many new inputs a round; 0: one for every input",
    "epochs": "of each training of the student",
    "batch_size": "of these trainings",
    "lr": "of these trainings",
}


def page() -> str:
    """The whole of docs/matrix.md."""
    matrix, four = _smallest(), ("key", "value", "default", "meaning")
    training = [(key, describe(own.annotation), _shown(own.default), TRAINED[key]) for key, own in TRAINING.items()]
    return Template(TEXT).substitute(
        keys=_table(four, [(key, *_of(VALUES[key], _default(matrix, key))) for key in KEYS]),
        data=_table(four, [(key, *_of(DATA[key], _of_data(key))) for key in DATA_KEYS]),
        files=", ".join(WEIGHT_FILES),
        training=_table(four, training),
        against=_table(("key", "value", "meaning"), [(key, *AGAINST[key]) for key in RADIUS]),
        threats=_table(four, [(key, *_of(THREAT[key], _in_threat(key))) for key in THREAT_KEYS]),
        goals=", ".join(GOALS),
        learned=", ".join(f"`{key}`" for key in LEARNED_KEYS),
        twin=_table(("twin", *four[1:]), _typed(TWIN, TWINS)),
        labels=_table(("labels", *four[1:]), _typed(LABELS, ASKED)),
        exclude=_table(("key", "value", "meaning"), [(key, *EXCLUDE[key]) for key in (*NAMES, "because")]),
        example=EXAMPLE,
    )


def _smallest() -> Matrix:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "m.yaml")
        file.write_text(SMALLEST)
        return load_matrix(file)


def _of(value: tuple[str, str], default: str) -> tuple[str, str, str]:
    allowed, meaning = value
    return allowed, default, meaning


def _default(matrix: Matrix, key: str) -> str:
    """What the smallest matrix has where it says nothing."""
    if key in REQUIRED:
        return "required"
    if key == "schema":
        return "`1`"
    if key == "defenses":
        return f"`[{', '.join(choice.name for choice in matrix.defenses)}]`"
    return _shown(() if key == "attacks" else getattr(matrix, key))


def _of_data(key: str) -> str:
    default = inspect.signature(DataChoice).parameters[key].default
    return "required" if default is inspect.Parameter.empty else _shown(default)


def _in_threat(key: str) -> str:
    return "required" if key == "norm" else "-"


def _typed(parameters: Mapping[str, inspect.Parameter], meanings: Mapping[str, str]) -> list[tuple[str, ...]]:
    return [(key, describe(own.annotation), _shown(own.default), meanings[key]) for key, own in parameters.items()]


def _shown(value: object) -> str:
    """A default as it would be written."""
    return "-" if value is None else value if isinstance(value, str) else f"`{json.dumps(value)}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *[(f"`{row[0]}`", *row[1:]) for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    (DOCS / "matrix.md").write_text(page())

"""Substitutes that are attacked together: how a matrix names them, and what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from advbench.bench.config import load_matrix
from advbench.bench.jobs import EnsembleRecipe, Plan, Recipe
from advbench.bench.matrix import expand
from advbench.bench.parameters import arguments
from advbench.bench.plan import trainings
from advbench.bench.recipes import obtain, transfer_facts
from advbench.models.ensemble import MeanLogits
from advbench.models.load import load_model
from advbench.registry import ATTACKS
from advbench.store import write_tensors
from advbench.types import ConfigError
from tests.attacks.small_nets import conv_net

MATRIX = """\
question: q
data: {name: digits, count: 8}
models: [linear]
defenses: [{none: {epochs: 1}}]
threats: [{norm: inf, eps: [0.1]}]
attacks: [{transfer: {substitute: SUBSTITUTE, via: fgsm}}]
"""


def plan_of(folder: Path, substitute: str, text: str = MATRIX) -> Plan:
    (folder / "m.yaml").write_text(text.replace("SUBSTITUTE", substitute))
    return expand(load_matrix(folder / "m.yaml"))


def test_an_ensemble_is_one_cell_and_a_list_is_several(tmp_path: Path) -> None:
    together = plan_of(tmp_path, "{ensemble: [linear, twin, {labels: {model: mlp}}]}")
    assert len(together.jobs) == 1
    (recipe,) = [job.substitute for job in together.jobs]
    assert isinstance(recipe, EnsembleRecipe)
    assert len(recipe.members) == 3
    assert recipe.members[0] == together.jobs[0].recipe
    apart = plan_of(tmp_path, "[linear, mlp, {ensemble: [linear, mlp]}]")
    assert [job.labels["attack"] for job in apart.jobs] == [
        "transfer substitute=linear",
        "transfer substitute=mlp",
        "transfer substitute=linear+mlp",
    ]
    assert len({job.cell.key for job in (*together.jobs, *apart.jobs)}) == 4


def test_axes_inside_a_member_make_an_ensemble_each(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "{ensemble: [linear, {mlp: {width: [8, 16]}}]}")
    widths = [job.substitute.members[1].params["width"] for job in plan.jobs]  # type: ignore[union-attr]
    assert widths == [8, 16]


def test_only_what_is_trained_is_planned_once(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "[{ensemble: [linear, mlp]}, mlp]")
    assert [training.label for training in trainings(plan, tmp_path)] == ["linear", "mlp"]


@pytest.mark.parametrize(
    ("substitute", "message"),
    [
        ("{ensemble: linear}", "must be a list of two models or more, got 'linear'"),
        ("{ensemble: [linear]}", "must be a list of two models or more"),
        ("{ensemble: [linear, mpl]}", "no substitute named 'mpl'; did you mean 'mlp'"),
        ("{ensembel: [linear, mlp]}", "must be a table of parameters"),
        ("ensembl", "did you mean 'ensemble'"),
    ],
)
def test_mistakes_name_their_place(tmp_path: Path, substitute: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        plan_of(tmp_path, substitute)
    assert "m.yaml:6:" in str(error.value)


def test_a_twin_of_fixed_weights_leaves_the_ensemble_out(tmp_path: Path) -> None:
    write_tensors(tmp_path / "w.safetensors", load_model("linear", dataset="digits").state_dict())
    text = MATRIX.replace("models: [linear]", "models: [{linear: {weights: w.safetensors}}]")
    plan = plan_of(tmp_path, "{ensemble: [mlp, twin]}", text)
    assert not plan.jobs
    assert "comes with fixed weights" in plan.skips[0].reason


def test_an_attack_inside_an_attack_may_have_one_inside_too(tmp_path: Path) -> None:
    text = MATRIX.replace("via: fgsm", "via: {intermediate_level: {via: {di_fgsm: {steps: [3, 5]}}, layer: 1}}")
    first, second = plan_of(tmp_path, "mlp", text).jobs
    functions = [arguments(ATTACKS["transfer"], job.attack.params)["via"] for job in (first, second)]
    assert [via.keywords["layer"] for via in functions] == ["1", "1"]  # type: ignore[attr-defined]
    assert [via.keywords["via"].keywords["steps"] for via in functions] == [3, 5]  # type: ignore[attr-defined]


def test_it_answers_the_mean_of_the_logits() -> None:
    members = [conv_net(seed) for seed in range(3)]
    x = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    assert_close(MeanLogits(members)(x), sum(member(x) for member in members) / 3)


@pytest.mark.slow
def test_members_are_obtained_each_under_its_own_key(tmp_path: Path) -> None:
    (job,) = plan_of(tmp_path, "{ensemble: [linear, {mlp: {width: 8}}]}").jobs
    assert isinstance(job.substitute, EnsembleRecipe)
    model = obtain(job.substitute, results=tmp_path, progress=False)
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    each = [obtain(member, results=tmp_path, progress=False)(x) for member in job.substitute.members]
    assert_close(model(x), (each[0] + each[1]) / 2)
    assert transfer_facts(job.substitute, results=tmp_path) == {"substitute": "linear + mlp"}
    assert all(isinstance(member, Recipe) for member in job.substitute.members)
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == sorted(
        member.key for member in job.substitute.members
    )

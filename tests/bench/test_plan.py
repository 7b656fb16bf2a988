"""What `advbench plan` says: states read from the store, costs as upper bounds, differences that n can show."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from advbench.bench.cell_folder import CELL, REPAIR, folder_name
from advbench.bench.config import load_matrix
from advbench.bench.cost import passes
from advbench.bench.jobs import Plan
from advbench.bench.matrix import expand
from advbench.bench.plan import as_json, describe, resolvable_difference, trainings
from advbench.bench.recipes import WEIGHTS

Document = dict[str, object]
SHARES = st.floats(0.01, 1.0)


@pytest.fixture(scope="module")
def plan(document: Document, write: Callable[[Document], Path]) -> Plan:
    return expand(load_matrix(write(document)))


@pytest.mark.parametrize(
    ("n", "share", "points"),
    [(3923, 0.05, 1.0), (15696, 0.20, 1.0), (979, 0.05, 2.0), (626, 0.20, 5.0), (1000, 0.05, 2.0), (1000, 0.20, 4.0)],
)
def test_resolvable_difference_inverts_the_published_sample_sizes(n: int, share: float, points: float) -> None:
    found = resolvable_difference(n, share)
    assert found is not None
    assert 100 * found == pytest.approx(points, abs=0.05)


@given(st.integers(1, 100_000), SHARES)
def test_resolvable_difference_solves_the_sample_size_formula(n: int, share: float) -> None:
    found = resolvable_difference(n, share)
    assume(found is not None)
    assert found is not None
    alpha, power = NormalDist().inv_cdf(0.975), NormalDist().inv_cdf(0.8)
    needed = ((alpha * math.sqrt(share) + power * math.sqrt(share - found**2)) / found) ** 2
    assert needed == pytest.approx(n, rel=1e-6)


@given(st.integers(1, 50_000), SHARES)
def test_more_samples_never_resolve_less(n: int, share: float) -> None:
    few, many = resolvable_difference(n, share), resolvable_difference(2 * n, share)
    assert few is None or (many is not None and many < few)


def test_a_handful_of_samples_resolves_nothing() -> None:
    assert resolvable_difference(1, 0.2) is None
    assert resolvable_difference(30, 0.05) is None


def test_cost_is_the_declared_cost_scaled_by_the_parameters(plan: Plan) -> None:
    def cost(name: str, norm: str, **params: int) -> int:
        return next(
            passes(job)
            for job in plan.jobs
            if (job.attack.name, job.labels["norm"]) == (name, norm)
            and all(job.attack.params[key] == value for key, value in params.items())
        )

    samples, radii = 20, 2
    assert cost("fgsm", "linf") == samples * radii * 2
    assert cost("pgd", "linf", steps=5) == samples * radii * math.ceil(81 * 5 / 40)
    assert cost("fooling", "l2") == samples * math.ceil(201 * 3 / 100)
    assert cost("random_sphere", "linf") == samples * radii * 5
    assert cost("transfer", "linf") in {samples * radii * (math.ceil(81 * steps / 40) + 1) for steps in (3, 40)}


def test_fewer_steps_in_one_part_of_an_attack_promise_nothing_about_the_others(
    document: Document, write: Callable[[Document], Path]
) -> None:
    """A short descent leaves `memetic` its generations, which cost by far the most."""
    asked: list[object] = [{"memetic": {"steps": 2}}, "memetic", {"memetic": {"steps": 2, "generations": 400}}]
    threats = [{"norm": "inf", "eps": 0.1}]
    own = {key: value for key, value in document.items() if key != "exclude"}
    made = expand(load_matrix(write({**own, "attacks": asked, "threats": threats})))
    attacks = [job for job in made.jobs if job.attack.name == "memetic"]
    each = {json.dumps(job.attack.params, sort_keys=True): passes(job) / job.count for job in attacks}
    assert sorted(each.values()) == [46_000, 46_000, 460_000]


def test_what_is_stored_is_done(plan: Plan, tmp_path: Path) -> None:
    first = plan.jobs[0]
    cell = tmp_path / plan.matrix.name / folder_name(first.slug, first.cell.key)
    model = tmp_path / "models" / first.recipe.key
    for path in (cell / CELL, model / WEIGHTS):
        path.parent.mkdir(parents=True)
        path.write_text('{"summary": []}')
    stored = as_json(plan, tmp_path)
    cells = stored["cells"]
    assert isinstance(cells, list)
    assert [entry["done"] for entry in cells] == [True] + [False] * (len(plan.jobs) - 1)  # type: ignore[index, call-overload]
    assert [training.key for training in trainings(plan, tmp_path) if training.done] == [first.recipe.key]
    assert f"cells: {len(plan.jobs)} (1 done, {len(plan.jobs) - 1} missing)" in describe(plan, tmp_path)


@pytest.mark.parametrize("content", ["", "{", "{}", '{"summary": 3}'])
def test_what_is_stored_and_cannot_be_read_is_damaged_as_a_run_finds_it(
    plan: Plan, tmp_path: Path, content: str
) -> None:
    first = plan.jobs[0]
    cell = tmp_path / plan.matrix.name / folder_name(first.slug, first.cell.key)
    cell.mkdir(parents=True)
    (cell / CELL).write_text(content)
    cells = as_json(plan, tmp_path)["cells"]
    assert isinstance(cells, list)
    assert [(entry["done"], entry["damaged"]) for entry in cells[:2]] == [(False, True), (False, False)]  # type: ignore[index, call-overload]
    text = describe(plan, tmp_path)
    assert f"cells: {len(plan.jobs)} (0 done, 1 damaged, {len(plan.jobs) - 1} missing)" in text
    assert f"{cell / CELL} cannot be read" in text
    assert REPAIR in text
    missing = sum(passes(job) for job in plan.jobs[1:])  # a run leaves a damaged cell alone
    assert f"Cost: at most {missing:,} " in text


def test_every_training_is_listed_once(plan: Plan, tmp_path: Path) -> None:
    listed = [training.key for training in trainings(plan, tmp_path)]
    assert len(listed) == len(set(listed))
    wanted = {job.recipe.key for job in plan.jobs} | {job.substitute.key for job in plan.jobs if job.substitute}
    assert set(listed) == wanted


def test_the_text_names_every_cell_skip_and_reason(plan: Plan, tmp_path: Path) -> None:
    text = describe(plan, tmp_path)
    assert plan.matrix.question in text
    for job in plan.jobs:
        assert all(label in text for label in job.labels.values())
    for skip in plan.skips:
        assert skip.reason in text
    assert "20 samples" in text
    assert "8/255 0.1" in text


def test_the_json_is_complete(plan: Plan, tmp_path: Path) -> None:
    content = json.loads(json.dumps(as_json(plan, tmp_path), allow_nan=False))
    assert [cell["key"] for cell in content["cells"]] == [job.cell.key for job in plan.jobs]
    assert len(content["skips"]) == len(plan.skips)
    assert content["resolvable_difference"]["0.05"] is None  # 20 samples

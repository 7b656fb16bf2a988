"""`--only` picks cells by their shown names and refuses what is no expression."""

from __future__ import annotations

import pytest

from advbench.bench.config import load_matrix
from advbench.bench.jobs import Job
from advbench.bench.matrix import expand
from advbench.bench.selection import select_jobs
from advbench.types import ConfigError
from tests.bench.tiny_matrix import write_matrix


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, ...]:
    threats = [{"norm": "inf", "eps": 0.1}, {"norm": 2, "eps": 1}]
    attacks: list[object] = ["fgsm", {"pgd": {"steps": [5, 10]}}]
    matrix = write_matrix(tmp_path_factory.mktemp("m"), attacks=attacks, threats=threats, controls=["random_sphere"])
    return expand(load_matrix(matrix)).jobs


@pytest.mark.parametrize(
    ("expression", "count"),
    [(None, 8), ("model=lin*", 8), ("attack=pgd*", 4), ("attack=pgd*,norm=l2", 2), ("attack=pgd steps=5,norm=l2", 1),
     ("attack=fgsm,attack=pgd*", 6), ("kind=control", 2), ("goal=next", 0), (" attack = fgsm , norm=linf", 1)],
)  # fmt: skip
def test_patterns_select_by_name(jobs: tuple[Job, ...], expression: str | None, count: int) -> None:
    assert len(select_jobs(jobs, expression)) == count


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("atack=pgd", "did you mean 'attack'"),
        ("pgd", "key=pattern"),
        ("attack=", "key=pattern"),
        ("a=b,", "no key 'a'"),
    ],
)
def test_what_is_no_expression_is_refused(jobs: tuple[Job, ...], expression: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        select_jobs(jobs, expression)

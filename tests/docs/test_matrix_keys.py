"""docs/matrix.md says what the reader of matrices knows, and its example runs."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from advbench.bench import config, sections
from advbench.bench.entries import RADIUS, TRAINING
from advbench.bench.excludes import NAMES
from advbench.bench.matrix import expand
from advbench.bench.model_entries import LABELS, TWIN

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("matrix_keys", DOCS / "matrix_keys.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_the_page_is_what_the_reader_gives(module: ModuleType) -> None:
    assert (DOCS / "matrix.md").read_text() == module.page(), "run `make docs`"


def test_every_key_has_its_line_and_no_line_is_left_over(module: ModuleType) -> None:
    assert tuple(module.VALUES) == sections.KEYS
    assert tuple(module.DATA) == config.DATA_KEYS
    assert tuple(module.THREAT) == config.THREAT_KEYS
    assert set(module.EXCLUDE) == {*NAMES, "because"}
    for meanings, known in (
        (module.TRAINED, TRAINING),
        (module.AGAINST, RADIUS),
        (module.TWINS, TWIN),
        (module.ASKED, LABELS),
    ):
        assert list(meanings) == list(known)


def test_the_example_has_every_key_and_makes_cells(module: ModuleType, tmp_path: Path) -> None:
    """Two small nets more than one: 3 models x 2 defenses; the rule takes the longer pgd from the two mlps."""
    assert list(yaml.safe_load(module.EXAMPLE)) == list(sections.KEYS)
    (tmp_path / "m.yaml").write_text(module.EXAMPLE)
    plan = expand(config.load_matrix(tmp_path / "m.yaml"))
    models, defenses = ("small_cnn", "mlp width=64", "mlp width=256"), ("none", "adversarial")
    found = {(job.labels["model"], job.labels["defense"]) for job in plan.jobs}
    assert found == set(itertools.product(models, defenses))
    assert {(job.labels["norm"], job.threat.eps is None) for job in plan.jobs} == {("linf", False), ("l2", True)}
    assert sum("excluded" in skip.reason for skip in plan.skips) == 8

"""`advbench list`, `show` and `plan`: what they print, and when they end with 3."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from advbench.cli.list import list_command
from advbench.cli.plan import plan
from advbench.cli.show import show
from advbench.registry import ATTACKS, CONTROLS
from advbench.types import ConfigError

MATRIX = "question: Why?\ndata: {name: digits, count: 9}\nmodels: [linear]\nthreats: [{norm: 2}]\nattacks: [ATTACK]\n"


def listed(*arguments: str) -> Result:
    return CliRunner().invoke(list_command, arguments)


def test_everything_registered_is_listed() -> None:
    found = listed()
    assert found.exit_code == 0
    for entry in [*ATTACKS, *CONTROLS]:
        assert f"\n{entry.name} " in found.output
        assert entry.summary in " ".join(found.output.split())
        assert entry.info.paper in found.output
    assert found.output.isascii()


@pytest.mark.parametrize("width", [100, 130, 1000])
def test_a_listing_fits_its_window(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = listed("attacks").output.splitlines()
    assert max(map(len, lines)) <= width
    heads = [line.split()[0] for line in lines[1:] if not line.startswith(" ")]
    assert heads == [entry.name for entry in ATTACKS]
    assert any(line.startswith("    ") for line in lines) is (width < 200)


def test_a_norm_selects() -> None:
    rows = json.loads(listed("attacks", "--norm", "l1", "--json").output)["attacks"]
    assert {row["name"] for row in rows} == {entry.name for entry in ATTACKS if 1.0 in entry.info.norms}
    assert 0 < len(rows) < len(ATTACKS.names())


def test_a_row_says_what_an_attack_can_do() -> None:
    rows = {row["name"]: row for row in json.loads(listed("attacks", "--json").output)["attacks"]}
    assert rows["pgd"]["norms"] == ["l1", "l2", "linf"]
    assert rows["pgd"]["targeted"] is True
    assert rows["fooling"]["minimum_norm"] is False
    assert rows["pgd"]["paper"] == "arXiv:1706.06083"
    assert rows["pgd"]["cost"] == "41 + 40"


def test_nothing_to_list_ends_with_3_and_says_so() -> None:
    found = listed("models", "--norm", "2")
    assert found.exit_code == 3
    assert found.stdout == ""
    assert found.stderr == "Nothing to list: there is none among models that works in l2.\n"
    assert json.loads(listed("models", "--norm", "2", "--json").stdout) == {}


def test_a_misspelled_kind_is_corrected() -> None:
    assert "did you mean 'attacks'?" in str(listed("atacks").exception)
    assert isinstance(listed("atacks").exception, ConfigError)
    assert isinstance(listed("attacks", "--norm", "7").exception, ConfigError)


@pytest.mark.parametrize("kind", ["attack", "attacks"])
def test_show_prints_parameters_with_types_and_defaults(kind: str) -> None:
    shown = CliRunner().invoke(show, [kind, "pgd"]).output
    assert "  steps: an integer, default 40\n" in shown
    assert "  step_size: a number or null, default null\n" in shown
    assert "  random_start: true or false, default true\n" in shown
    assert "arXiv:1706.06083" in shown
    assert "Raises ConfigError" in shown


def test_show_names_what_is_required() -> None:
    shown = CliRunner().invoke(show, ["attack", "transfer"]).output
    assert "  substitute: a model, required\n" in shown
    assert "  via: an attack, default pgd\n" in shown
    assert json.loads(CliRunner().invoke(show, ["attack", "transfer", "--json"]).output)["parameters"]["substitute"][
        "required"
    ]


def test_show_corrects_a_name() -> None:
    assert "did you mean 'pgd'?" in str(CliRunner().invoke(show, ["attack", "pgdd"]).exception)


def test_every_registered_thing_can_be_shown() -> None:
    from advbench.cli.kinds import KINDS

    for kind, registry in KINDS.items():
        for entry in registry:
            shown = CliRunner().invoke(show, [kind, entry.name, "--json"])
            assert shown.exit_code == 0, shown.exception
            assert json.loads(shown.output)["name"] == entry.name


def test_plan_prints_cells_and_runs_nothing(tmp_path: Path) -> None:
    matrix = tmp_path / "m.yaml"
    matrix.write_text(MATRIX.replace("ATTACK", "fooling"))
    planned = CliRunner().invoke(plan, [str(matrix), "--results", str(tmp_path / "results")])
    assert planned.exit_code == 0
    assert "cells: 1 (0 done, 1 missing), skips: 0" in planned.output
    assert not (tmp_path / "results").exists()
    content = json.loads(CliRunner().invoke(plan, [str(matrix), "--json"]).output)
    assert [cell["labels"]["attack"] for cell in content["cells"]] == ["fooling"]


def test_a_plan_without_cells_ends_with_3(tmp_path: Path) -> None:
    matrix = tmp_path / "m.yaml"
    matrix.write_text(MATRIX.replace("ATTACK", "fgsm"))
    planned = CliRunner().invoke(plan, [str(matrix)])
    assert planned.exit_code == 3
    assert "fgsm needs a radius" in planned.output


@pytest.mark.parametrize("matrix", sorted((Path(__file__).parents[2] / "benchmarks").glob("*.yaml")), ids=str)
def test_the_benchmarks_that_ship_are_valid(matrix: Path) -> None:
    from advbench.bench.config import load_matrix

    loaded = load_matrix(matrix)
    assert loaded.question.endswith("?")
    assert loaded.attacks
    assert loaded.controls


def test_commands_are_light_to_import() -> None:
    code = "import sys, advbench.cli.list, advbench.cli.show, advbench.cli.plan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_a_caller_fills_in_is_no_parameter_of_a_dataset() -> None:
    assert "No parameters" in CliRunner().invoke(show, ["dataset", "digits"]).output
    shown = CliRunner().invoke(show, ["dataset", "npz"]).output
    assert "path: a word, required" in shown
    assert "download" not in shown


def test_show_says_what_a_matrix_may_write_for_a_tensor() -> None:
    shown = CliRunner().invoke(show, ["attack", "universal"]).output
    assert "images: a dataset or a table like `data` of a matrix, or null, default null" in shown
    assert "labels: a tensor (in Python) or null, default null" in shown

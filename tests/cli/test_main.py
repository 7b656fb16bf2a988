"""The front door: quick help, one line for a mistake, exit codes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest
from click.testing import CliRunner

from advbench.cli import COMMANDS, cli


def _advbench(*words: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", "from advbench.cli import main; main()", *words]
    return subprocess.run(call, capture_output=True, text=True, timeout=120, check=False)


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from advbench.cli import cli; cli(['--help'], standalone_mode=False); "
        "print([name for name in ('torch', 'numpy', 'pandas', 'matplotlib', 'scipy') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"


def test_every_command_has_help_that_ends_in_an_example() -> None:
    for name in COMMANDS:
        shown = CliRunner().invoke(cli, [name, "--help"])
        assert shown.exit_code == 0, name
        assert f"Example: advbench {name}" in " ".join(shown.output.split()), name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu", "x.yaml"], "did you mean 'run'"),
        (["run", "no/such/file.yaml"], "no/such/file.yaml"),
        (["show", "attack", "pgdd"], "did you mean 'pgd'"),
        (["explain", "grad_cma", "--model", "small_cnn", "--dataset", "digits", "--out", "x.png"], "mean 'grad_cam'"),
        (["explain", "grad_cam", "--model", "small_cnn", "--out", "x.png"], "untrained"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words: Sequence[str], message: str) -> None:
    ended = _advbench(*words)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr

"""The front door: quick help, one line for a mistake, exit codes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from advbench.cli import COMMANDS, cli


def _advbench(*words: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", "from advbench.cli import main; main()", *words]
    return subprocess.run(call, capture_output=True, text=True, timeout=120, check=False)


def test_the_package_is_the_command() -> None:
    by_module = subprocess.run(
        [sys.executable, "-m", "advbench", "plan"], capture_output=True, text=True, timeout=120, check=False
    )
    by_name = _advbench("plan")
    assert (by_module.returncode, by_module.stderr) == (by_name.returncode, by_name.stderr)
    assert by_module.returncode == 2


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
        (["run"], "Error: advbench run: Missing argument 'MATRIX'. Help: advbench run --help"),
        (["run", "x.yaml", "--devise", "cpu"], "advbench run: No such option '--devise'."),
        (["run", "x.yaml", "--device", "gpu"], "'gpu' is not one of 'auto', 'cpu', 'cuda'. Help: advbench run --help"),
        (["--hlep"], "Error: advbench: No such option '--hlep'."),
        (
            ["features", "pca", "--model", "linear", "--attack", "random_sphere", "--eps", "1", "--out", "x.png"],
            "'random_sphere' is a control, not an attack: see advbench show control random_sphere.",
        ),
        (["explain", "pgd", "--model", "linear", "--out", "x.png"], "'pgd' is an attack, not an attribution: see "),
        (
            ["attack", "saliency", "--model", "linear", "--dataset", "digits", "--out", "x"],
            "'saliency' is an attribution, not an attack: see advbench show attribution saliency.",
        ),
        (["attack", "random_spher", "--model", "linear", "--dataset", "digits", "--out", "x"], "'random_sphere'?"),
        (["picture", "pgd", "--model", "linear", "--out", "x.png"], "'pgd' is an attack, not a synthesis"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words: Sequence[str], message: str) -> None:
    ended = _advbench(*words)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs the file system /proc, where no file can be made")
def test_a_folder_that_is_there_but_takes_no_files_is_not_said_to_be_missing() -> None:
    ended = _advbench("report", ".", "--out", "/proc/x.html")
    assert ended.returncode == 2
    assert "cannot write into /proc: no file can be made there" in ended.stderr


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_misspelled_key_is_answered_before_anything_heavy_is_loaded(command: str, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        "question: q\ndata: digits\nmodels: [linear]\nthreats: [{norm: 2}]\natacks: [ddn]\n"
    )
    script = (
        "import sys; from advbench.cli import cli\n"
        f"try: cli([{command!r}, {str(tmp_path / 'm.yaml')!r}], standalone_mode=False)\n"
        "except ValueError as error: print(error)\n"
        "print([name for name in ('torch', 'numpy', 'pandas') if name in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True, cwd=tmp_path
    )
    said, heavy = shown.stdout.splitlines()
    assert said.endswith("m.yaml:5: a matrix has no key 'atacks'; did you mean 'attacks'?")
    assert heavy == "[]"

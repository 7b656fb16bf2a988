"""`advbench report`."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from advbench.cli.report import report
from advbench.types import ConfigError
from tests.report.synthetic_results import Plan, write_results


def test_the_page_is_written_where_it_says(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "digits", Plan(n=20, defenses=("none",)))
    page = tmp_path / "page.html"
    result = CliRunner().invoke(report, [str(folder), "--out", str(page)])
    assert result.exit_code == 0
    assert str(page) in result.output
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_folder_without_results_is_a_configuration_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(report, [str(tmp_path)])
    assert isinstance(result.exception, ConfigError)


def test_no_folder_is_a_usage_error() -> None:
    assert CliRunner().invoke(report, []).exit_code == 2

"""Accuracy against budget: the lines, their table and their words agree."""

from __future__ import annotations

import pytest

from advbench.report.budgets import budgets
from advbench.report.panel import Panel, panels
from advbench.report.records import cost_rows
from advbench.report.stored import read_matrix
from advbench.report.tables import curve_rows
from tests.report.stored_rows import cell, matrix
from tests.report.synthetic_results import Plan, write_results


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> list[Panel]:
    folder = write_results(tmp_path_factory.mktemp("budgets") / "m", Plan(n=40, missing=(("none", "pgd", "linf"),)))
    return panels(read_matrix(folder))


def test_a_whole_run_ends_where_the_curve_over_eps_ends(views: list[Panel]) -> None:
    for panel in views[:2]:
        for plot in budgets(panel, panel.subjects).plots:
            ends = {row.method: row.points[-1] for row in curve_rows(panel, plot.subject) if row.method}
            assert {row.method: row.whole for row in plot.rows} == ends


def test_accuracy_never_rises_with_the_budget(views: list[Panel]) -> None:
    for panel in views[:2]:
        for row in (row for plot in budgets(panel, panel.subjects).plots for row in plot.rows):
            values = [point.value for point in (*row.points, row.whole)]
            assert values == sorted(values, reverse=True)


def test_a_panel_without_radii_has_no_budget_curves(views: list[Panel]) -> None:
    assert budgets(views[2], views[2].subjects).plots == []


def test_an_example_by_hand() -> None:
    """Five of 40 fall at the third of 10 forwards with 9 backwards: after 6 of 19 passes; four are clean errors."""
    (panel,) = panels(matrix(cell("pgd", [0, 5], clean_errors=4)))
    found = budgets(panel, panel.subjects)
    assert found.columns == (1, 10)
    (row,) = found.plots[0].rows
    assert [point.value for point in row.points] == [36 / 40, 31 / 40]
    assert (row.whole.value, row.most) == (31 / 40, 19)
    assert found.plots[0].alt == (
        "Share of samples of net with none that hold in linf at eps 0.2 over passes per sample. Left at the end of the "
        "runs: pgd 77.5 % after 19."
    )
    assert found.plots[0].image is not None


def test_one_run_of_a_minimum_norm_attack_is_paid_once() -> None:
    """Its rows repeat their passes at each radius; those of an attack that ran at each radius add up."""
    once, each = cost_rows(matrix(cell("fmn", [3, 5]), cell("pgd", [3, 5])))
    assert (once.forwards, once.backwards) == (10, 9)
    assert (each.forwards, each.backwards) == (20, 18)

"""The tables against numbers computed from the stored rows by hand."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest

from advbench.report.heat_maps import heat_maps
from advbench.report.panel import Panel, panels
from advbench.report.stored import StoredMatrix, read_matrix
from advbench.report.tables import class_rows, control_rows, leaderboard
from tests.report.synthetic_results import Plan, write_results

SUBJECT = ("linear", "none")


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> StoredMatrix:
    plan = Plan(n=60, failed=(("none", "pgd", "linf"),), missing=(("none", "fgsm", "l2"),))
    return read_matrix(write_results(tmp_path_factory.mktemp("results") / "m", plan))


@pytest.fixture(scope="module")
def views(matrix: StoredMatrix) -> list[Panel]:
    return panels(matrix)


def test_the_leaderboard_is_the_worst_case_per_sample_at_the_largest_eps(
    matrix: StoredMatrix, views: list[Panel]
) -> None:
    for leader in leaderboard(views):
        attacks = [c for c in matrix.cells if c.id.subject == leader.subject and c.id.kind == "attack"]
        for panel, score in zip(views[:2], leader.scores, strict=False):
            lost: set[int] = set()
            for cell in (c for c in attacks if c.id.norm == panel.norm):
                rows = cell.rows
                near = rows[panel.name] <= panel.headline if cell.id.radii is None else rows["eps"] == panel.headline
                lost |= set(rows.loc[~rows["clean_correct"] | (near & rows["fooled"]), "sample_id"])
            assert score.rate is not None
            assert score.rate.value == pytest.approx(1 - len(lost) / 60)


def test_a_panel_without_grid_is_about_distances(matrix: StoredMatrix, views: list[Panel]) -> None:
    panel = views[2]
    assert not panel.grid
    for leader in leaderboard(views):
        (cell,) = (cell for cell in panel.cells if cell.id.subject == leader.subject)
        assert cell.attack == "loss_ascent"
        distances = [
            0.0 if not row.clean_correct else row.l2 if row.fooled else math.inf for row in cell.rows.itertuples()
        ]
        assert leader.scores[2].rate is None
        found = leader.scores[2].distance
        assert found is not None
        assert found.value == pytest.approx(statistics.median(distances))
        assert (found.low, found.high) == (sorted(distances)[21], sorted(distances)[-22])  # the 22nd of 60
    (heat,) = heat_maps(panel, panel.subjects)
    assert all(place.distance is not None for column in heat.attacks for place in column.places)


def test_the_leaderboard_is_sorted_and_counts_missing_attacks(views: list[Panel]) -> None:
    leaders = leaderboard(views)
    first = [leader.scores[0].rate.value for leader in leaders if leader.scores[0].rate]
    assert first == sorted(first, reverse=True)
    undefended = next(leader for leader in leaders if leader.subject == SUBJECT)
    assert (undefended.done, undefended.planned) == (5, 7)
    assert [score.missing for score in undefended.scores] == [1, 1, 0]


def test_the_heat_map_has_a_place_for_everything_planned(views: list[Panel]) -> None:
    headline, *others = heat_maps(views[0], views[0].subjects)
    assert headline.headline
    assert not any(other.headline for other in others)
    assert [m.eps for m in (headline, *others)] == ["0.2", "0.1", "1/16", "1/32"]
    row = headline.subjects.index(SUBJECT)
    assert {c.method[0]: c.places[row].word for c in headline.attacks} == {"fgsm": "", "pgd": "failed", "transfer": ""}
    assert all(len(c.places) == len(headline.worst) == len(headline.subjects) for c in headline.attacks)


def test_class_rows_add_up_to_the_leaderboard(views: list[Panel]) -> None:
    for leader in leaderboard(views):
        rows = class_rows(views, leader.subject)
        assert sum(row.n for row in rows) == 60
        for i, score in enumerate(leader.scores[:2]):
            held = sum(round(rate.value * row.n) for row in rows if (rate := row.robust[i]))
            assert score.rate is not None
            assert held == round(score.rate.value * 60)


def test_many_classes_are_cut_to_the_least_robust(views: list[Panel]) -> None:
    rows = class_rows(views, SUBJECT, limit=3)
    every = class_rows(views, SUBJECT)
    assert len(rows) == 3
    robust = [sorted(rate.value for row in some if (rate := row.robust[0])) for some in (rows, every)]
    assert robust[0] == robust[1][:3]


def test_controls_stand_beside_the_strongest_attack_of_the_same_eps(views: list[Panel]) -> None:
    rows = control_rows(views[0], views[0].subjects)
    assert len(rows) == 3 * 4
    assert all(row.by_attack is not None and row.excess >= 0 for row in rows)
    assert all(row.control_length <= row.order * (1 + 1e-9) for row in rows)


def test_an_attack_that_applies_to_few_samples_is_not_the_strongest_for_that(views: list[Panel]) -> None:
    """It left few that held, but it also fooled few; where there is no other, the control is measured where it was."""
    panel = views[0]
    subject = panel.subjects[0]
    (control,), (first, *others) = panel.of(subject, "control"), panel.of(subject, "attack")
    few = sorted(first.rows.loc[first.rows["clean_correct"], "sample_id"].unique())[:6]
    rows = first.rows.copy()
    rows.loc[~rows["sample_id"].isin(few), ["status", "fooled"]] = ["not_applicable", False]
    narrow = replace(first, rows=rows)
    radius = panel.radii.index(max(panel.radii, key=float))

    beside = control_rows(replace(panel, entries=(control, narrow, *others)), [subject])[radius]
    assert beside.attack in {cell.id.method for cell in others}
    alone = control_rows(replace(panel, entries=(control, narrow)), [subject])[radius]
    assert alone.by_attack is not None
    assert alone.by_attack.n == alone.by_control.n == len(few)
    largest = control.rows[(control.rows["eps"] == panel.grid[radius]) & control.rows["sample_id"].isin(few)]
    assert alone.by_control.value == pytest.approx(largest["fooled"].mean())

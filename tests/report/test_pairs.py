"""Paired tests of the page: counted on common samples, corrected within a table, and only where attacks are alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from advbench.report.pairs import pairs
from advbench.report.panel import Panel, panels
from advbench.report.stored import StoredCell
from tests.report.stored_rows import cell, matrix


def of(stored: StoredCell, model: str) -> StoredCell:
    identity = replace(stored.id, model=model, key=f"{model}-{stored.id.attack}".ljust(64, "-"))
    return replace(stored, id=identity)


def panel(*cells: StoredCell) -> Panel:
    (only,) = panels(matrix(*cells))
    return only


def test_two_models_by_hand() -> None:
    """At 0.2 the first 10 and the first 22 of 40 samples are lost: 12 are held by the better model alone."""
    two = panel(of(cell("pgd", (0, 10)), "good"), of(cell("pgd", (5, 22)), "bad"))
    (pair,) = pairs(two, two.subjects).models
    assert (pair.test.n, pair.test.first, pair.test.second) == (40, 12, 0)
    assert pair.p == pytest.approx(2 / 2**12)
    assert pair.test.difference == pytest.approx(12 / 40)
    assert pair.verdict == "differs: p < 0.001, 12 discordant"


def test_the_worst_case_over_all_attacks_is_compared() -> None:
    weak, strong = (of(cell("fgsm", (0, 0)), "a"), of(cell("pgd", (0, 9)), "a"))
    two = panel(weak, strong, of(cell("fgsm", (0, 2)), "b"), of(cell("pgd", (0, 1)), "b"))
    (pair,) = pairs(two, two.subjects).models
    assert (pair.test.first, pair.test.second) == (0, 7)


def test_models_that_met_other_attacks_are_left_out_and_counted() -> None:
    two = panel(of(cell("pgd", (0, 9)), "a"), of(cell("pgd", (0, 1)), "b"), of(cell("fgsm", (0, 1)), "c"))
    found = pairs(two, two.subjects)
    assert [(pair.first[0], pair.second[0]) for pair in found.models] == [("a", "b")]
    assert found.unequal == 1


def test_p_is_corrected_over_the_pairs_of_the_table() -> None:
    """Three models with 0, 6 and 12 lost samples: the raw p of 6 discordant ones is 2 / 2^6; Holm takes it twice."""
    three = panel(*[of(cell("pgd", (0, lost)), name) for name, lost in (("a", 0), ("b", 6), ("c", 12))])
    by_name = {pair.first[0] + pair.second[0]: pair for pair in pairs(three, three.subjects).models}
    assert by_name["ac"].p == pytest.approx(3 * 2 / 2**12)
    assert by_name["ab"].p == by_name["bc"].p == pytest.approx(2 * 2 / 2**6)
    assert by_name["ab"].verdict == "not told apart: p = 0.062, 6 discordant"


def test_two_attacks_on_one_model_by_hand() -> None:
    """pgd breaks what fgsm breaks (3) and 9 more; both columns see it from their side."""
    one = panel(cell("fgsm", (0, 3)), cell("pgd", (0, 12)))
    (square,) = pairs(one, one.subjects).attacks
    assert square.broken == (3, 12)
    first, second = square.spots[0][1], square.spots[1][0]
    assert first is not None
    assert second is not None
    assert (first.count, second.count) == (0, 9)
    assert first.differs
    assert second.words == "differs: p = 0.0039, 9 discordant"
    assert (square.spots[0][0], square.spots[1][1]) == (None, None)


def test_few_discordant_samples_are_said_to_show_nothing() -> None:
    one = panel(cell("fgsm", (0, 3)), cell("pgd", (0, 8)))
    (square,) = pairs(one, one.subjects).attacks
    assert square.spots[0][1] is not None
    assert square.spots[0][1].words == "not told apart: 5 discordant, fewer than 6 show nothing"


def test_a_targeted_attack_is_compared_on_the_samples_that_both_apply_to() -> None:
    """The goal says nothing about 10 samples: they are part of neither count."""
    aimed = cell("fooling", (0, 0), goal="3")
    aimed.rows.loc[aimed.rows["sample_id"] < 10, "status"] = "not_applicable"
    one = panel(aimed, cell("pgd", (0, 18)))
    (square,) = pairs(one, one.subjects).attacks
    assert square.spots[1][0] is not None
    assert square.spots[1][0].count == 8

"""Which stored rows call for care, and that honest ones do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.bench.runner import run
from advbench.report.findings import Finding, findings
from advbench.report.panel import panels
from advbench.report.stored import StoredCell, read_matrix
from tests.bench.tiny_matrix import write_matrix
from tests.report.stored_rows import SAMPLES, cell, matrix


def found(*cells: StoredCell) -> list[Finding]:
    stored = matrix(*cells)
    return findings(stored, panels(stored))


def sentences(*cells: StoredCell) -> list[str]:
    return [finding.sentence for finding in found(*cells)]


@st.composite
def honest(draw: st.DrawFn) -> list[StoredCell]:
    """Stronger attacks break more, larger radii break more, noise breaks least."""
    noise = draw(st.integers(0, 5))
    black, single, many = (sorted(draw(st.tuples(*2 * [st.integers(6, SAMPLES)]))) for _ in range(3))
    many = [max(values) for values in zip(black, single, many, strict=True)]
    many[1] = max(many[1], min(SAMPLES, many[0] + 1))
    single[1] = max(single[1], min(many[1], single[0] + 1))
    return [
        cell("fgsm", single),
        cell("pgd", many),
        cell("square", black),
        cell("random_sphere", [0, noise], kind="control"),
    ]


@settings(max_examples=20)
@given(honest())
def test_an_honest_matrix_has_nothing_to_be_wary_of(cells: list[StoredCell]) -> None:
    assert sentences(*cells) == []


@settings(max_examples=10)
@given(honest(), st.permutations(range(4)))
def test_the_order_of_the_cells_does_not_matter(cells: list[StoredCell], order: list[int]) -> None:
    assert sorted(sentences(*cells)) == sorted(sentences(*(cells[i] for i in order)))


def test_a_control_as_good_as_all_attacks() -> None:
    (one,) = found(cell("pgd", [3, 20], clean_errors=4), cell("random_sphere", [5, 6], kind="control", clean_errors=4))
    assert one.sentence == (
        "at eps 0.1 the control random_sphere breaks 5 of 36 correctly classified samples and pgd 3: the attacks are "
        "too weak, or the radius is so large that direction does not matter."
    )
    assert (one.subject, one.threat, one.link) == (("net", "none"), "linf", "random_s")


def test_two_that_break_nothing_are_no_sign() -> None:
    assert found(cell("pgd", [0, 9]), cell("random_sphere", [0, 0], kind="control")) == []


def test_an_attack_on_the_explanation_is_no_weak_attack() -> None:
    keeper, noise = cell("top_k_saliency", [0, 0]), cell("random_sphere", [5, 6], kind="control")
    assert sentences(keeper, noise) == []
    assert sentences(keeper, cell("pgd", [9, 20]), noise) == []
    assert "and pgd 3" in sentences(keeper, cell("pgd", [3, 20]), noise)[0]


def test_where_noise_breaks_everything_the_radius_is_too_large() -> None:
    (text,) = sentences(cell("pgd", [9, 40]), cell("fgsm", [9, 30]), cell("random_sphere", [0, 40], kind="control"))
    assert "at eps 0.2 the control random_sphere breaks 40 of 40" in text
    assert "the worst case over 2 attacks 40" in text


def test_a_single_step_ahead_of_many() -> None:
    (text,) = sentences(cell("fgsm", [10, 30]), cell("pgd", [12, 20]), cell("apgd", [12, 31]))
    assert text == (
        "at eps 0.2 fgsm, a single step, leaves 25.0 % and pgd, many steps, leaves 50.0 %: the gradients may be masked."
    )


@pytest.mark.parametrize("more", [0, 1])
def test_one_sample_may_be_luck(more: int) -> None:
    assert sentences(cell("fgsm", [10, 20 + more]), cell("pgd", [12, 20])) == []


def test_a_black_box_ahead_of_everything_with_gradients() -> None:
    (text,) = sentences(cell("fgsm", [2, 3]), cell("pgd", [5, 20]), cell("square", [5, 30]), cell("ddn", [4, 19]))
    assert text == (
        "at eps 0.2 square, which sees only the scores, leaves 25.0 % and pgd, the strongest with gradients, leaves "
        "50.0 %: the gradients may be masked."
    )


@pytest.mark.parametrize("white", ["fgsm", "loss_ascent", "universal"])
def test_a_black_box_ahead_of_attacks_that_are_not_thorough_is_no_sign(white: str) -> None:
    """One step, ascent whose length heeds no radius, one perturbation for all."""
    assert sentences(cell(white, [2, 3]), cell("square", [5, 30])) == []


def test_a_curve_that_does_not_fall() -> None:
    (text,) = sentences(cell("pgd", [10, 10]), cell("loss_ascent", [10, 30]))
    assert text == (
        "pgd leaves 75.0 % at eps 0.1 and 75.0 % at eps 0.2, where loss_ascent leaves 25.0 %: a curve so flat says "
        "that the gradients may vanish."
    )


@pytest.mark.parametrize(
    "cells",
    [
        [cell("pgd", [10, 11]), cell("loss_ascent", [10, 30])],  # it falls
        [cell("pgd", [38, 38]), cell("loss_ascent", [38, 40])],  # at the level of chance
        [cell("pgd", [10, 10]), cell("loss_ascent", [10, 13])],  # and nobody does much better
        [cell("pgd", [10, 10], goal="next"), cell("loss_ascent", [10, 30])],  # one class may be out of reach
        [cell("loss_ascent", [10, 10]), cell("pgd", [10, 30])],  # the length of its steps heeds no radius
    ],
)
def test_other_curves_are_no_sign(cells: list[StoredCell]) -> None:
    assert sentences(*cells) == []


def test_invalid_results_are_counted_by_kind() -> None:
    rows = cell("pgd", [4, 9]).rows
    invalid = rows["sample_id"] >= 38
    changes = {"status": rows["status"].where(~invalid, "invalid"), "in_box": ~invalid}
    (text,) = sentences(cell("pgd", [4, 9], changes=changes))
    assert text == ("4 of 80 results of pgd are invalid and count as held: 0 lie outside the ball, 4 outside the box.")


def test_gradients_that_never_came_are_told_at_the_largest_of_the_radii() -> None:
    rows = cell("pgd", [4, 9]).rows
    (text,) = sentences(cell("pgd", [4, 9], changes={"blind": rows["sample_id"] >= 9, "backwards": 0}))
    assert text.startswith("pgd at eps 0.2: no gradient ever reached x on any of the 31 samples that held: ")
    assert text.endswith(".")


def test_a_rule_that_was_wrong_in_its_audit() -> None:
    rows = cell("cascade", [10, 20]).rows
    place = rows["sample_id"]
    evidence = rows["evidence"].where(place < 15, "audited").where(place < 25, "decided")
    (text,) = sentences(cell("cascade", [10, 20], changes={"evidence": evidence}))
    assert text.startswith(
        "cascade stopped early on 15 of 40 samples at eps 0.2 and counts them as held; of 10 more that were attacked "
        "to the end all the same 5 fell, so its robust accuracy is at most "
    )


@pytest.mark.parametrize(("decided", "texts"), [(10, 1), (1, 0), (0, 0)])
def test_a_rule_whose_audit_found_nothing_is_mentioned_if_the_audit_was_small(decided: int, texts: int) -> None:
    """Nine audited, none fell: up to 28 % of the decided may have, so of ten in 40 samples up to 7 points."""
    place = cell("cascade", [10, 20]).rows["sample_id"]
    evidence = place.map(lambda i: "run" if i < 20 else "audited" if i < 40 - decided else "decided")
    found = sentences(cell("cascade", [10, 20], changes={"evidence": evidence}))
    assert len(found) == texts
    assert all(text.endswith(" points too high (95 %).") for text in found)


OWN = {"name": "linear", "params": {}, "weights": "ab12"}
OTHER = {"name": "linear", "params": {}, "weights": "cd34"}


@pytest.mark.parametrize(
    ("substitute", "own"),
    [
        ({"key": "77", "model": OWN}, True),
        ({"key": "ab12", "model": {"name": "linear"}}, True),
        (
            {"key": "5", "ensemble": [{"key": "6", "model": OTHER}, {"key": "7", "model": OWN}]},
            True,
        ),
        ({"key": "77", "model": OTHER}, False),
        ({"key": "5", "ensemble": [{"key": "6", "model": OTHER}]}, False),
        ({"key": "8", "student": {"name": "linear"}, "victim": "ab12"}, False),
        (None, False),
    ],
)
def test_a_transfer_from_the_model_to_itself_is_told(substitute: object, own: bool) -> None:
    stored = replace(cell("transfer", [1, 2]), model=OWN, params={"substitute": substitute})  # type: ignore[dict-item]
    texts = [
        "transfer is no black-box attack here: a substitute has the attacked model's own weights, so nothing is "
        "transferred."
    ]
    assert sentences(stored) == (texts if own else [])


def test_several_transfers_from_the_model_to_itself_are_one_sentence() -> None:
    own = {"model": OWN, "params": {"substitute": {"key": "7", "model": OWN}}}
    both = [replace(cell(name, [1, 2]), **own) for name in ("transfer via=fgsm", "transfer via=pgd")]  # type: ignore[arg-type]
    (text,) = sentences(*both, cell("pgd", [3, 4]))
    assert text.startswith("transfer via=fgsm and transfer via=pgd are no black-box attacks here")


def test_the_keys_of_a_run_tell_the_model_from_others(tmp_path: Path) -> None:
    """Fixed weights and trained ones: each as victim, and as substitute of itself and of the other."""
    own = {"linear": {"weights": "means.safetensors"}}
    attacks: list[object] = [{"transfer": {"substitute": [own, "linear"], "via": "fgsm"}}]
    training = {"none": {"epochs": 1}}
    path = write_matrix(tmp_path, attacks=attacks, models=[own, "linear"], defenses=[training])
    assert run(path, results=tmp_path, device="cpu", samples=10).exit_code == 0
    stored = read_matrix(tmp_path / "m")
    told = [found for found in findings(stored, panels(stored)) if "no black-box attack here" in found.sentence]
    assert len(stored.cells) == 4
    assert sorted(found.subject[0] for found in told) == sorted({cell.id.model for cell in stored.cells})

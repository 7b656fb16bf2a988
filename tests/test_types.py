"""The nouns: radii are exact, threats check themselves, keys are stable, rows travel through tables unchanged."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.types import (
    EVIDENCE,
    NORMS,
    STATUSES,
    Cell,
    ConfigError,
    Json,
    Outcomes,
    Radius,
    ThreatModel,
    canonical_json,
    content_key,
    norm_name,
    norm_of,
)
from tests.strategies import norms, seeds

plain_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.integers(0, 300), st.integers(1, 300))
def test_a_radius_is_the_fraction_it_says_and_prints_as_written(top: int, bottom: int) -> None:
    radius = Radius(f"{top}/{bottom}")
    assert radius.exact == Fraction(top, bottom)
    assert float(radius) == top / bottom
    assert str(radius) == f"{top}/{bottom}"


@given(st.decimals(0, 100, places=4))
def test_a_decimal_radius_is_exact_where_a_float_is_not(number: object) -> None:
    assert Radius(str(number)).exact == Fraction(str(number))
    assert Radius("0.3").exact == Radius("3/10").exact != Fraction(0.3)


@pytest.mark.parametrize("text", ["", "a third", "1/0", "nan", "inf", "1/2/3", "-1", "-8/255"])
def test_what_is_no_radius_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="eps must"):
        Radius(text)


@pytest.mark.parametrize(
    ("written", "norm"),
    [("inf", math.inf), ("Linf", math.inf), (" l2 ", 2.0), (2, 2.0), ("1", 1.0), (1.0, 1.0), ("l0", 0.0), (0, 0.0)],
)
def test_norms_are_understood_as_people_write_them(written: object, norm: float) -> None:
    assert norm_of(written) == norm


@pytest.mark.parametrize("written", [3, "l3", "two", None, -1, float("nan"), "", True, [2]])
def test_other_norms_are_refused(written: object) -> None:
    with pytest.raises(ConfigError, match="norm must be 0, 1, 2 or inf, got"):
        norm_of(written)


@given(norms())
def test_the_name_of_a_norm_is_a_norm(norm: float) -> None:
    assert norm_of(norm_name(norm)) == norm
    assert norm in NORMS


@given(norms(), st.floats(0.0, 1.0))
def test_a_threat_can_be_moved_to_another_radius(norm: float, eps: float) -> None:
    threat = ThreatModel(norm, None, -1.0, 2.0)
    assert threat.at(eps) == ThreatModel(norm, eps, -1.0, 2.0)
    assert threat.at(eps).at(None) == threat


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 0.1), "norm must be 0, 1, 2 or inf, got 3"),
        ((2, -0.1), "threat.eps must be a finite number >= 0, got -0.1"),
        ((2, math.inf), "threat.eps must be a finite number >= 0, got inf"),
        ((2, math.nan), "threat.eps must be a finite number >= 0, got nan"),
        ((2, 0.1, 1.0, 1.0), "low must be a number below high"),
        ((2, 0.1, math.nan, 1.0), "low must be a number below high"),
        ((2, 0.1, "a", 1.0), "low must be a number below high"),
        ((2, [0.1]), "threat.eps must be a number or None, got list"),
        ((math.inf, 8), "did you mean 8/255"),
        ((math.inf, 1.5), "larger than the box"),
    ],
)
def test_impossible_threats_are_refused(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        ThreatModel(*arguments)


def test_threats_hold_floats() -> None:
    threat = ThreatModel("linf", 1)  # type: ignore[arg-type]
    assert (threat.norm, threat.eps) == (math.inf, 1.0)
    assert ThreatModel(norm=2) == ThreatModel(2, None)  # no radius: the nearest example
    assert ThreatModel(2, 100.0).eps == 100.0  # an l2 radius may be longer than a side of the box
    assert ThreatModel(math.inf, 8.0, 0.0, 255.0).eps == 8.0


@given(st.dictionaries(st.text(max_size=4), plain_json, max_size=4), st.randoms())
def test_the_order_of_keys_does_not_change_the_content_key(content: dict[str, Json], random: object) -> None:
    items = list(content.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert content_key(dict(items)) == content_key(content)
    assert json.loads(canonical_json(content)) == content


@given(plain_json, plain_json)
def test_other_content_has_another_key(one: Json, other: Json) -> None:
    assert (content_key(one) == content_key(other)) == (canonical_json(one) == canonical_json(other))


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_numbers_that_json_does_not_have_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"eps": number})


def cell(**changes: object) -> Cell:
    parts: dict[str, object] = {
        "dataset": {"name": "digits", "split": "test", "ids": "00ff", "count": 100},
        "model": {"name": "mlp", "params": {"width": 64}, "weights": "aa"},
        "defense": {"name": "none", "params": {}},
        "attack": {"kind": "attack", "name": "pgd", "params": {"steps": 40}},
        "goal": "untargeted",
        "norm": math.inf,
        "eps": (Radius("0.1"), Radius("8/255")),
        "seed": 0,
    }
    return Cell(**{**parts, **changes})  # type: ignore[arg-type]


def test_golden_keys_never_change() -> None:
    """Stored results are found by these: whoever changes them loses everybody's results."""
    assert cell().key == "5d508e17e7e4a9a00a30b92bd33bf3729663b9870e93b43fb5a5147d4fd5da78"
    assert cell(eps=None, norm=2.0).key == "53996d87dbb703cc2725276c80334a197e61dfbbd2bab9ff6be3e0291ae1da1d"


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": {"name": "digits", "split": "test", "ids": "00fe", "count": 100}},
        {"model": {"name": "mlp", "params": {"width": 65}, "weights": "aa"}},
        {"defense": {"name": "adversarial", "params": {}}},
        {"attack": {"kind": "control", "name": "pgd", "params": {"steps": 40}}},
        {"goal": "random"},
        {"norm": 2.0},
        {"eps": (Radius("0.1"),)},
        {"eps": None},
        {"seed": 1},
    ],
)
def test_everything_in_a_cell_is_in_its_key(changes: dict[str, object]) -> None:
    assert cell(**changes).key != cell().key


def test_equal_radii_written_differently_are_one_cell() -> None:
    assert cell(eps=(Radius("1/10"), Radius("16/510"))).key == cell().key
    assert json.loads(canonical_json(cell().spec()))["eps"] == ["1/10", "8/255"]


def outcomes(count: int, seed: int, *, with_images: bool = False) -> Outcomes:
    """Random rows with the types that the class documents."""
    generator = torch.Generator().manual_seed(seed)
    flags = ("clean_correct", "fooled", "in_ball", "in_box", "blind")
    codes = {"status": len(STATUSES), "evidence": len(EVIDENCE)}
    doubles = ("eps", "l0", "l1", "l2", "linf")
    floats = ("margin_clean", "margin_adv")
    columns = {}
    for name in Outcomes.columns():
        u = torch.rand(count, generator=generator, dtype=torch.float64)
        if name in flags:
            columns[name] = u > 0.5
        elif name in codes:
            columns[name] = (u * codes[name]).to(torch.int8)
        elif name in doubles:
            columns[name] = u
        else:
            columns[name] = u.float() if name in floats else (u * 1e6).long() - 1
    columns["eps"][: count // 2] = math.nan  # minimum-norm rows
    return Outcomes(**columns, x_adv=torch.rand(count, 1, 2, 2, generator=generator) if with_images else None)


def same(one: Outcomes, other: Outcomes) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in Outcomes.columns()]
    return all(a.dtype == b.dtype and torch.equal(a.nan_to_num(-1.0), b.nan_to_num(-1.0)) for a, b in pairs)


@given(st.integers(0, 6), seeds())
def test_rows_come_back_from_a_table_as_they_were(count: int, seed: int) -> None:
    rows = outcomes(count, seed)
    table = rows.to_pandas()
    assert list(table.columns) == list(Outcomes.columns())
    assert set(table["status"]) <= set(STATUSES)
    assert set(table["evidence"]) <= set(EVIDENCE)
    assert same(Outcomes.from_pandas(table), rows)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), seeds())
def test_parts_join_to_the_whole(counts: list[int], seed: int) -> None:
    whole = outcomes(sum(counts), seed, with_images=True)
    parts = [whole.take(index) for index in torch.split(torch.arange(len(whole)), counts)]
    joined = Outcomes.concat(parts)
    assert same(joined, whole)
    assert joined.x_adv is not None
    assert torch.equal(joined.x_adv, whole.x_adv if whole.x_adv is not None else torch.empty(0))


@given(st.lists(st.booleans(), min_size=5, max_size=5), seeds())
def test_a_mask_and_its_positions_take_the_same_rows(mask: list[bool], seed: int) -> None:
    rows, chosen = outcomes(5, seed), torch.tensor(mask)
    assert same(rows.take(chosen), rows.take(chosen.nonzero()[:, 0]))
    assert len(rows.take(chosen)) == sum(mask)


def test_images_are_kept_only_if_every_part_has_them() -> None:
    assert Outcomes.concat([outcomes(2, 0, with_images=True), outcomes(2, 1)]).x_adv is None


def test_stored_codes_keep_their_meaning() -> None:
    """The codes stand in stored files: append, never reorder."""
    assert STATUSES[:5] == ("held", "fooled", "clean_error", "invalid", "not_applicable")
    assert EVIDENCE[:3] == ("run", "carried", "nested")

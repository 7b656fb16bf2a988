"""Different things have different names, and those say what differs where they can."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbench.bench.labels import distinguish
from advbench.types import Json, canonical_json

LEAVES = st.one_of(st.none(), st.integers(0, 2), st.sampled_from(["a", "b"]))
FACTS = st.dictionaries(st.sampled_from("xyz"), st.one_of(LEAVES, st.dictionaries(st.sampled_from("vw"), LEAVES)))


@given(st.lists(FACTS, max_size=6))
def test_labels_are_equal_exactly_where_the_facts_are(facts: list[dict[str, Json]]) -> None:
    labels = distinguish(["net"] * len(facts), facts)
    assert len(set(labels)) == len({canonical_json(own) for own in facts})


def inner(name: str, **params: Json) -> dict[str, Json]:
    return {"via": {"name": name, "params": params}}


@pytest.mark.parametrize(
    ("facts", "labels"),
    [
        ([{"steps": 3}, {"steps": 3}], ["net", "net"]),
        ([{"weights": {"file": "A/a.pt"}}, {"weights": {"file": "B/b.pt"}}], ["net weights=a", "net weights=b"]),
        (
            [{"weights": {"file": f"/runs/{run}/best.pt"}} for run in ("1", "2")],
            ["net weights=1/best", "net weights=2/best"],
        ),
        ([inner("pgd", steps=3), inner("bim", steps=3)], ["net via=pgd", "net via=bim"]),
        ([inner("pgd", steps=3), inner("pgd", steps=30)], ["net via=pgd steps=3", "net via=pgd steps=30"]),
        (
            [{"images": {"data": "x", "split": "train", "count": n}} for n in (20, 200)],
            ["net images count=20", "net images count=200"],
        ),
    ],
)
def test_what_reads_alike_is_told_apart_by_what_differs_inside(facts: list[dict[str, Json]], labels: list[str]) -> None:
    assert distinguish(["net", "net"], facts) == labels

"""What a run says about a cell."""

from __future__ import annotations

from pathlib import Path

from advbench.bench.progress import ended_line, notes_of
from advbench.bench.run_cell import Finished
from advbench.types import Json

LABELS = {"model": "net", "defense": "none", "attack": "cascade", "goal": "untargeted", "norm": "linf"}


def row(eps: str | None, robust: float, audit: str | None = None) -> dict[str, Json]:
    return {
        "eps": eps,
        "robust_accuracy": robust,
        "median_distance": 0.5,
        **({} if audit is None else {"audit": audit}),
    }


def test_each_audit_says_the_eps_it_belongs_to() -> None:
    summary = (row("0.1", 0.9, "one fell"), row("8/255", 0.5), row("0.3", 0.1, "none fell"))
    first, *audits = ended_line(Finished(Path("m"), LABELS, "done", summary, 2.0)).splitlines()
    assert first == "done    net / none / cascade / linf   robust 0.1: 90.0 %, 8/255: 50.0 %, 0.3: 10.0 %   2.0 s"
    assert [line.strip() for line in audits] == ["eps 0.1: one fell", "eps 0.3: none fell"]


def test_without_a_radius_there_is_no_eps_to_say() -> None:
    line = ended_line(Finished(Path("m"), LABELS, "done", (row(None, 0.9, "one fell"),), 2.0))
    assert line.splitlines()[1].strip() == "one fell"


def test_a_note_that_is_the_same_at_several_radii_is_said_once() -> None:
    summary = [{**row(eps, 0.9), "blind": "none came"} for eps in ("0.1", "0.2")]
    first, *rest = notes_of([*summary, {**row("0.3", 0.1), "invalid": "two are", "blind": "few came"}])
    assert first == "eps 0.3: two are"
    assert rest[:2] == ["eps 0.1, 0.2: none came", "eps 0.3: few came"]
    assert "bpda" in rest[2]
    assert len(rest) == 3

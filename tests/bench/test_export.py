"""Exports say the same in every format, and hostile names stay text."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbench.bench.export import (
    FORMATS,
    Row,
    distance_text,
    export,
    rows_under,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
    to_parquet,
)
from advbench.bench.runner import run
from advbench.bench.summary import COLUMNS, LATER, blank
from advbench.bench.verify import verify
from advbench.store import read_json, write_json
from advbench.types import ConfigError
from tests.bench.tiny_matrix import write_matrix

DESIGN = (
    "model, defense, attack, goal, norm, eps, n, clean_accuracy, robust_accuracy, ci_low, ci_high, median_distance, "
    "forwards, backwards, queries, seconds, status"
)
INTERVAL = ", median_low, median_high"
HOSTILE = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\tx",
    "\\input{/etc/passwd}",
    "a & b_c % $ # { } ~ ^",
    "<b>|x|</b>",
    "\x1b[2J",
]
names = st.text(max_size=12) | st.sampled_from(HOSTILE)


FIGURES = (*COLUMNS[12:16], *COLUMNS[17:])


@st.composite
def rows(draw: st.DrawFn) -> Row:
    labels = {name: draw(names) for name in ("model", "defense", "attack")} | {"goal": "next", "norm": "l2"}
    share = st.floats(0, 1)
    values = {name: draw(share) for name in COLUMNS[7:12]} | {name: draw(st.floats(0, 1e6)) for name in FIGURES}
    empty = blank(labels, [draw(st.sampled_from(["0.1", "8/255"]))], "failed")[0]
    return empty if draw(st.booleans()) else empty | values | {"n": draw(st.integers(1, 9999)), "status": "done"}


def test_the_columns_are_those_of_the_design_and_then_the_interval_of_the_median() -> None:
    assert ", ".join(COLUMNS) == DESIGN + INTERVAL


def test_without_a_radius_there_is_a_distance_and_no_robust_accuracy(tmp_path: Path) -> None:
    """ddn once over the grid, once without: the grid's rows have shares, the other has none in any format."""
    matrix = write_matrix(tmp_path, attacks=["ddn"], threats=[{"norm": 2, "eps": [0.5]}, {"norm": 2}])
    assert run(matrix, results=tmp_path, device="cpu").exit_code == 0
    by_eps = {row["eps"]: row for row in rows_under(tmp_path)}
    assert isinstance(by_eps["0.5"]["robust_accuracy"], float)
    alone = by_eps[None]
    assert [alone[name] for name in ("robust_accuracy", "ci_low", "ci_high")] == [None, None, None]
    assert isinstance(alone["median_distance"], float)
    assert isinstance(alone["clean_accuracy"], float)
    (line,) = [line for line in export(tmp_path, "markdown").decode().splitlines() if "| l2 |  |" in line]
    assert [part.strip() for part in line.split("|")][8:] == [
        f"{100 * alone['clean_accuracy']:.1f}", "", "", distance_text(alone), ""
    ]  # fmt: skip


def test_a_distance_in_words() -> None:
    """Not reached is None; a result stored before there was an interval has none."""
    row = {"n": 40, "median_distance": 0.41234, "median_low": 0.38, "median_high": 0.45}
    assert distance_text(row) == "0.4123 (0.38 to 0.45)"
    assert distance_text({**row, "median_high": None}) == "0.4123 (0.38 or more)"
    assert distance_text({**row, "median_distance": None, "median_high": None}) == "not reached (0.38 or more)"
    assert distance_text(dict.fromkeys(row) | {"n": 40}) == "not reached"
    assert distance_text({"n": 40, "median_distance": 0.41234}) == "0.4123"
    assert distance_text(dict.fromkeys(row) | {"n": 0}) == ""


def test_results_from_before_the_interval_export_as_if_they_had_it(tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path, attacks=["ddn"], threats=[{"norm": 2, "eps": [0.5]}, {"norm": 2}])
    assert run(matrix, results=tmp_path, device="cpu").exit_code == 0
    now = rows_under(tmp_path)
    alone = next(row for row in now if row["eps"] is None)
    assert alone["median_low"] < alone["median_distance"] < alone["median_high"]  # type: ignore[operator]
    for cell in tmp_path.glob("*/*/cell.json"):
        record = read_json(cell)
        for row in record["summary"]:
            for name in LATER:
                del row[name]
        write_json(cell, record)
    assert rows_under(tmp_path) == now
    assert not [finding for finding in verify(tmp_path) if finding.wrong]


@given(st.lists(rows(), max_size=4))
def test_csv_reads_back_and_holds_no_formula(table: list[Row]) -> None:
    read = list(csv.DictReader(io.StringIO(to_csv(table).decode(), newline="")))
    assert len(read) == len(table)
    for mine, theirs in zip(table, read, strict=True):
        for name in COLUMNS:
            assert not theirs[name].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
            shown = "" if mine[name] is None else str(mine[name])
            assert theirs[name].removeprefix("'") == shown.removeprefix("'")


@given(st.lists(rows(), max_size=4))
def test_json_and_parquet_read_back_exactly(table: list[Row]) -> None:
    assert json.loads(to_json(table))["rows"] == [{name: row[name] for name in COLUMNS} for row in table]
    assert pq.read_table(io.BytesIO(to_parquet(table))).to_pylist() == [dict(row) for row in table]


@given(st.lists(rows(), min_size=1, max_size=4))
def test_latex_has_one_line_per_row_and_no_active_character_from_names(table: list[Row]) -> None:
    body = to_latex(table).decode().split("\\midrule\n")[1].split("\\bottomrule")[0]
    assert len(body.splitlines()) == len(table)
    for line in body.splitlines():
        text = line.removesuffix(r" \\")
        for command in (r"\\text(backslash|asciitilde|asciicircum|less|greater)\{\}", r"\\[{}&%$#_]"):
            text = re.sub(command, "", text)
        assert text.count(" & ") == 10
        assert not set(text.replace(" & ", "")) & set("\\{}&%$#_~^")


@given(st.lists(rows(), min_size=1, max_size=4))
def test_markdown_has_one_line_per_row_with_eleven_cells(table: list[Row]) -> None:
    lines = to_markdown(table).decode().split("\n")[:-1]
    assert len(lines) == len(table) + 2
    for line in lines:
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 12
        assert line.isprintable()


def test_cells_without_a_result_are_rows_that_say_so(tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path)
    run(matrix, results=tmp_path, device="cpu", only="attack=fgsm")
    found = [(row["attack"], row["eps"], row["status"], row["n"]) for row in rows_under(tmp_path)]
    assert found == [
        ("fgsm", "0.05", "done", 40),
        ("fgsm", "1/10", "done", 40),
        ("pgd", "0.05", "missing", None),
        ("pgd", "1/10", "missing", None),
    ]
    assert all(export(tmp_path / "m", form) for form in FORMATS)


def test_a_damaged_cell_is_a_row_that_says_so(tmp_path: Path) -> None:
    """By its record, or by the samples from which an older result gets what it lacks."""
    run(write_matrix(tmp_path, attacks=["fgsm", "bim", "pgd"]), results=tmp_path, device="cpu")
    (fgsm,), (bim,) = (list(tmp_path.glob(f"m/*{name}*")) for name in ("fgsm", "bim"))
    (fgsm / "cell.json").write_bytes((fgsm / "cell.json").read_bytes()[:300])
    record = read_json(bim / "cell.json")
    for row in record["summary"]:
        del row["median_low"]
    write_json(bim / "cell.json", record)
    (bim / "samples.parquet").write_bytes((bim / "samples.parquet").read_bytes()[:900])
    found = {row["attack"]: (row["status"], row["robust_accuracy"] is None) for row in rows_under(tmp_path)}
    assert found == {"fgsm": ("damaged", True), "bim": ("damaged", True), "pgd": ("done", False)}
    assert all(export(tmp_path / "m", form) for form in FORMATS)


def test_unknown_formats_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="csv, json, latex, markdown, parquet"):
        export(tmp_path, "xls")
    with pytest.raises(ConfigError, match="no results in"):
        export(tmp_path, "csv")

"""Stored summaries as tables for other programs: CSV, JSON, LaTeX, Markdown, parquet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from advbench.bench.cell_folder import TABLE, read_record, summary_of
from advbench.bench.status import CellState, cell_states, matrix_folders
from advbench.bench.summary import COLUMNS, LATER, blank, summarise
from advbench.store import UnreadableError, read_table
from advbench.types import ConfigError, Json

Row = Mapping[str, Json]
# A spreadsheet takes a cell that begins with one of these as a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
AT_RADIUS = ("robust_accuracy", "ci_low", "ci_high")  # mean nothing without a radius: there the median distance speaks
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#&])")
_PRINTED = (
    "model", "defense", "attack", "goal", "norm", "eps", "n", "clean", "robust", "95 % interval", "median (95 %)"
)  # fmt: skip


def export(path: Path, form: str) -> bytes:
    """The rows of every cell under `path` in the format `form`. Raises ConfigError on another format or no results."""
    if form not in FORMATS:
        raise ConfigError(f"no format {form!r}; there are: {', '.join(FORMATS)}")
    return FORMATS[form](rows_under(path))


def rows_under(path: Path) -> list[Row]:
    """A row of `summary.COLUMNS` per (cell, eps), in the order of the matrix; cells without a result are empty.

    So are those whose files cannot be read, with the status damaged.
    The row of a minimum-norm attack without radii has a median distance and no robust accuracy. Of results that were
    stored before a column existed, it is computed from their samples.
    """
    states = [state for folder in matrix_folders(path) for state in cell_states(folder)]
    return [row for state in states if state.status != "skipped" for row in _rows(state)]


def _rows(state: CellState) -> Sequence[Row]:
    if state.status != "done":
        return blank(state.labels, state.eps, state.status)
    try:
        summary = _summary(state)
    except (UnreadableError, FileNotFoundError):
        return blank(state.labels, state.eps, "damaged")
    return [row if row["eps"] is not None else {**row, **dict.fromkeys(AT_RADIUS)} for row in summary]


def _summary(state: CellState) -> Sequence[Row]:
    record = read_record(state.folder)
    summary = summary_of(record)
    if all(name in row for row in summary for name in LATER):
        return summary
    table, seconds = read_table(state.folder / TABLE), cast("float", record["seconds"])
    return summarise(table, labels=state.labels, eps=state.eps, seconds=seconds)


def to_csv(rows: Sequence[Row]) -> bytes:
    """RFC 4180, UTF-8. Text that a spreadsheet would run as a formula gets a ' in front."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    writer.writerows([_guarded(row[name]) for name in COLUMNS] for row in rows)
    return buffer.getvalue().encode()


def to_json(rows: Sequence[Row]) -> bytes:
    """{"schema": 1, "rows": [...]}, with null for what is empty."""
    content = {"schema": 1, "rows": [{name: row[name] for name in COLUMNS} for row in rows]}
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def to_parquet(rows: Sequence[Row]) -> bytes:
    """The columns with their types; null for what is empty."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    words = {"model", "defense", "attack", "goal", "norm", "eps", "status"}
    kinds = {name: pa.string() if name in words else pa.int64() if name == "n" else pa.float64() for name in COLUMNS}
    table = pa.table({name: pa.array([row[name] for row in rows], kinds[name]) for name in COLUMNS})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def to_latex(rows: Sequence[Row]) -> bytes:
    """A booktabs table (needs the package booktabs); every name escaped."""
    lines = [r"\begin{tabular}{llllllrrrrr}", r"\toprule", _latex_line(_PRINTED), r"\midrule"]
    lines += [_latex_line(_printed(row)) for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    return ("\n".join(lines) + "\n").encode()


def to_markdown(rows: Sequence[Row]) -> bytes:
    """A pipe table; every name escaped."""
    lines = [
        _PRINTED,
        ["---"] * 6 + ["---:"] * 5,
        *([_MARKDOWN.sub(r"\\\1", text) for text in _printed(row)] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).encode()


FORMATS: Mapping[str, Callable[[Sequence[Row]], bytes]] = {
    "csv": to_csv,
    "json": to_json,
    "latex": to_latex,
    "markdown": to_markdown,
    "parquet": to_parquet,
}


def _guarded(value: Json) -> Json:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join("".join(_LATEX.get(letter, letter) for letter in cell) for cell in cells) + r" \\"


def _printed(row: Row) -> list[str]:
    """The row for reading: shares in percent with one decimal; a cell without a result says so."""
    names = [printable(str(row[name])) for name in _PRINTED[:5]]
    eps = "" if row["eps"] is None else str(row["eps"])
    if row["status"] != "done":
        return [*names, eps, "", "", str(row["status"]), "", ""]
    median = row["median_distance"]
    at_radius = "" if median is None else f"{median:.4g}"  # cut off at the radius: an interval would promise too much
    return [
        *names,
        eps,
        str(row["n"]),
        _percent(row["clean_accuracy"]),
        _percent(row["robust_accuracy"]),
        "" if row["ci_low"] is None else f"{_percent(row['ci_low'])} - {_percent(row['ci_high'])}",
        distance_text(row) if row["eps"] is None else at_radius,
    ]


def distance_text(row: Row) -> str:
    """The median distance of a row in words, with its 95 % interval: "0.4123 (0.381 to 0.45)", "not reached"."""
    median, (low, high) = row["median_distance"], (row.get(name) for name in LATER)
    if row.get("n") == 0:
        return ""
    value = "not reached" if median is None else f"{median:.4g}"
    if low is None:
        return value
    return f"{value} ({low:.4g} or more)" if high is None else f"{value} ({low:.4g} to {high:.4g})"


def _percent(share: Json) -> str:
    return f"{100 * share:.1f}" if isinstance(share, float) else ""


def printable(text: str) -> str:
    """`text` without control characters: a name must not move the cursor or break a line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)

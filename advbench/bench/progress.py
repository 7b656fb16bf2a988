"""What a run says while it works: one line per cell, the failures again at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from advbench.bench.cell_folder import CELL, read_record, summary_of
from advbench.bench.export import distance_text, printable
from advbench.bench.run_cell import Finished
from advbench.bench.summary import NOTES
from advbench.metrics.blind import ADVICE
from advbench.store import UnreadableError
from advbench.types import Json


def ended_line(cell: Finished) -> str:
    """ "done    small_cnn / none / pgd / linf   robust 0.1: 93.4 %, 0.2: 10.0 %   4.1 s"; below, what to beware of."""
    if cell.status == "failed":
        return f"failed  {name_of(cell.labels)}   {printable(cell.error)}   (log: {cell.folder})"
    nearest = bool(cell.summary) and cell.summary[0]["eps"] is None
    notes = "".join(f"\n        {note}" for note in notes_of(cell.summary))
    name = name_of(cell.labels, nearest=nearest)
    return f"{cell.status:7} {name}   {_shares(cell.summary)}   {cell.seconds:.1f} s{notes}"


def notes_of(summary: Sequence[Mapping[str, Json]]) -> list[str]:
    """What to beware of in a cell's results, each with every eps that it belongs to, and what to do about it."""
    places: dict[str, list[str]] = {}
    for name in NOTES:
        for row in summary:
            if row.get(name):
                places.setdefault(str(row[name]), []).extend([] if row["eps"] is None else [str(row["eps"])])
    notes = [f"eps {', '.join(eps)}: {note}" if eps else note for note, eps in places.items()]
    return [*notes, ADVICE] if any(row.get("blind") for row in summary) else notes


def final_lines(cells: Sequence[Finished], selected: int) -> list[str]:
    """The failures once more, and how many cells have a result."""
    failed = [cell for cell in cells if cell.status == "failed"]
    whole = sum(cell.status in ("done", "stored") for cell in cells)
    return [*map(ended_line, failed), f"{whole} of {selected} cells done, {len(failed)} failed"]


def robust_so_far(cell: Finished) -> str:
    """For a progress bar: the last cell's robust accuracy."""
    return "failed" if cell.status == "failed" else _shares(cell.summary[-1:])


def name_of(labels: Mapping[str, str], *, nearest: bool = False) -> str:
    """ "small_cnn / none / pgd / linf": model, defense, attack, the goal if there is one, norm; nearest: no radius."""
    goal = labels.get("goal", "")
    parts = [labels.get("model"), labels.get("defense"), labels.get("attack"), goal, labels.get("norm")]
    name = " / ".join(printable(part) for part in parts if part and part != "untargeted")
    return f"{name} nearest" if nearest else name


def stored_notes(folder: Path) -> list[str]:
    """What to beware of in the finished cell stored in `folder`; or that its record is damaged."""
    try:
        return notes_of(summary_of(read_record(folder)))
    except UnreadableError as error:
        return [f"{CELL} cannot be read: {error.reason}"]


def _shares(summary: Sequence[Mapping[str, Json]]) -> str:
    """Robust accuracy per radius; without radii the distance, since a share would have no ball to speak about."""
    if summary and summary[0]["eps"] is None:
        return f"median distance {distance_text(summary[0])}"
    return "robust " + ", ".join(_share(row) for row in summary)


def _share(row: Mapping[str, Json]) -> str:
    robust = row["robust_accuracy"]
    return f"{row['eps']}: {100 * robust:.1f} %" if isinstance(robust, float) else f"{row['eps']}: no samples"

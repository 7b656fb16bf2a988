"""What a run says while it works: one line per cell, the failures again at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from advbench.bench.export import printable
from advbench.bench.run_cell import Finished
from advbench.types import Json


def ended_line(cell: Finished) -> str:
    """ "done    small_cnn / none / pgd / linf   robust 0.1: 93.4 %, 0.2: 10.0 %   4.1 s"."""
    if cell.status == "failed":
        return f"failed  {name_of(cell.labels)}   {printable(cell.error)}   (log: {cell.folder})"
    nearest = bool(cell.summary) and cell.summary[0]["eps"] is None
    audits = "".join(f"\n        {_audited(row)}" for row in cell.summary if row.get("audit"))
    name = name_of(cell.labels, nearest=nearest)
    return f"{cell.status:7} {name}   {_shares(cell.summary)}   {cell.seconds:.1f} s{audits}"


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


def _shares(summary: Sequence[Mapping[str, Json]]) -> str:
    """Robust accuracy per radius; without radii the distance, since a share would have no ball to speak about."""
    if summary and summary[0]["eps"] is None:
        distance = summary[0]["median_distance"]
        return f"median distance {distance:.4g}" if isinstance(distance, float) else "most samples held at any distance"
    return "robust " + ", ".join(_share(row) for row in summary)


def _audited(row: Mapping[str, Json]) -> str:
    return str(row["audit"]) if row["eps"] is None else f"eps {row['eps']}: {row['audit']}"


def _share(row: Mapping[str, Json]) -> str:
    robust = row["robust_accuracy"]
    return f"{row['eps']}: {100 * robust:.1f} %" if isinstance(robust, float) else f"{row['eps']}: no samples"

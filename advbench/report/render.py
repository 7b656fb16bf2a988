"""The page: stored matrices in, one self-contained HTML file out. Same results, same bytes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from advbench.core.call_checks import check_value
from advbench.diagnostics.likeness import SHARE
from advbench.report import figures, records, tables, text
from advbench.report.budgets import Budgets, budgets
from advbench.report.class_paths import ClassPath, class_paths
from advbench.report.explanations import Explanations, explanations
from advbench.report.findings import Finding, findings
from advbench.report.gallery import RULE, Galleries, galleries
from advbench.report.heat_maps import LEVELS, HeatMap, are_tall, heat_maps
from advbench.report.net_pictures import NetPictures, net_pictures
from advbench.report.pairs import Pairs, pairs
from advbench.report.panel import Panel, Subject, panels
from advbench.report.pictures import FACTOR
from advbench.report.plots import Key, Plot, has_many, legend, plots
from advbench.report.stored import StoredMatrix, read_matrix
from advbench.report.transfers import TransferRow, transfer_rows
from advbench.store import check_room, write_text
from advbench.types import ConfigError, norm_name

SOFT_CAP = 10_000_000  # characters that a page should stay under; the gallery gets what the rest leaves
GALLERY_LEAST = 500_000
OPEN_FINDINGS = 8  # warnings shown at once; the others are folded
CLASS_TABLES = 6  # models whose classes are listed openly; the others are folded
CONTENTS = (
    ("leaderboard", "Leaderboard"),
    ("matrix", "Models against attacks"),
    ("pairs", "Paired tests"),
    ("curves", "Over eps"),
    ("budgets", "Against budget"),
    ("classes", "Classes"),
    ("gallery", "Gallery"),
    ("explanations", "Explanations"),
    ("net-pictures", "Plain and robust nets"),
    ("trajectories", "Trajectories"),
    ("controls", "Controls"),
    ("transfer", "Transfer"),
    ("cost", "Cost"),
    ("missing", "Missing cells"),
    ("provenance", "Provenance"),
)
HERE = Path(__file__).parent


@dataclass(frozen=True, eq=False)
class Threat:
    """A panel with everything the page shows about it."""

    panel: Panel
    maps: list[HeatMap]
    pairs: Pairs
    legend: list[Key]
    many: bool
    plots: list[Plot]
    budgets: Budgets
    controls: list[tables.ControlRow]
    transfers: list[TransferRow]


@dataclass(frozen=True, eq=False)
class Part:
    """One matrix with everything the page shows about it; `prefix` keeps element ids apart."""

    prefix: str
    matrix: StoredMatrix
    setting: str
    gap_counts: str
    unfinished: dict[str, int]
    findings: list[Finding]
    threats: list[Threat]
    tall: bool  # heat maps with the attacks below each other
    leaders: list[tables.Leader]
    classes: list[tuple[Subject, list[tables.ClassRow]]]
    galleries: Galleries
    explanations: Explanations
    net_pictures: NetPictures
    trajectories: list[tuple[str, list[ClassPath]]]  # by cell key
    costs: list[records.CostRow]
    parameters: list[tuple[str, str, str, str]]
    provenance: list[tuple[str, str]]
    anchored: set[str]  # keys of the cells whose link target stands in this part, once per page


def report(results: Path | str | Sequence[Path | str], out: Path | str | None = None) -> Path:
    """Write the page about the matrices stored in the folders `results` (or the one folder) to `out`; returns its path.

    out: reports/<first folder's name>.html if not given. A folder is that of a matrix, or holds a single one. Raises
    ConfigError if no folder is given, one of them holds no matrix or several, or `out` cannot be written.
    """
    check_value("results", results, Path | list[Path])
    check_value("out", out, Path | None)
    folders = [Path(results)] if isinstance(results, str | Path) else [Path(one) for one in results]
    if not folders:
        raise ConfigError("report needs at least one folder with results")
    out = Path("reports") / f"{folders[0].resolve().name}.html" if out is None else Path(out)
    check_room(out.parent)
    matrices = [read_matrix(folder) for folder in folders]
    seen: set[str] = set()
    parts = []
    for number, matrix in enumerate(matrices, 1):
        keys = {entry.id.key for entry in matrix.entries} - seen
        prefix = f"m{number}-" if len(matrices) > 1 else ""
        parts.append(_part(matrix, prefix, keys))
        seen |= keys
    left = max(GALLERY_LEAST, SOFT_CAP - len(_page(parts, out.stem))) // len(parts)
    whole = [replace(part, galleries=galleries(part.matrix.cells, left)) for part in parts]
    write_text(out, _page(whole, out.stem))
    return out


def _part(matrix: StoredMatrix, prefix: str, anchored: set[str]) -> Part:
    views = panels(matrix)
    leaders = tables.leaderboard(views)
    order = [leader.subject for leader in leaders]
    paths: dict[str, list[ClassPath]] = {}
    for path in class_paths(matrix.cells):
        paths.setdefault(path.id.key, []).append(path)
    return Part(
        prefix=prefix,
        matrix=matrix,
        setting=records.setting(matrix, views),
        gap_counts=records.gap_counts(matrix),
        unfinished=records.unfinished(matrix),
        findings=findings(matrix, views),
        threats=[_threat(view, order) for view in views],
        tall=are_tall(views),
        leaders=leaders,
        classes=[(s, rows) for s in order if (rows := tables.class_rows(views, s))],
        galleries=Galleries((), ""),
        explanations=explanations(views, order),
        net_pictures=net_pictures(matrix),
        trajectories=list(paths.items()),
        costs=records.cost_rows(matrix),
        parameters=records.parameter_rows(matrix),
        provenance=records.provenance_rows(matrix),
        anchored=anchored,
    )


def _threat(panel: Panel, order: list[Subject]) -> Threat:
    return Threat(
        panel=panel,
        maps=heat_maps(panel, order),
        pairs=pairs(panel, order),
        legend=legend(panel),
        many=has_many(panel),
        plots=plots(panel, order),
        budgets=budgets(panel, order),
        controls=tables.control_rows(panel, order),
        transfers=transfer_rows(panel, order),
    )


def _page(parts: Sequence[Part], name: str) -> str:
    environment = Environment(
        loader=PackageLoader("advbench.report", "."),
        autoescape=True,  # by value: the extension .j2 would switch it off
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=text.percent,
        interval=text.interval,
        bounds=text.bounds,
        points=text.points,
        number=text.number,
        whisker=figures.whisker,
        norm_name=norm_name,
        heading=_heading,
    )
    style, script = ((HERE / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    style += _scale()
    page = environment.get_template("report.html.j2").render(
        parts=parts,
        name_of_page=name,
        contents=CONTENTS,
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        rule=RULE,
        factor=FACTOR,
        explained_share=SHARE,
        class_tables=CLASS_TABLES,
        open_findings=OPEN_FINDINGS,
        threat_text=records.threat_text,
        skip_text=records.skip_text,
    )
    return page + "\n"


def _heading(panel: Panel) -> str:
    """What the leaderboard says about a threat."""
    return f"Robust, {panel.name} eps {panel.radii[-1]}" if panel.grid else f"Median distance, {panel.name}"


def _finalize(value: object) -> object:
    """Every name that reaches the page goes through here; markup made by the template itself is left alone."""
    return text.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _hash(content: str) -> str:
    """The source expression of a Content-Security-Policy that allows exactly this style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _scale() -> str:
    """A CSS class per step of the colour scale; the text on it is black or white, whichever can be read better."""
    rules = []
    for step, (red, green, blue) in enumerate(figures.colour_scale(LEVELS + 1)):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        ink = "#000" if luminance > 0.179 else "#fff"  # equal contrast with both at 0.179 (WCAG 2)
        colour = "".join(f"{round(255 * c):02x}" for c in (red, green, blue))
        rules.append(f".v{step}{{background:#{colour};color:{ink}}}")
    return "\n".join(rules) + "\n"

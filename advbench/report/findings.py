"""What a reader should be wary of: signs, found in the stored rows alone, that a number flatters its model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from advbench.metrics.audit import audit
from advbench.metrics.blind import ADVICE, Blind, blind
from advbench.metrics.invalid import invalid
from advbench.metrics.robust import applicable
from advbench.metrics.unstarted import unstarted
from advbench.report.masking import black_box_ahead, flat_curves, single_step_ahead
from advbench.report.panel import Panel, Subject
from advbench.report.stored import StoredCell, StoredMatrix
from advbench.report.text import listing, method_text, percent
from advbench.types import Radius, norm_name

LEAST_BOUND = 0.01  # what a rule may have cost at most is worth a sentence from here on


@dataclass(frozen=True)
class Finding:
    """One sentence about a model under a threat; link: first 8 digits of the key of the cell that shows it."""

    subject: Subject
    threat: str
    sentence: str
    link: str


def findings(matrix: StoredMatrix, panels: Sequence[Panel]) -> list[Finding]:
    """Everything that was found, the gravest kind first."""
    of_cells = (_invalid, _blind, _unstarted, _audited)
    by_cell = [[_found(cell, text) for cell in matrix.cells for text in rule(cell)] for rule in of_cells]
    rules = (own_substitutes, single_step_ahead, black_box_ahead, flat_curves, control_ahead)
    places = [(panel, subject) for panel in panels if panel.grid for subject in panel.subjects]
    by_panel = [_found(cell, text) for rule in rules for place in places for cell, text in rule(*place)]
    *grave, light = by_cell
    return [*(found for each in grave for found in each), *by_panel, *light]


def _found(cell: StoredCell, sentence: str) -> Finding:
    return Finding(cell.id.subject, norm_name(cell.id.norm), sentence, cell.id.short)


def _invalid(cell: StoredCell) -> Iterator[str]:
    found = invalid(cell.rows, cell.id.norm)
    if found is not None:
        by = f" by up to {found.excess:.2g}" if found.excess > 0 else ""
        yield (
            f"{found.invalid:,} of {found.n:,} results of {method_text(cell.id.method)} are invalid and count as held: "
            f"{found.ball:,} lie outside the ball{by}, {found.box:,} outside the box."
        )


def _blind(cell: StoredCell) -> Iterator[str]:
    """At the radius where most samples held without ever getting a gradient; the largest of several such."""
    found: list[tuple[Blind, str]] = [
        (verdict, at) for at, rows in _by_radius(cell) if (verdict := blind(applicable(rows)))
    ]
    if found:
        verdict, at = max(reversed(found), key=lambda each: each[0].blind)
        yield f"{method_text(cell.id.method)}{at}: {verdict}. {ADVICE}."


def _unstarted(cell: StoredCell) -> Iterator[str]:
    found = [(verdict, at) for at, rows in _by_radius(cell) if (verdict := unstarted(applicable(rows)))]
    if found:
        verdict, at = max(found, key=lambda each: each[0].unstarted)
        yield f"{method_text(cell.id.method)}{at}: {verdict}."


def _audited(cell: StoredCell) -> Iterator[str]:
    found = [(verdict, at) for at, rows in _by_radius(cell) if (verdict := audit(applicable(rows)))]
    if not found:
        return
    worst, at = max(found, key=lambda each: each[0].bound)
    fell = any(verdict.overturned for verdict, _ in found)
    if worst.decided and (fell or worst.bound >= LEAST_BOUND):
        yield (
            f"{method_text(cell.id.method)} stopped early on {worst.decided:,} of {worst.n:,} samples{at} and counts "
            f"them as held; of {worst.audited:,} more that were attacked to the end all the same {worst.overturned:,} "
            f"fell, so its robust accuracy is at most {percent(worst.bound)} points too high (95 %)."
        )


def _by_radius(cell: StoredCell) -> Iterator[tuple[str, pd.DataFrame]]:
    if cell.id.radii is None:
        yield "", cell.rows
    for radius in cell.id.radii or ():
        yield f" at eps {radius}", cell.rows[_is(cell.rows["eps"], radius)]


def _is(column: pd.Series[float], radius: Radius) -> pd.Series[bool]:
    return (column - float(radius)).abs() <= 1e-9 * (1 + float(radius))


def own_substitutes(panel: Panel, subject: Subject) -> Iterator[tuple[StoredCell, str]]:
    """Transfers from the attacked network itself, alone or among others."""
    cells = [cell for cell in panel.of(subject, "attack") if _lends_its_weights(cell)]
    if not cells:
        return
    names = listing([method_text(cell.id.method) for cell in cells])
    they = f"{names} are no black-box attacks" if len(cells) > 1 else f"{names} is no black-box attack"
    yield cells[0], f"{they} here: a substitute has the attacked model's own weights, so nothing is transferred."


def _lends_its_weights(cell: StoredCell) -> bool:
    """Is a substitute the attacked model, by the key of its training or by the hash of its file?"""
    substitute = cell.params.get("substitute")
    if not (isinstance(substitute, dict) and cell.model):
        return False
    ensemble = substitute.get("ensemble")
    members = [each for each in (ensemble if isinstance(ensemble, list) else [substitute]) if isinstance(each, dict)]
    return any(each.get("key") == cell.model.get("weights") or each.get("model") == cell.model for each in members)


def control_ahead(panel: Panel, subject: Subject) -> Iterator[tuple[StoredCell, str]]:
    """The control that breaks at least as many samples as all attacks together, at the radius where it is clearest."""
    controls = panel.of(subject, "control")
    attacks = [cell for cell in panel.of(subject, "attack") if not (cell.info and cell.info.keeps_label)]
    if not (controls and attacks):
        return
    correct = controls[0].rows.groupby("sample_id")["clean_correct"].first()
    counts = []
    for cell, (k, eps) in ((cell, at) for cell in controls for at in enumerate(panel.grid)):
        by_control, by_attacks = (
            int((correct & ~held[eps]).sum()) for held in (panel.held[cell.id.key], panel.worst[subject])
        )
        if by_control and by_control >= by_attacks:
            counts.append((by_control - by_attacks, by_control, by_attacks, k, cell))
    if not counts:
        return
    _, by_control, by_attacks, k, cell = max(counts, key=lambda each: each[:2])
    every = f"the worst case over {len(attacks)} attacks" if len(attacks) > 1 else method_text(attacks[0].id.method)
    yield (
        cell,
        f"at eps {panel.radii[k]} the control {method_text(cell.id.method)} breaks {by_control:,} of "
        f"{int(correct.sum()):,} correctly classified samples and {every} {by_attacks:,}: the attacks are too weak, or "
        "the radius is so large that direction does not matter.",
    )

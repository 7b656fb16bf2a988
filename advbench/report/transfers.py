"""Examples made on a substitute: what is known of it, and how often the victim errs on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from advbench.metrics.rates import Rate
from advbench.metrics.robust import clean_accuracy
from advbench.report.panel import Panel, Subject
from advbench.report.stored import Identity
from advbench.report.text import value_text

FACTS = {"agreement": "agreement with the model", "queries": "queries to the model"}


@dataclass(frozen=True)
class TransferRow:
    """One cell: facts about its substitute (name, agreement with the victim, queries), and the victim's errors."""

    id: Identity
    facts: dict[str, str]
    clean: Rate  # share of errors without attack
    errors: tuple[Rate, ...]  # one per radius, clean errors counted


def transfer_rows(panel: Panel, order: Sequence[Subject]) -> list[TransferRow]:
    """The cells of the threat whose examples come from a substitute, by subject in the order given."""
    return [
        TransferRow(
            cell.id,
            {FACTS.get(name, name): _shown(name, value) for name, value in cell.transfer.items()},
            _errors(clean_accuracy(cell.rows)),
            tuple(map(_errors, panel.curves[cell.id.key].values())),
        )
        for subject in order
        for cell in panel.cells
        if cell.id.subject == subject and cell.transfer
    ]


def _errors(held: Rate) -> Rate:
    return Rate(1 - held.value, 1 - held.high, 1 - held.low, held.n)


def _shown(name: str, value: object) -> str:
    if "agreement" in name and isinstance(value, float):
        return f"{100 * value:.1f} %"
    return value_text(value)

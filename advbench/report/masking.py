"""Signs of gradients that lead nowhere: an attack that should be weaker is ahead, or a curve does not fall.

The signs are those of Athalye et al. 2018, arXiv:1802.00420, section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from advbench.metrics.rates import Rate
from advbench.report.panel import Panel, Subject
from advbench.report.stored import StoredCell
from advbench.report.text import method_text, percent

SINGLE_STEP = ("fgsm", "rfgsm")
ITERATIVE = ("apgd", "apgd_t", "bim", "mi_fgsm", "pgd")
SEES = {"scores": "only the scores", "decision": "only the decisions", "none": "nothing of the model"}
GAP = 0.1  # a flat curve this far above chance and above another attack is a sign
LEAST_SHARE, LEAST_SAMPLES = 0.01, 2  # an attack is ahead from here on; one sample may be luck

Sign = tuple[StoredCell, str]  # the cell that shows it, and the sentence


@dataclass(frozen=True, eq=False)
class Lead:
    """The strongest of one group of attacks beside the strongest of another, at one radius."""

    panel: Panel
    place: int  # of the radius in the grid
    front: StoredCell
    rest: StoredCell

    @property
    def by(self) -> int:
        """How many samples more the front breaks."""
        return round(self.rate(self.rest).n * (self.rate(self.rest).value - self.rate(self.front).value))

    @property
    def matters(self) -> bool:
        return self.by >= max(LEAST_SAMPLES, LEAST_SHARE * self.rate(self.front).n)

    def rate(self, cell: StoredCell) -> Rate:
        return _curve(self.panel, cell)[self.place]

    def shown(self, cell: StoredCell) -> str:
        return f"{percent(self.rate(cell).value)} %"


def single_step_ahead(panel: Panel, subject: Subject) -> Iterator[Sign]:
    """A single step that breaks more than many steps do, at the radius and against the attack where it is clearest."""
    cells = _untargeted(panel, subject)
    single, iterative = ([cell for cell in cells if cell.attack in names] for names in (SINGLE_STEP, ITERATIVE))
    leads = [_lead(panel, single, [cell]) for cell in iterative if single]
    lead = max(leads, key=lambda lead: lead.by, default=None)
    if lead and lead.matters:
        yield (
            lead.front,
            f"at eps {panel.radii[lead.place]} {_who(lead.front)}, a single step, leaves {lead.shown(lead.front)} and "
            f"{_who(lead.rest)}, many steps, leaves {lead.shown(lead.rest)}: the gradients may be masked.",
        )


def black_box_ahead(panel: Panel, subject: Subject) -> Iterator[Sign]:
    """A black-box attack that breaks more than every attack that follows gradients for more than one step."""
    cells = _untargeted(panel, subject)
    white = [cell for cell in cells if _through_the_ball(cell) and cell.attack not in SINGLE_STEP]
    black = [cell for cell in cells if _access(cell) in SEES]
    lead = _lead(panel, black, white) if black and white else None
    if lead and lead.matters:
        yield (
            lead.front,
            f"at eps {panel.radii[lead.place]} {_who(lead.front)}, which sees {SEES[_access(lead.front)]}, leaves "
            f"{lead.shown(lead.front)} and {_who(lead.rest)}, the strongest with gradients, leaves "
            f"{lead.shown(lead.rest)}: the gradients may be masked.",
        )


def flat_curves(panel: Panel, subject: Subject) -> Iterator[Sign]:
    """Attacks with gradients to which the largest radius is of no use, although another attack breaks much more."""
    if len(panel.grid) < 2:
        return
    strongest = min(panel.of(subject, "attack"), key=lambda cell: _curve(panel, cell)[-1].value, default=None)
    for cell in _untargeted(panel, subject):
        if strongest is None or not _through_the_ball(cell):
            continue
        before, last = (rate.value for rate in _curve(panel, cell)[-2:])
        other = _curve(panel, strongest)[-1].value
        if last >= before and last > GAP + max(other, 1 / max(1, len(cell.classes))):
            yield (
                cell,
                f"{_who(cell)} leaves {percent(before)} % at eps {panel.radii[-2]} and {percent(last)} % at eps "
                f"{panel.radii[-1]}, where {_who(strongest)} leaves {percent(other)} %: a curve so flat says that the "
                "gradients may vanish.",
            )


def _lead(panel: Panel, front: Sequence[StoredCell], rest: Sequence[StoredCell]) -> Lead:
    """The radius at which the strongest of `front` is furthest ahead of the strongest of `rest`."""
    leads = []
    for place in range(len(panel.grid)):
        strongest = [min(group, key=lambda cell: _curve(panel, cell)[place].value) for group in (front, rest)]
        leads.append(Lead(panel, place, *strongest))
    return max(leads, key=lambda lead: lead.by)


def _curve(panel: Panel, cell: StoredCell) -> list[Rate]:
    return list(panel.curves[cell.id.key].values())


def _untargeted(panel: Panel, subject: Subject) -> list[StoredCell]:
    return [cell for cell in panel.of(subject, "attack") if cell.id.goal == "untargeted"]


def _through_the_ball(cell: StoredCell) -> bool:
    """Does it follow gradients, heed the radius, and look for any perturbation of each sample alone?"""
    info = cell.info
    if info is None or info.access != "gradient":
        return False
    return not (info.unbounded or info.structured or info.together or info.keeps_label)


def _access(cell: StoredCell) -> str:
    return cell.info.access if cell.info else ""


def _who(cell: StoredCell) -> str:
    return method_text(cell.id.method)

"""Numbers below a map: does it rank the pixels that the score hangs on, does it add up, does it know the weights?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from advbench.bench.explanation import MAP, RANDOM_WEIGHTS, Method, Panel, Question, maps_of
from advbench.core.draws import Draws
from advbench.core.targets import Explained
from advbench.metrics.completeness import completeness
from advbench.metrics.deletion import deletion
from advbench.metrics.insertion import insertion
from advbench.metrics.map_similarity import rank_correlation
from advbench.metrics.randomisation import THRESHOLD, randomisation

# What the notes mean, for a caption.
LEGEND = (
    "del., ins.: areas under the deletion and the insertion curve (low and high are good; 1 is the score of the image, "
    "0 of the hidden one; a class by its probability). sum off: what the map misses of the change of the score from "
    "the baseline. forgets: mean rank correlation with the map while the layers are randomised from the top; above "
    f"{THRESHOLD:g} the method fails. likeness: rank correlation with the map."
)
STAGES = 4  # in which the layers forget, for the badge: each costs as much as the maps themselves


def measured(question: Question, panels: Sequence[Panel], tell: Callable[[str], None] = lambda _: None) -> list[Panel]:
    """The panels with notes; `tell` hears what is being worked on.

    On a map and on its shuffled control: the areas of deletion (low is good) and insertion (high is good) on the net
    that was explained, pixels in falling order of the map, channels summed. On a map: by how much it misses the change
    of the score from the baseline, for methods that promise to add up to it; and the badge of weight randomisation with
    its rank correlation, one for all images of a method. On random weights: the rank correlation with the map.
    """
    badges = {number: _badge(question, number, tell) for number in {panel.method for panel in panels}}
    groups: dict[tuple[int, int, str], list[Panel]] = {}
    for panel in panels:
        groups.setdefault((panel.method, panel.asked, panel.control), []).append(panel)
    notes: dict[int, tuple[str, ...]] = {}
    for (method, asked, control), members in groups.items():
        tell(f"{question.methods[method].entry.name}: faithfulness of {control or 'the map'}")
        if control == RANDOM_WEIGHTS:
            notes |= _likeness(members, groups[method, asked, MAP])
            continue
        for places, score in question.asked[asked].explained([panel.sample for panel in members]):
            notes |= _faithfulness(question, [members[place] for place in places], score)
        if control == MAP:
            notes |= {id(panel): (*notes[id(panel)], badges[method]) for panel in members}
    return [replace(panel, notes=notes[id(panel)]) for panel in panels]


def _badge(question: Question, number: int, tell: Callable[[str], None]) -> str:
    method = question.methods[number]
    tell(f"{method.entry.name}: the layers forget")

    def maps(net: nn.Module) -> Tensor:
        return torch.stack(maps_of(question, method, net, question.asked[0]))

    cascade = randomisation(question.nets[method.net], question.x, maps, seed=question.seed, stages=STAGES)
    return f"forgets: {cascade.badge} {cascade.score:.2f}"


def _likeness(members: Sequence[Panel], maps: Sequence[Panel]) -> dict[int, tuple[str, ...]]:
    """Notes of the panels on random weights."""
    own = {panel.sample: panel for panel in maps}
    first = torch.stack([_strength(panel) for panel in members])
    second = torch.stack([_strength(own[panel.sample]) for panel in members])
    values = rank_correlation(first, second).tolist()
    return {id(panel): (f"likeness {value:.2f}",) for panel, value in zip(members, values, strict=True)}


def _strength(panel: Panel) -> Tensor:
    return panel.heat.sum(0, keepdim=True).abs()


def _faithfulness(question: Question, members: Sequence[Panel], score: Explained) -> dict[int, tuple[str, ...]]:
    """Notes of panels of one method and one kind, about samples that share a score."""
    method = question.methods[members[0].method]
    net, rows = question.nets[method.net], torch.tensor([panel.sample for panel in members])
    x, heat = question.x[rows], torch.stack([panel.heat for panel in members])
    draws = Draws(question.seed, rows)
    gone = deletion(net, x, score, heat, draws=draws, normalise=True).area.tolist()
    come = insertion(net, x, score, heat, draws=draws, normalise=True).area.tolist()
    notes: list[tuple[str, ...]] = [(f"del. {low:.2f} ins. {high:.2f}",) for low, high in zip(gone, come, strict=True)]
    origin = _baseline(method)
    if origin is not None and members[0].control == MAP:
        gaps = completeness(net, x, score, heat, torch.tensor(origin)).relative.tolist()
        notes = [(*note, f"sum off {gap:.1%}") for note, gap in zip(notes, gaps, strict=True)]
    return {id(panel): note for panel, note in zip(members, notes, strict=True)}


def _baseline(method: Method) -> float | None:
    """The pixel value from which the method's maps promise to add up; None if they do not, or from something else."""
    own = method.entry.parameters().get("baseline")
    value = method.params.get("baseline", own.default if own else None)
    return float(value) if method.entry.info.complete and isinstance(value, int | float) else None

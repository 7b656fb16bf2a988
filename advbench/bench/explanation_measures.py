"""Numbers below a map: does it rank the pixels that the score hangs on, does it add up, does it know the weights?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from advbench.bench.asked_scores import Asked
from advbench.bench.explanation import MAP, RANDOM_WEIGHTS, Method, Panel, Question, maps_of
from advbench.core.draws import Draws
from advbench.core.gradients import logits_at
from advbench.core.targets import Explained
from advbench.metrics.completeness import completeness
from advbench.metrics.deletion import deletion
from advbench.metrics.energy_pointing_game import energy_pointing_game
from advbench.metrics.insertion import insertion
from advbench.metrics.map_similarity import rank_correlation, varies
from advbench.metrics.pixel_strength import pixel_strength
from advbench.metrics.pointing_game import pointing_game
from advbench.metrics.random_logit import random_logit
from advbench.metrics.randomisation import THRESHOLD, randomisation
from advbench.metrics.road import road

# What the notes mean, for a caption: of each that holds the word, the sentence.
LEGEND = {
    "del.": "del., ins.: areas under the deletion and the insertion curve (low and high are good; 1 is the score of "
    "the image, 0 of the hidden one; a class by its probability).",
    "sum off": "sum off: what the map misses of the change of the score from the baseline.",
    "road": "road: by how much the score is higher without the least important pixels than without the most important "
    "ones, gaps continued from their surroundings (0: no better than chance).",
    "on object": "On object: 1 if the peak of the map is at most 15 of 224 pixels away from it; energy: the share of "
    "the map's positive values that lies on it.",
    "forgets": "forgets: mean rank correlation with the map while the layers are randomised from the top; above "
    f"{THRESHOLD:g} the method fails.",
    "other class": "other class: mean rank correlation with the maps of a random other class; near 1 a map does not "
    "tell classes apart.",
    "likeness": "likeness: rank correlation with the map.",
    "blank": "blank: the map is level, so it has no order of pixels to measure, and no mean counts it.",
}
_NEAR = 15 / 224  # of the longer side: the pointing game's tolerance, 15 pixels in the paper
STAGES = 4  # in which the layers forget, for the badge: each costs as much as the maps themselves


def measured(question: Question, panels: Sequence[Panel], tell: Callable[[str], None] = lambda _: None) -> list[Panel]:
    """The panels with notes; `tell` hears what is being worked on.

    On a map and on its shuffled control: the areas of deletion (low is good) and insertion (high is good) and the gap
    of ROAD (large is good) on the net that was explained, pixels in falling order of `pixel_strength`. On a map: by how
    much it misses the change of the score from the baseline, for methods that promise to add up to it. `of_method`, one
    for all images: the badge of weight randomisation with its rank correlation, and that with the maps of other
    classes, where classes were asked for. Where the objects are known: the pointing game and its energy-based
    kin. On random weights: the rank correlation with the map. A map that is level is called blank instead.
    """
    badges = {
        number: (_badge(question, number, tell), *_other_class(question, number, tell))
        for number in {panel.method for panel in panels}
    }
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
    about = {MAP: badges}  # a control is another map: what was measured of the method does not hold for it
    return [
        replace(panel, notes=notes[id(panel)], of_method=about.get(panel.control, {}).get(panel.method, ()))
        for panel in panels
    ]


def _badge(question: Question, number: int, tell: Callable[[str], None]) -> str:
    method = question.methods[number]
    tell(f"{method.entry.name}: the layers forget")

    def maps(net: nn.Module) -> Tensor:
        return torch.stack(maps_of(question, method, net, question.asked[0]))

    cascade = randomisation(question.nets[method.net], question.x, maps, seed=question.seed, stages=STAGES)
    if cascade.badge == "blank":
        return "forgets: all maps blank"
    return f"forgets: {cascade.badge} {cascade.score:.2f}" + (f" ({cascade.blank} blank)" if cascade.blank else "")


def _other_class(question: Question, number: int, tell: Callable[[str], None]) -> tuple[str, ...]:
    """Nothing where something else than classes was asked for."""
    method, rows = question.methods[number], torch.arange(len(question.x))
    net, (_, score) = question.nets[method.net], question.asked[0].explained(rows.tolist())[0]
    classes = logits_at(net, question.x[:1], rows[:1]).shape[1]
    if not isinstance(score, Tensor) or classes < 2:
        return ()
    tell(f"{method.entry.name}: maps of another class")

    def maps(y: Tensor) -> Tensor:
        texts = tuple(f"class:{kind}" for kind in y.tolist())
        return torch.stack(maps_of(question, method, net, Asked(texts, texts)))

    alike = random_logit(maps, score, classes, draws=Draws(question.seed, rows)).score
    return ("other class: silent" if math.isnan(alike) else f"other class: {alike:.2f}",)


def _likeness(members: Sequence[Panel], maps: Sequence[Panel]) -> dict[int, tuple[str, ...]]:
    """Notes of the panels on random weights."""
    own = {panel.sample: panel for panel in maps}
    # As in weight randomisation, whatever the sign: it flips at random in a network that has forgotten.
    first = torch.stack([panel.heat.abs().sum(0, keepdim=True) for panel in members])
    second = torch.stack([own[panel.sample].heat.abs().sum(0, keepdim=True) for panel in members])
    values = rank_correlation(first, second).tolist()
    told = ["likeness: blank" if math.isnan(value) else f"likeness {value:.2f}" for value in values]
    return {id(panel): (note,) for panel, note in zip(members, told, strict=True)}


def _faithfulness(question: Question, members: Sequence[Panel], score: Explained) -> dict[int, tuple[str, ...]]:
    """Notes of panels of one method and one kind, about samples that share a score."""
    method = question.methods[members[0].method]
    net, rows = question.nets[method.net], torch.tensor([panel.sample for panel in members])
    x, heat = question.x[rows], torch.stack([panel.heat for panel in members])
    draws, strength = Draws(question.seed, rows), pixel_strength(heat)
    gone = deletion(net, x, score, strength, draws=draws, normalise=True).area.tolist()
    come = insertion(net, x, score, strength, draws=draws, normalise=True).area.tolist()
    apart = road(net, x, score, strength, draws=draws).gap.tolist()
    notes: list[tuple[str, ...]] = [
        (f"del. {low:.2f} ins. {high:.2f}", f"road {gap:.2f}") for low, high, gap in zip(gone, come, apart, strict=True)
    ]
    if question.objects is not None:
        notes = [(*note, told) for note, told in zip(notes, _pointing(strength, question.objects[rows]), strict=True)]
    notes = [note if told else ("blank",) for note, told in zip(notes, varies(strength).tolist(), strict=True)]
    origin = _baseline(method)
    if origin is not None and members[0].control == MAP:
        gaps = completeness(net, x, score, heat, torch.tensor(origin)).relative.tolist()
        notes = [(*note, f"sum off {gap:.1%}") for note, gap in zip(notes, gaps, strict=True)]
    return {id(panel): note for panel, note in zip(members, notes, strict=True)}


def _pointing(heat: Tensor, objects: Tensor) -> list[str]:
    hits = pointing_game(heat, objects, tolerance=round(_NEAR * max(heat.shape[2:]))).tolist()
    shares = energy_pointing_game(heat, objects).tolist()
    return [f"on object: {hit:.2g} energy {share:.2f}" for hit, share in zip(hits, shares, strict=True)]


def _baseline(method: Method) -> float | None:
    """The pixel value from which the method's maps promise to add up; None if they do not, or from something else."""
    own = method.entry.parameters().get("baseline")
    value = method.params.get("baseline", own.default if own else None)
    return float(value) if method.entry.info.complete and isinstance(value, int | float) else None

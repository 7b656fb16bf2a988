"""Maps of several methods, scores and samples side by side: which tiles, on which scale, under which caption."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from advbench.bench.explanation import MAP, RANDOM_WEIGHTS, Panel, Question
from advbench.bench.explanation_measures import LEGEND
from advbench.report.heat_sheet import HeatSheet, Tile
from advbench.report.map_drawing import (
    PERCENTILE,
    Array,
    Scale,
    coloured,
    flat,
    is_smooth,
    overlaid,
    painted,
    photograph,
    scale_of,
    whereabouts,
)

Drawn = Literal["auto", "map", "overlay", "both", "colour"]
Shared = Literal["image", "all", "none"]

# Pictures rather than maps: their authors show them in colour.
_IN_COLOUR = {"guided_backprop": "colour", "deconvnet": "colour", "guided_grad_cam": "colour"}
_TOLD = {
    "image": "shared by the panels of one method and kind of score on one image",
    "all": "shared by all panels of one method and kind of score",
    "none": "each panel its own",
}
_KINDS = {
    "map": "the map alone",
    "overlay": "the map over the grey image, the more opaque the stronger the evidence",
    "colour": "a picture in which grey is 0, on a scale of its own",
}


@dataclass(frozen=True, eq=False)
class Looks:
    """How to draw: as a map, over the image, both, or (three channels) as a picture with 0 in grey.

    auto: over the image where the map is a coarse one made large, as a picture for guided backprop and its kin, else
    as a map. shared: which panels of a method have one scale. columns: the most tiles in a line.
    width: of the figure, at most, in inches.
    """

    drawn: Drawn = "auto"
    shared: Shared = "image"
    columns: int = 6
    width: float = 7.2


@dataclass(frozen=True, eq=False)
class Words:
    """What the figure says: for each image its title, the text over it and the class that is seen in it; the names of
    the nets; facts for the file."""

    titles: Sequence[str]
    images: Sequence[str]
    seen: Sequence[str]
    nets: Sequence[str]
    facts: Mapping[str, str]


def comparison_sheet(question: Question, panels: Sequence[Panel], words: Words, looks: Looks) -> HeatSheet:
    """The figure of the panels: a block per image if there is one method or one score, else per image and score."""
    maps = {id(panel): flat(panel.heat.numpy()) for panel in panels}
    kinds = [_kinds(question, number, panels, maps, looks.drawn) for number in range(len(question.methods))]
    scales = _scales(question, panels, maps, looks.shared)
    by_score = len(question.methods) > 1
    blocks, told = [], []
    groups = [(n, [k]) for n in range(len(question.x)) for k in range(len(question.asked))]
    if not by_score:
        groups = [(n, list(range(len(question.asked)))) for n in range(len(question.x))]
    for sample, columns in groups:
        of_block = [panel for panel in panels if panel.sample == sample and panel.asked in columns]
        score = question.asked[columns[0]].labels[sample]
        other = len(columns) == 1 and score != words.seen[sample]
        head = words.images[sample] + (f"\nexplained: {score}" if other else "")
        image = question.x[sample].cpu().numpy()
        block = [Tile(photograph(image), head)]
        told.append(f"Image {sample + 1}, {words.titles[sample]}: {head}.".replace("\n", "; "))
        for panel in sorted(of_block, key=lambda panel: (panel.method, panel.asked)):
            title = _title(question, panel, by_score=by_score)
            made = _tiles(panel, image, maps[id(panel)], scales[id(panel)], kinds=kinds[panel.method], title=title)
            group = panel.method * len(question.asked) + panel.asked  # a map with its controls
            block += [replace(tile, group=group) for tile in made]
            where = whereabouts(maps[id(panel)]) if panel.control == MAP else "control"
            once = panel.of_method if panel.sample == groups[0][0] and panel.asked in groups[0][1] else ()
            numbers = "".join(f"; {note}" for note in (*panel.notes, *once))
            told.append(f"{title}: {where}{numbers}.".replace("\n", ", "))
        blocks.append(block)
    notes = " ".join(note for panel in panels for note in (*panel.notes, *panel.of_method))
    caption = _caption(question, words, kinds, shared=looks.shared, notes=notes)
    return HeatSheet(blocks, caption, f"{caption} {' '.join(told)}", looks.columns, words.facts, looks.width)


def _kinds(
    question: Question, number: int, panels: Sequence[Panel], maps: Mapping[int, Array], drawn: Drawn
) -> tuple[str, ...]:
    """How the maps of one method are drawn: "map", "overlay", "colour", or two of them."""
    own = [panel for panel in panels if panel.method == number and panel.control == MAP]
    three = all(panel.heat.shape[0] == 3 for panel in own)
    if drawn == "both":
        return ("map", "overlay")
    if drawn == "colour":
        return ("colour" if three else "map",)
    if drawn != "auto":
        return (drawn,)
    smooth = "overlay" if is_smooth([maps[id(panel)] for panel in own]) else "map"
    return (_IN_COLOUR.get(question.methods[number].entry.name, smooth) if three else smooth,)


def _scales(question: Question, panels: Sequence[Panel], maps: Mapping[int, Array], shared: Shared) -> dict[int, Scale]:
    """The scale of each panel. Signed or not is one answer per method; random weights have units of their own, and so
    has each kind of score."""
    signed = {panel.method for panel in panels if panel.control == MAP and (maps[id(panel)] < 0).any()}
    groups: dict[tuple[object, ...], list[Panel]] = {}
    for panel in panels:
        kind = _kind(question.asked[panel.asked].texts[panel.sample])
        own = {"image": (panel.sample, kind), "all": (kind,), "none": (panel.sample, panel.asked, panel.control)}
        groups.setdefault((panel.method, panel.control == RANDOM_WEIGHTS, *own[shared]), []).append(panel)
    found: dict[int, Scale] = {}
    for (method, *_), members in groups.items():
        scale = scale_of([maps[id(panel)] for panel in members])
        found |= {id(panel): replace(scale, signed=method in signed) for panel in members}
    return found


def _kind(score: str) -> str:
    """ "class", "prob" or "log_prob" if the score is one of a class, else the score itself."""
    found = re.fullmatch(r"(class|prob|log_prob):\d+", score)
    return found[1] if found else score


def _title(question: Question, panel: Panel, *, by_score: bool) -> str:
    method = question.methods[panel.method]
    name = method.entry.name + (f" (net {method.net + 1})" if len(question.nets) > 1 else "")
    many = len(question.asked) > 1 and not by_score
    label = question.asked[panel.asked].labels[panel.sample]
    return "\n".join(filter(None, [f"{name}: {label}" if many else name, panel.control]))


def _tiles(panel: Panel, image: Array, values: Array, scale: Scale, *, kinds: Sequence[str], title: str) -> list[Tile]:
    notes = "\n".join(panel.notes)
    foot = f"{scale.text}\n{notes}".strip()
    once = "\n".join(panel.of_method)
    made = []
    for kind in kinds:
        if kind == "colour":
            end = replace(scale_of([panel.heat.numpy()]), signed=True)
            made.append(Tile(coloured(panel.heat.numpy()), title, f"{end.text}\n{notes}".strip(), once=once))
        elif kind == "overlay":
            made.append(Tile(overlaid(image, values, scale), title, foot, scale, once))
        else:
            made.append(Tile(painted(values, scale), title, foot, scale, once))
    return made


def _caption(question: Question, words: Words, kinds: Sequence[Sequence[str]], *, shared: Shared, notes: str) -> str:
    scores = list(dict.fromkeys(_score(text) for asked in question.asked for text in asked.texts))
    drawn = dict.fromkeys(kind for of_method in kinds for kind in of_method)
    parts = [
        f"Score: {' and '.join(scores)}.",
        _methods(question, words),
        "Space: pixels in [0, 1], the normalisation is part of the network; channels summed.",
        f"Drawn: {'; '.join(_KINDS[kind] for kind in drawn)}.",
        f"Scale, in numbers below each panel: up to the {PERCENTILE}th percentile of the magnitudes, {_TOLD[shared]}.",
    ]
    if question.random_nets:
        parts.append(
            "Controls: the same method on a copy of the network with random weights (scale of its own), and the map "
            "with its places shuffled."
        )
    meant = [sentence for word, sentence in LEGEND.items() if word in notes]
    if meant:
        parts.append(f"Numbers: {' '.join(meant)}")
    return " ".join(parts)


def _score(text: str) -> str:
    simple = {"class": "raw score of the class (logit)", "log_prob": "log-probability", "prob": "probability"}
    return simple.get(_kind(text), text)


def _methods(question: Question, words: Words) -> str:
    """The networks, and the methods with their settings, each told once."""
    several = len(words.nets) > 1
    nets = [f"{number}: {name}" if several else name for number, name in enumerate(words.nets, 1)]
    told = [
        method.entry.name
        + (f" ({method.settings})" if method.settings else "")
        + (f" of net {method.net + 1}" if several else "")
        for method in question.methods
    ]
    return f"Network{'s' if several else ''}: {'; '.join(nets)}. Methods: {'; '.join(told)}."

"""One picture for each of several values of one thing: a parameter, the target, the style, the image."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from advbench.bench.asked_scores import numbered_classes
from advbench.bench.picture_run import Asked, Preview, make_picture, progress
from advbench.bench.picture_sources import read_pictures
from advbench.bench.picturing import Materials, arguments_of
from advbench.core.journal import Frame
from advbench.registry import SYNTHESES
from advbench.synthesis.file_journal import FileJournal
from advbench.types import ConfigError, Json

MOST = 64  # values of one strip


@dataclass(frozen=True)
class Variation:
    """key: a parameter, or "target", "style" or "image". values: as they were written."""

    key: str
    values: tuple[str, ...]


class Labelled(NamedTuple):
    """Pictures (B, C, H, W) in [0, 1], and the value that they were made with."""

    label: str
    images: Tensor


def read_variation(text: str) -> Variation:
    """ "steps=50,100", "mix=[1,0],[0,1]", "style=a.jpg,b.jpg": values stand apart by commas outside of brackets.

    Raises ConfigError for other text, fewer than two values and the same value twice.
    """
    key, equals, rest = text.partition("=")
    values = tuple(value.strip() for value in _split(rest))
    if not equals or not key.strip() or "" in values:
        raise ConfigError(f"--vary: expected KEY=VALUE,VALUE,..., got {text!r}")
    if len(values) < 2 or len(values) > MOST or len(set(values)) < len(values):
        raise ConfigError(f"--vary {key}: give 2 to {MOST} different values, separated by commas, got {rest!r}")
    return Variation(key.strip(), values)


def varied(asked: Asked, variation: Variation, parsed: Callable[[str], Json]) -> list[Asked]:
    """What is asked for with each value. parsed: text -> the value of a parameter.

    Raises ConfigError, before work starts, for a value that the method does not take, and for one that is given twice.
    """
    found = []
    for value in variation.values:
        if variation.key in ("target", "style", "image"):
            one = replace(asked, materials=_with(asked.materials, variation.key, value))
        else:
            if variation.key in asked.params:
                raise ConfigError(f"--vary {variation.key}: --param {variation.key} is given as well")
            one = replace(asked, params={**asked.params, variation.key: parsed(value)})
        arguments_of(SYNTHESES[one.method], one.materials, one.params)
        found.append(one)
    return found


def run_strip(
    each: Sequence[Asked], variation: Variation, out: Path, *, every: int | None = None, preview: Preview | None = None
) -> list[Labelled]:
    """The pictures of each value, in order, with one progress for all and previews every so many steps.

    States lie in OUT.run/00, OUT.run/01, ... until all are done: the same call goes on from there.
    """
    folder = out.with_name(f"{out.name}.run")
    journals = [FileJournal(folder / f"{number:02d}", asked.key) for number, asked in enumerate(each)]
    made = []
    with progress() as bar:
        for number, (asked, value, journal) in enumerate(zip(each, variation.values, journals, strict=True)):

            def watch(frame: Frame, number: int = number, value: str = value) -> None:
                bar(frame, f"{variation.key}={value} ({number + 1} of {len(each)}), ")
                if every and preview and frame.step % every == 0:
                    preview(f"{number:02d}-phase-{frame.phase:02d}-step-{frame.step:04d}", frame.image())

            label = Path(value).name if variation.key in ("style", "image") else value
            made.append(Labelled(label, make_picture(asked, journal, watch)))
    for journal in journals:
        journal.clear()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return made


def _with(materials: Materials, key: str, value: str) -> Materials:
    """The materials, which hold the first value, with another. Raises ConfigError for a file that cannot be read."""
    if key == "target":
        return replace(materials, target=numbered_classes(value, materials.classes))
    before = materials.image if key == "image" else next(iter(materials.styles), None)
    assert before is not None, f"the first {key} is among the materials"
    size = (before.shape[2], before.shape[3]) if key == "image" else None
    picture = read_pictures((Path(value),), before.shape[1], size).to(before)
    return replace(materials, image=picture) if key == "image" else replace(materials, styles=(picture,))


def _split(text: str) -> list[str]:
    """The parts between commas that stand in no bracket, nor in a unit's place (LAYER:CHANNEL@ROW,COLUMN)."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "[(") - (char in "])")
        if char == "," and depth == 0 and not re.search(r"@\d+$", parts[-1]):
            parts.append("")
        else:
            parts[-1] += char
    return parts

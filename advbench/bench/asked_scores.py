"""Which scores of which samples a user wants explained, from what was typed: classes by number or name, targets."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from advbench.core.targets import Explained, parse_target
from advbench.names import nearest
from advbench.types import ConfigError

_SIGN = re.compile(r"(\s+[+-]\s+)")
_OF_CLASS = re.compile(r"(?P<factor>.*?)\b(?P<kind>class|log_prob|prob):(?P<name>.+)")
_WORDS = {"class": "{}", "log_prob": "log P({})", "prob": "P({})"}


@dataclass(frozen=True)
class Asked:
    """One score per sample. texts: as `parse_target` reads it; labels: for people; both have a line per sample."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]

    def explained(self, rows: Sequence[int]) -> list[tuple[list[int], Explained]]:
        """The samples `rows` in groups of one score each: (positions in `rows`, what to explain)."""
        texts = [self.texts[row] for row in rows]
        numbers = [re.fullmatch(r"class:(\d+)", text) for text in texts]
        if all(numbers):
            classes = torch.tensor([int(number[1]) for number in numbers if number])
            return [(list(range(len(rows))), classes)]
        groups = {text: [place for place, other in enumerate(texts) if other == text] for text in texts}
        return [(places, parse_target(text)) for text, places in groups.items()]


def asked_scores(
    logits: Tensor, names: Sequence[str], *, classes: Sequence[str], targets: Sequence[str], top: int | None
) -> list[Asked]:
    """What `--class`, `--target` and `--top` ask for, in this order; without any, each sample's predicted class.

    logits (B, K) of the samples; names: K class names. A class is a number or a name; "y" in a target stands for the
    predicted class. Raises ConfigError for a class or a target that there is not.
    """
    best = logits.argmax(1).tolist()
    asked = [_one(f"class:{text}", best, names) for text in classes]
    asked += [_one(text, best, names) for text in targets]
    if top is not None:
        if top > logits.shape[1]:
            raise ConfigError(f"--top {top}: there are {logits.shape[1]} classes")
        ranked = logits.topk(top, dim=1).indices
        asked += [_classes(ranked[:, rank].tolist(), names) for rank in range(top)]
    return asked or [_classes(best, names)]


def numbered_classes(text: str, names: Sequence[str]) -> str:
    """The target `text` with numbers for the classes that it names. Raises ConfigError for a name that is none.

    Numbers stay as they are: the model, which may have other classes than `names`, says whether it has them.
    """
    try:
        return _each_class(text, lambda kind, name: f"{kind}:{name if name.isdecimal() else class_number(name, names)}")
    except ConfigError as error:
        raise ConfigError(f"target {text!r}: {error}") from None


def class_number(text: str, names: Sequence[str], *, also: Sequence[str] = ()) -> int:
    """The class that `text` is the number or the name of. Raises ConfigError if it is neither, or two have the name.

    also: other words that could stand here, for the near miss that the error tells.
    """
    if re.fullmatch(r"-?\d+", text.strip()):
        number = int(text)
        if not 0 <= number < len(names):
            raise ConfigError(f"class {number}: the classes are 0 .. {len(names) - 1}")
        return number
    wanted = text.strip().casefold().replace("_", " ")
    found = [number for number, name in enumerate(names) if name.casefold().replace("_", " ") == wanted]
    if len(found) > 1:
        raise ConfigError(f"{len(found)} classes are named {text!r}: {', '.join(map(str, found))}; give the number")
    if not found:
        raise ConfigError(
            f"no class {text!r}; {nearest(text, [*also, *names])}A number from 0 .. {len(names) - 1} or a name"
        )
    return found[0]


def _classes(numbers: Sequence[int], names: Sequence[str]) -> Asked:
    return Asked(tuple(f"class:{number}" for number in numbers), tuple(names[number] for number in numbers))


def _one(text: str, best: Sequence[int], names: Sequence[str]) -> Asked:
    """The target `text` for each sample, with "y" and names of classes replaced by numbers."""
    texts = tuple(_each_class(text, partial(_numbered, y=y, names=names)) for y in best)
    for once in dict.fromkeys(texts):
        parse_target(once)
    return Asked(texts, tuple(_each_class(once, partial(_named, names=names)) for once in texts))


def _numbered(kind: str, name: str, y: int, names: Sequence[str]) -> str:
    return f"{kind}:{y if name == 'y' else class_number(name, names)}"


def _named(kind: str, number: str, names: Sequence[str]) -> str:
    return _WORDS[kind].format(names[int(number)])


def _each_class(text: str, replaced: Callable[[str, str], str]) -> str:
    """`text` with each KIND:NAME among its terms replaced."""
    parts = _SIGN.split(text.strip())
    for place in range(0, len(parts), 2):
        found = _OF_CLASS.fullmatch(parts[place])
        if found:
            parts[place] = found["factor"] + replaced(found["kind"], found["name"].strip())
    return "".join(parts)

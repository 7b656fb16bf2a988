"""Which differences stand on the samples at hand: two models under all attacks, two attacks on one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from advbench.metrics.paired import LEAST_DISCORDANT, Paired, holm, paired
from advbench.report.panel import Method, Panel, Subject
from advbench.report.stored import StoredCell
from advbench.report.text import chance

LEVEL = 0.05


@dataclass(frozen=True)
class ModelPair:
    """Two models under the same attacks at the headline radius. p: after Holm's correction over the pairs shown."""

    first: Subject
    second: Subject
    test: Paired
    p: float

    @property
    def verdict(self) -> str:
        return _verdict(self.test, self.p)


@dataclass(frozen=True)
class Spot:
    """How many samples one attack breaks and another does not; words: the test of the two."""

    count: int
    differs: bool
    words: str


@dataclass(frozen=True)
class AttackPairs:
    """Every two attacks on one model at the headline radius: spots[row][column] counts what the row alone breaks."""

    subject: Subject
    methods: tuple[Method, ...]
    broken: tuple[int, ...]  # by each attack, clean errors counted
    spots: tuple[tuple[Spot | None, ...], ...]  # None on the diagonal


@dataclass(frozen=True)
class Pairs:
    """Both tables of one threat. unequal: models left out because they have not met the same attacks as the first."""

    models: tuple[ModelPair, ...]
    unequal: int
    attacks: tuple[AttackPairs, ...]


def pairs(panel: Panel, order: Sequence[Subject]) -> Pairs:
    """The tests of one threat with radii, subjects in the order given; empty for distances alone."""
    if not panel.grid:
        return Pairs((), 0, ())
    met = {subject: _methods(panel, subject) for subject in order if subject in panel.worst}
    alike = [subject for subject in met if met[subject] == next(iter(met.values()))]
    return Pairs(_models(panel, alike), len(met) - len(alike), tuple(_attacks(panel, order)))


def _methods(panel: Panel, subject: Subject) -> frozenset[Method]:
    return frozenset(cell.id.method for cell in panel.of(subject, "attack"))


def _models(panel: Panel, subjects: Sequence[Subject]) -> tuple[ModelPair, ...]:
    held = {subject: panel.worst[subject][panel.headline] for subject in subjects}
    couples = list(combinations(subjects, 2))
    tests = [paired(held[first], held[second]) for first, second in couples]
    corrected = holm([test.p for test in tests])
    return tuple(ModelPair(*couple, test, p) for couple, test, p in zip(couples, tests, corrected, strict=True))


def _attacks(panel: Panel, order: Sequence[Subject]) -> list[AttackPairs]:
    found = [(subject, panel.of(subject, "attack")) for subject in order]
    return [_square(panel, subject, cells) for subject, cells in found if len(cells) > 1]


def _square(panel: Panel, subject: Subject, cells: Sequence[StoredCell]) -> AttackPairs:
    held = [panel.held[cell.id.key][panel.headline] for cell in cells]
    couples = list(combinations(range(len(cells)), 2))
    tests = [paired(held[i], held[j]) for i, j in couples]
    spots: list[list[Spot | None]] = [[None] * len(cells) for _ in cells]
    for (i, j), test, p in zip(couples, tests, holm([test.p for test in tests]), strict=True):
        spots[i][j] = _spot(test.second, test, p)  # the second holds alone: the first alone breaks it
        spots[j][i] = _spot(test.first, test, p)
    return AttackPairs(
        subject,
        tuple(cell.id.method for cell in cells),
        tuple(int((~each).sum()) for each in held),
        tuple(map(tuple, spots)),
    )


def _spot(count: int, test: Paired, p: float) -> Spot:
    return Spot(count, p < LEVEL, _verdict(test, p))


def _verdict(test: Paired, p: float) -> str:
    """ "differs: p < 0.001, 41 discordant", "not told apart: p = 0.31, 7 discordant"."""
    if test.discordant < LEAST_DISCORDANT:
        return f"not told apart: {test.discordant} discordant, fewer than {LEAST_DISCORDANT} show nothing"
    word = "differs" if p < LEVEL else "not told apart"
    return f"{word}: {chance(p)}, {test.discordant} discordant"

"""Watching a descent and taking it up again where it was killed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.journal import Frame, current_step, running, shown_by, tallied
from advbench.core.objectives import excite
from advbench.core.step_rules import StepRule, adam, lbfgs, plain
from advbench.core.transforms import jitter, through_views

RULES: dict[str, StepRule] = {"adam": adam(0.05), "plain": plain(0.1), "lbfgs": lbfgs(0.5)}


class Book:
    """A journal in memory that is killed after a number of notes."""

    def __init__(self, every: int, killed_after: int) -> None:
        self.every, self.left = every, killed_after
        self.pages: dict[int, tuple[int, list[Tensor]]] = {}

    def due(self, step: int) -> bool:
        return step % self.every == 0

    def note(self, phase: int, step: int, state: Sequence[Tensor]) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.pages[phase] = (step, [part.clone() for part in state])

    def recall(self, phase: int) -> tuple[int, list[Tensor]] | None:
        return self.pages.get(phase)


def two_descents(rule: StepRule, seen: list[int] | None = None) -> Tensor:
    """Climbs through random views, in two phases, the second from where the first ended."""
    z = torch.linspace(-1.0, 1.0, 32).reshape(2, 1, 4, 4)

    def score(look: Tensor) -> Tensor:
        if seen is not None:
            seen.append(current_step())
        return -(look[:, :, :2] - 0.3).square().flatten(1).sum(1)

    for part in ("coarse", "fine"):
        objective = through_views(jitter(2), Draws(3, torch.arange(2)).branch(part), excite(score))
        z = descend(z, objective, step=rule, steps=5, stop=None).z
    return z


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@given(every=st.integers(1, 4), killed_after=st.integers(0, 12))
def test_a_run_that_was_killed_ends_where_it_would_have(rule: StepRule, every: int, killed_after: int) -> None:
    whole, book = two_descents(rule), Book(every, killed_after)
    try:
        with running(journal=book):
            found = two_descents(rule)
    except KeyboardInterrupt:
        book.left = -1
        with running(journal=book):
            found = two_descents(rule)
    assert torch.equal(found, whole)


def test_a_finished_run_costs_nothing_the_second_time() -> None:
    book, seen = Book(2, -1), list[int]()
    with running(journal=book):
        first = two_descents(RULES["adam"])
    with running(journal=book):
        assert torch.equal(two_descents(RULES["adam"], seen), first)
    assert seen == []


def test_a_watcher_sees_every_step_with_its_loss_and_its_image() -> None:
    frames: list[tuple[Frame, Tensor]] = []
    with running(watch=lambda frame: frames.append((frame, frame.image()))), shown_by(lambda z: z + 10.0):
        two_descents(RULES["plain"])
    assert [(frame.phase, frame.step, frame.steps) for frame, _ in frames] == [
        (p, i, 5) for p in (0, 1) for i in range(5)
    ]
    assert all(frame.loss.shape == (2,) and float(image.min()) > 8.0 for frame, image in frames)
    assert current_step() == 0


@pytest.mark.parametrize("killed_after", [0, 1, 2, 3, 9])
def test_a_tally_goes_on_where_the_descent_does(killed_after: int) -> None:
    def counted() -> list[float]:
        tally = torch.zeros(2)

        def score(look: Tensor) -> Tensor:
            tally.add_(current_step() + 1.0)
            return -look.square().flatten(1).sum(1)

        with tallied(tally):
            descend(torch.ones(2, 1, 2, 2), excite(score), step=RULES["plain"], steps=5, stop=None)
        return tally.tolist()

    whole, book = counted(), Book(2, killed_after)
    assert whole == [21.0, 21.0]  # 1 + ... + 5, and 6 for the look at the end
    try:
        with running(journal=book):
            found = counted()
    except KeyboardInterrupt:
        book.left = -1
        with running(journal=book):
            found = counted()
    assert found == whole

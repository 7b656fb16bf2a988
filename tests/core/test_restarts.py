"""in_turns: only survivors take part, the strongest is kept, and rows are charged to the right samples."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.gradients import attended_rows, attending
from advbench.core.keep import Kept, nothing_kept
from advbench.core.restarts import in_turns


@given(st.lists(st.integers(0, 5), min_size=0, max_size=6), st.integers(0, 5), st.booleans())
def test_a_sample_takes_part_until_it_has_fallen(falls_in: list[int], turns: int, survivors_only: bool) -> None:
    falls, seen = torch.tensor(falls_in, dtype=torch.int64), torch.zeros(len(falls_in), dtype=torch.int64)

    def run(left: Tensor, turn: int) -> Kept:
        seen[left] += 1
        z = torch.full((len(left), 1), float(turn))
        return Kept(z, -z[:, 0], falls[left] == turn)

    kept = in_turns(nothing_kept(torch.full((len(falls), 1), -1.0)), turns, run, survivors_only=survivors_only)
    assert torch.equal(kept.reached, falls < turns)
    assert torch.equal(seen, (falls + 1).clamp_max(turns) if survivors_only else torch.full_like(seen, turns))
    # The run in which it fell, else the one with the lowest loss: the last.
    assert torch.equal(kept.z[:, 0], torch.where(falls < turns, falls, turns - 1).float())


def test_rows_inside_of_a_run_stand_for_the_samples_left() -> None:
    asked: list[list[int]] = []

    def run(left: Tensor, turn: int) -> Kept:
        with attending(torch.tensor([0])):
            rows = attended_rows()
            assert rows is not None
            asked.append(rows.tolist())
        z = torch.zeros(len(left), 1)
        return Kept(z, z[:, 0], left == turn)

    in_turns(nothing_kept(torch.zeros(3, 1)), 3, run)
    assert asked == [[0], [1], [2]]

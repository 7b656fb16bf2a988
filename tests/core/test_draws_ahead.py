"""words_ahead: a sample's numbers for a step, whoever else asks."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.core.draws import Draws
from advbench.core.draws_ahead import below, coins, heads, one_of_each_part, words_ahead
from tests.strategies import seeds


@given(seeds(), st.integers(1, 6), st.integers(1, 5), st.data())
def test_rows_may_leave_within_a_block_and_change_nothing(
    seed: int, count: int, block: int, data: st.DataObject
) -> None:
    draws = Draws(seed, torch.tensor([7, 3, 11, 5]))
    all_rows = torch.arange(4)
    together, leaving = (words_ahead(draws, count, "test", block=block) for _ in range(2))
    rows = all_rows
    for step in range(3 * block + 1):
        whole = together(all_rows, step)
        assert torch.equal(leaving(rows, step), whole[rows])
        if data.draw(st.booleans()):
            rows = rows[1:] if len(rows) > 1 else rows


@given(seeds(), st.integers(1, 6), st.integers(1, 5))
def test_the_table_is_what_the_draws_give_for_each_block(seed: int, count: int, block: int) -> None:
    draws = Draws(seed, torch.tensor([4, 9]))
    ahead = words_ahead(draws, count, "test", block=block)
    for step in range(2 * block):
        table = draws.words(block * count, "test", step // block).reshape(2, block, count)
        assert torch.equal(ahead(torch.arange(2), step), table[:, step % block])


@given(seeds(), st.integers(1, 9))
def test_below_reaches_every_number_up_to_the_limit_and_none_beyond(seed: int, limit: int) -> None:
    words = Draws(seed, torch.arange(1)).words(400, "test")
    assert below(limit, words).unique().tolist() == list(range(limit))


def test_the_ends_of_the_words() -> None:
    words = torch.tensor([0, 2**31 - 1, 2**31, 2**32 - 1])
    assert below(10, words).tolist() == [0, 4, 5, 9]
    assert heads(words).tolist() == [False, False, True, True]


@given(seeds(), st.integers(1, 100))
def test_coins_use_every_bit_of_a_word(seed: int, count: int) -> None:
    draws = Draws(seed, torch.tensor([2, 6]))
    found = coins(draws, count, "test", 3)
    words = draws.words(-(-count // 32), "test", 3).tolist()
    bits = [[int(bit) for word in row for bit in reversed(f"{word:032b}")][:count] for row in words]
    assert found.tolist() == [[2.0 * bit - 1.0 for bit in row] for row in bits]


@given(seeds(), st.integers(1, 30), st.data())
def test_one_of_each_part_gives_different_numbers_of_the_range(seed: int, count: int, data: st.DataObject) -> None:
    parts = data.draw(st.integers(1, count))
    found = one_of_each_part(count, parts, Draws(seed, torch.arange(200)).words(parts, "test"))
    assert bool((found.diff(dim=1) > 0).all())
    assert 0 <= int(found.min()) <= int(found.max()) < count
    if count // parts <= 4:  # with 200 draws each of so few is hit
        assert len(found.flatten().unique()) == count

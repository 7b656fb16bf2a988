"""Random numbers for many steps at once: a search that takes thousands of small steps must not wait for its draws."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from advbench.core.draws import Counter, Draws

Ahead = Callable[[Tensor, int], Tensor]  # (rows (A,), step) -> (A, count) int64


def words_ahead(draws: Draws, count: int, purpose: str, *, block: int = 64) -> Ahead:
    """A function of (rows, step) that gives (A, count) int64 words of 32 random bits, a sample's own for each step.

    They are made for `block` steps of the rows that are asked about at the block's first step; later steps of the block
    may ask for any of these rows, not for others. The numbers do not depend on who else asks.
    """
    place = torch.zeros_like(draws.sample_ids)  # (B,) where a row stands in the table
    table = place.new_zeros(0)
    made = -1

    def words(rows: Tensor, step: int) -> Tensor:
        nonlocal table, made
        turn, offset = divmod(step, block)
        if turn != made:
            place[rows] = torch.arange(len(rows), device=rows.device)
            table = draws.rows(rows).words(block * count, purpose, turn).reshape(len(rows), block, count)
            made = turn
        return table[place[rows], offset]

    return words


def below(limit: int, words: Tensor) -> Tensor:
    """Words of 32 random bits as integers, uniform on 0 .. limit - 1 (bias below limit / 2**32)."""
    return words * limit >> 32


def heads(words: Tensor) -> Tensor:
    """Words of 32 random bits as tosses of a coin, bool."""
    return words >= 2**31


def coins(draws: Draws, count: int, purpose: str, counter: Counter = 0) -> Tensor:
    """(B, count) float32, -1 or 1 with equal chance: `Draws.signs` for many, with 32 of them from one word."""
    words = draws.words(-(-count // 32), purpose, counter)
    bits = words[:, :, None] >> torch.arange(32, device=words.device) & 1
    return (2 * bits - 1).float().flatten(1)[:, :count]


def one_of_each_part(count: int, parts: int, words: Tensor) -> Tensor:
    """(A, parts) different numbers of 0 .. count - 1, in order: a random one from each of `parts` equal pieces.

    words (A, parts). Raises ValueError if there are more parts than numbers.
    """
    if parts > count:
        raise ValueError(f"one_of_each_part: {parts} parts of {count} numbers")
    edges = torch.arange(parts + 1, device=words.device) * count // parts
    return edges[:-1] + (words * edges.diff() >> 32)

"""Randomness as a function of (seed, sample id, purpose, counter): the only source of it in the package.

Threefry-2x64 with 20 rounds (Salmon et al. 2011, doi:10.1145/2063384.2063405) in torch integer operations. A sample's
numbers do not depend on the batch it sits in, its order, the worker or an interruption, and nothing global is touched.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

Counter = int | Tensor  # the same for all samples, or one for each (B,) int64

_ROTATIONS = (16, 42, 12, 31, 16, 32, 24, 21)
_PARITY = 0x1BD11BDAA9FC1A22
_BLOCK = 1 << 16  # counters worked on at a time: their words stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Draws:
    """Random numbers for the samples `sample_ids` (B,) int64; words and uniforms are the same bits on any device."""

    seed: int
    sample_ids: Tensor

    def rows(self, index: Tensor) -> Draws:
        """The draws of the samples at `index` (positions or bool mask)."""
        return Draws(self.seed, self.sample_ids[index])

    def copies(self, count: int) -> Draws:
        """Draws for `count` copies (B * count,) of each sample, side by side, that share nothing with one another."""
        which = torch.arange(count, device=self.sample_ids.device).repeat(len(self.sample_ids))
        return Draws(_word(f"{self.seed}/copies"), self.sample_ids.repeat_interleave(count) * count + which)

    def branch(self, label: str) -> Draws:
        """Draws of the same samples that share nothing with these: for a part with purposes and counters of its own."""
        return Draws(_word(f"{self.seed}/{label}"), self.sample_ids)

    def words(self, count: int, purpose: str, counter: Counter = 0) -> Tensor:
        """(B, count) int64 with 32 random bits each: values in [0, 2**32)."""
        ids = self.sample_ids
        blocks = -(-count // 4)
        turns = counter if isinstance(counter, Tensor) else torch.full_like(ids, counter)
        # What the cipher is asked for: a word for each (sample, position, turn).
        asked = (
            ids.repeat_interleave(blocks),
            torch.arange(blocks, device=ids.device).repeat(len(ids)),
            turns.repeat_interleave(blocks),
        )
        key = _word(f"{self.seed}:{purpose}")
        parts = zip(*(torch.split(each, _BLOCK) for each in asked), strict=True)
        pieces = [_split(*threefry2x64(key, sample, position, turn)) for sample, position, turn in parts]
        return torch.cat(pieces).reshape(len(ids), blocks * 4)[:, :count]

    def uniform(self, shape: tuple[int, ...], purpose: str, counter: Counter = 0) -> Tensor:
        """(B, *shape) float32, uniform on the multiples of 2**-24 in [0, 1)."""
        bits = self.words(math.prod(shape), purpose, counter) >> 8
        return (bits.float() * 2.0**-24).reshape(len(self.sample_ids), *shape)

    def normal(self, shape: tuple[int, ...], purpose: str, counter: Counter = 0) -> Tensor:
        """(B, *shape) float32, standard normal (Box-Muller; the last bit may differ between devices)."""
        size = math.prod(shape)
        pairs = -(-size // 2)
        u = self.uniform((2, pairs), purpose, counter)
        radius = (-2.0 * torch.log1p(-u[:, 0])).sqrt_()  # 1 - u lies in (0, 1]: the logarithm is finite
        angle = (2.0 * math.pi) * u[:, 1]
        both = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
        return both[:, :size].reshape(len(self.sample_ids), *shape)

    def signs(self, shape: tuple[int, ...], purpose: str, counter: Counter = 0) -> Tensor:
        """(B, *shape) float32, -1 or 1 with equal chance."""
        bits = self.words(math.prod(shape), purpose, counter) >> 31
        return (2 * bits - 1).float().reshape(len(self.sample_ids), *shape)

    def integers(self, high: int, shape: tuple[int, ...], purpose: str, counter: Counter = 0) -> Tensor:
        """(B, *shape) int64, uniform on 0 .. high - 1 (bias below high / 2**32). high must be in 1 .. 2**31."""
        if not 1 <= high <= 2**31:
            raise ValueError(f"integers: high must be in 1 .. 2**31, got {high}")
        return (self.words(math.prod(shape), purpose, counter) * high >> 32).reshape(len(self.sample_ids), *shape)


def threefry2x64(key0: int, key1: Tensor, counter0: Tensor, counter1: Tensor) -> tuple[Tensor, Tensor]:
    """The cipher: two 64-bit words (as int64) for each element of key1 and the counters (all the same shape)."""
    parity = key1 ^ (key0 ^ _PARITY)
    schedule = (key0, key1, parity)
    a = counter0 + key0
    b = key1 + counter1
    # In place: the two words are made here, and half of the time went into new memory.
    for r in range(20):
        a += b
        shift = _ROTATIONS[r % 8]
        # int64 shifts right with its sign: the mask turns that into the rotation of an unsigned word.
        carried = (b >> (64 - shift)).bitwise_and_((1 << shift) - 1)
        b.bitwise_left_shift_(shift).bitwise_or_(carried).bitwise_xor_(a)
        if r % 4 == 3:
            turn = (r + 1) // 4
            a += schedule[turn % 3]
            b += schedule[(turn + 1) % 3]
            b += turn
    return a, b


def _split(a: Tensor, b: Tensor) -> Tensor:
    mask = 0xFFFFFFFF
    return torch.stack([a & mask, (a >> 32) & mask, b & mask, (b >> 32) & mask], dim=-1).reshape(-1)


def _word(text: str) -> int:
    """64 bits of the text's SHA-256, as an int64."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little", signed=True)

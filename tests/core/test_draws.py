"""Draws: the published cipher, uniform and normal numbers, and nothing that depends on company."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from advbench.core.draws import Draws, threefry2x64
from tests.strategies import seeds

# Known answers for threefry2x64 with 20 rounds, published with Random123: key, counter, result.
KNOWN_ANSWERS = [
    ((0, 0), (0, 0), (0xC2B6E3A8C2C69865, 0x6F81ED42F350084D)),
    ((2**64 - 1, 2**64 - 1), (2**64 - 1, 2**64 - 1), (0xE02CB7C4D95D277A, 0xD06633D0893B8B68)),
    (
        (0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x243F6A8885A308D3, 0x13198A2E03707344),
        (0x263C7D30BB0F0AF1, 0x56BE8361D3311526),
    ),
]
# Of seed 7, samples 0 and 41, purpose "golden", counter 2.
GOLDEN = [[3112648047, 3577436578, 3798087565], [2579235908, 3407074585, 3876408858]]
KINDS = ["uniform", "normal", "signs"]


def draw(kind: str, draws: Draws, shape: tuple[int, ...], purpose: str = "test", counter: int | Tensor = 0) -> Tensor:
    if kind == "integers":
        return draws.integers(1000, shape, purpose, counter)
    method = {"uniform": draws.uniform, "normal": draws.normal, "signs": draws.signs}[kind]
    return method(shape, purpose, counter)


def signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


@pytest.mark.parametrize(("key", "counter", "answer"), KNOWN_ANSWERS)
def test_cipher_gives_the_published_answers(
    key: tuple[int, int], counter: tuple[int, int], answer: tuple[int, int]
) -> None:
    words = [torch.tensor([signed(word)]) for word in (key[1], *counter)]
    found = threefry2x64(signed(key[0]), *words)
    assert [int(word) % 2**64 for word in found] == list(answer)


@pytest.mark.parametrize("kind", [*KINDS, "integers"])
@given(seed=seeds(), ids=st.lists(st.integers(0, 2**62), max_size=6, unique=True), data=st.data())
def test_a_sample_draws_the_same_in_any_company(kind: str, seed: int, ids: list[int], data: st.DataObject) -> None:
    samples = torch.tensor(ids, dtype=torch.int64)
    together = draw(kind, Draws(seed, samples), (2, 3))
    order = data.draw(st.permutations(range(len(ids))))
    shuffled = draw(kind, Draws(seed, samples[list(order)]), (2, 3))
    assert torch.equal(shuffled, together[list(order)])
    for i in range(len(ids)):
        assert torch.equal(draw(kind, Draws(seed, samples[i : i + 1]), (2, 3)), together[i : i + 1])


@given(seed=seeds(), mask=st.lists(st.booleans(), min_size=5, max_size=5))
def test_rows_are_the_draws_of_those_rows(seed: int, mask: list[bool]) -> None:
    draws, chosen = Draws(seed, torch.arange(5)), torch.tensor(mask)
    for index in (chosen, chosen.nonzero()[:, 0]):
        assert torch.equal(draws.rows(index).normal((4,), "test"), draws.normal((4,), "test")[chosen])


@given(
    seed=seeds(), ids=st.lists(st.integers(0, 1 << 40), min_size=1, max_size=4, unique=True), count=st.integers(1, 4)
)
def test_copies_are_samples_of_their_own(seed: int, ids: list[int], count: int) -> None:
    draws = Draws(seed, torch.tensor(ids))
    drawn = draws.copies(count).normal((8,), "test")
    assert drawn.shape == (len(ids) * count, 8)
    assert len(torch.cat([drawn, draws.normal((8,), "test")]).unique(dim=0)) == len(ids) * (count + 1)
    for i in range(len(ids)):  # in any company
        alone = draws.rows(torch.tensor([i])).copies(count).normal((8,), "test")
        assert torch.equal(alone, drawn[i * count : (i + 1) * count])


def test_many_small_blocks_of_work_join_to_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = Draws(3, torch.arange(50))
    whole = draws.uniform((7,), "test", torch.arange(50))
    monkeypatch.setattr("advbench.core.draws._BLOCK", 9)
    assert torch.equal(draws.uniform((7,), "test", torch.arange(50)), whole)


@given(seeds(), st.lists(st.integers(0, 1000), min_size=4, max_size=4))
def test_a_counter_for_each_sample_draws_what_each_alone_would(seed: int, counters: list[int]) -> None:
    draws = Draws(seed, torch.arange(4))
    together = draws.uniform((9,), "test", torch.tensor(counters))
    alone = [draws.rows(torch.tensor([i])).uniform((9,), "test", counters[i]) for i in range(4)]
    assert torch.equal(together, torch.cat(alone))


def test_everything_in_the_address_matters() -> None:
    draws = Draws(0, torch.arange(2))
    pages = [
        draws.uniform((50,), "test"),
        draws.uniform((50,), "other"),
        draws.uniform((50,), "test", 1),
        Draws(1, torch.arange(2)).uniform((50,), "test"),
        Draws(0, torch.arange(2, 4)).uniform((50,), "test"),
        draws.branch("part").uniform((50,), "test"),
        draws.branch("other part").uniform((50,), "test"),
    ]
    values = torch.stack(pages).flatten(0, 1)  # (14, 50)
    assert len(values.flatten().unique()) == values.numel()
    correlation = np.corrcoef(values.double().numpy()) - np.eye(len(values))
    assert abs(correlation).max() < 0.5  # 3.5 standard errors


def test_global_generators_are_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())
    draws = Draws(0, torch.arange(3))
    for kind in [*KINDS, "integers"]:
        draw(kind, draws, (5,))
    after = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_uniform_numbers_are_uniform() -> None:
    u = Draws(0, torch.arange(100)).uniform((1000,), "test")
    assert u.dtype == torch.float32
    assert bool(((u >= 0) & (u < 1)).all())
    assert stats.kstest(u.flatten().numpy(), "uniform").pvalue > 0.01
    assert stats.kstest(u.mean(1).numpy(), stats.norm(0.5, (1 / 12 / 1000) ** 0.5).cdf).pvalue > 0.01


def test_normal_numbers_are_normal() -> None:
    g = Draws(0, torch.arange(100)).normal((1001,), "test").double()  # an odd size: one of a pair is left over
    assert bool(g.isfinite().all())
    assert stats.kstest(g.flatten().numpy(), "norm").pvalue > 0.01
    moments = [float((g**k).mean()) for k in (1, 2, 3, 4)]
    assert moments == pytest.approx([0.0, 1.0, 0.0, 3.0], abs=0.05)
    halves = g[:, :1000].reshape(100, 2, 500)  # the two of a Box-Muller pair
    assert abs(float((halves[:, 0] * halves[:, 1]).mean())) < 0.02


def test_signs_and_integers_are_fair() -> None:
    draws = Draws(0, torch.arange(100))
    assert set(draws.signs((1000,), "test").unique().tolist()) == {-1.0, 1.0}
    assert abs(float(draws.signs((1000,), "test").mean())) < 0.01
    dice = draws.integers(6, (1000,), "test").flatten().bincount()
    assert len(dice) == 6
    assert stats.chisquare(dice.numpy()).pvalue > 0.01


def test_integers_cover_their_range_and_refuse_another() -> None:
    draws = Draws(0, torch.arange(100))
    assert bool((draws.integers(1, (10,), "test") == 0).all())
    widest = draws.integers(2**31, (100,), "test")
    assert 0 <= int(widest.min()) < int(widest.max()) < 2**31
    assert int(widest.max()) > 0.999 * 2**31
    for high in (0, 2**31 + 1):
        with pytest.raises(ValueError, match="high must be in"):
            draws.integers(high, (1,), "test")


@pytest.mark.parametrize("kind", [*KINDS, "integers"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (2, 5), (2, 0, 3)])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_every_shape_is_defined(kind: str, shape: tuple[int, ...], batch: int) -> None:
    assert draw(kind, Draws(0, torch.arange(batch)), shape).shape == (batch, *shape)


def test_golden_numbers_never_change() -> None:
    """Stored results depend on these bits: the same key would name other rows."""
    draws = Draws(7, torch.tensor([0, 41]))
    assert draws.words(3, "golden", 2).tolist() == GOLDEN

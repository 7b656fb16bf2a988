"""The duels: each names an attack that is registered and can do what it is asked to do."""

from __future__ import annotations

from math import inf

from advbench.registry import ATTACKS
from benchmarks.peers.duels import duels

RADII = {inf: 0.1, 2.0: 1.0, 1.0: 5.0}


def test_every_duel_can_be_fought() -> None:
    for duel in duels(RADII):
        entry = ATTACKS[duel.attack]
        assert duel.norm in entry.info.norms
        assert set(duel.params) <= set(entry.parameters())
        assert duel.eps is not None or not entry.info.needs_radius
        assert duel.rivals


def test_no_duel_is_fought_twice() -> None:
    keys = [(duel.attack, duel.norm, tuple(sorted(duel.params.items())), duel.eps) for duel in duels(RADII)]
    assert len(keys) == len(set(keys))

"""What all decision attacks share: a hard cap on labels, the wall, and starts that concern one sample each."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attacks.decision.inquiry import Inquiry
from advbench.attacks.decision.starting_point import find_start
from advbench.core.norms import lengths
from advbench.registry import ATTACKS, AttackInfo, Entry
from advbench.testing.witness import Decisions
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds

METHODS: list[Entry[AttackInfo]] = [
    entry for entry in ATTACKS if entry.function.__module__.startswith("advbench.attacks.decision.")
]
PLACES = [(entry, norm) for entry in METHODS for norm in entry.info.norms]
each_method = pytest.mark.parametrize(("method", "norm"), PLACES, ids=[f"{e.name}-l{n:g}" for e, n in PLACES])


class Never(nn.Module):
    """The labels of `model`, with one more class that no image has."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return torch.cat([logits, torch.full_like(logits[:, :1], -1e4)], 1)


@each_method
@settings(max_examples=6)
@given(st.sampled_from((1, 2, 3, 9, 40, 120)), seeds(), st.booleans())
def test_no_sample_is_asked_about_more_often_than_queries_says(
    method: Entry[AttackInfo], norm: float, queries: int, seed: int, targeted: bool
) -> None:
    net = conv_net()
    x, y, draws = images(net, 5, seed)
    counting = Counting(Decisions(net), len(x))  # nothing but a one-hot label gets through
    goal = (y + 1) % 4 if targeted else y
    x_adv = method.function(counting, x, goal, ThreatModel(norm, None), draws=draws, targeted=targeted, queries=queries)
    assert isinstance(x_adv, Tensor)
    assert int(counting.passes.max()) <= queries
    found = (x_adv != x).flatten(1).any(1)
    hit = (net(x_adv).argmax(1) == goal) == targeted
    assert bool(hit[found].all())  # what is not x is an example


@each_method
def test_a_sample_without_a_start_stays_and_the_others_do_not_notice(method: Entry[AttackInfo], norm: float) -> None:
    net = Never(conv_net())
    x, y, draws = images(net, 4)
    target = torch.where(torch.arange(4) == 1, 4, (y + 1) % 4)
    threat, others = ThreatModel(norm, None), torch.tensor([0, 2, 3])

    def run(index: Tensor) -> Tensor:
        result = method.function(
            net, x[index], target[index], threat, draws=draws.rows(index), targeted=True, queries=150
        )
        assert isinstance(result, Tensor)
        return result

    together = run(torch.arange(4))
    assert torch.equal(together[1], x[1])
    assert torch.equal(together[others], run(others))
    assert bool((net(together[others]).argmax(1) == target[others]).all())


@each_method
def test_a_given_start_is_used_and_a_wrong_one_refused(method: Entry[AttackInfo], norm: float) -> None:
    net = conv_net()
    x, y, draws = images(net, 16)
    target = (y + 1) % 4
    position = torch.stack([torch.nonzero(y == label)[0, 0] for label in target])
    threat, starts = ThreatModel(norm, None), x[position]
    # An image may be an example where the corner in its direction is none.
    rays = pytest.warns(UserWarning, match="of the 16 corners") if method.name == "rays" else nullcontext()
    with rays:
        x_adv = method.function(net, x, target, threat, draws=draws, targeted=True, queries=60, starts=starts)
    assert isinstance(x_adv, Tensor)
    assert bool((net(x_adv).argmax(1) == target).all())
    for bad in (starts[:2], starts + 1.0):
        with pytest.raises(ConfigError, match="starts must be images"):
            method.function(net, x, target, threat, draws=draws, targeted=True, queries=60, starts=bad)


@each_method
def test_more_queries_bring_it_nearer(method: Entry[AttackInfo], norm: float) -> None:
    net = conv_net()
    x, y, draws = images(net, 12)
    distances = []
    for queries in (100, 600):
        x_adv = method.function(net, x, y, ThreatModel(norm, None), draws=draws, queries=queries)
        assert isinstance(x_adv, Tensor)
        distances.append(lengths(x_adv - x, norm))
    assert float(distances[1].median()) < 0.9 * float(distances[0].median())


@settings(max_examples=25)
@given(seeds(), st.integers(1, 30))
def test_the_inquiry_counts_and_keeps_the_nearest(seed: int, queries: int) -> None:
    net = conv_net()
    x, y, draws = images(net, 6, seed)
    counting = Counting(net, 6)
    inquiry = Inquiry(counting, x, y, ThreatModel(2, None), targeted=False, queries=queries)
    nearest = torch.full((6,), torch.inf)
    for turn in range(20):
        rows = torch.nonzero(draws.integers(2, (), "rows", turn))[:, 0]
        z = draws.rows(rows).uniform((1, 6, 6), "image", turn)
        affordable = inquiry.left(rows) > 0
        hit = inquiry.look(z, rows)
        distance = torch.where(hit, lengths(z - x[rows], 2.0), torch.inf)
        nearest[rows] = torch.minimum(nearest[rows], distance)
        assert bool((hit[affordable] == (net(z).argmax(1) != y[rows])[affordable]).all())
    assert torch.equal(counting.passes, inquiry.spent)
    assert int(inquiry.spent.max()) <= queries
    assert torch.equal(torch.where(inquiry.kept.reached, lengths(inquiry.kept.z - x, 2.0), torch.inf), nearest)


def test_a_start_lies_at_the_boundary_and_what_is_wrong_already_costs_one_label() -> None:
    net = conv_net()
    x, y, draws = images(net, 8)
    y[0] = (y[0] + 1) % 4
    inquiry = Inquiry(net, x, y, ThreatModel(2, None), targeted=False, queries=500)
    find_start(inquiry, draws, None)
    start = inquiry.kept.z
    assert bool((net(start).argmax(1) != y).all())
    assert torch.equal(start[0], x[0])
    assert int(inquiry.spent[0]) == 1
    inner = x + 0.99 * (start - x)
    assert bool((net(inner).argmax(1) == y)[1:].all())

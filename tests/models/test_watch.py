"""The books are right whoever calls the model, and a look at them changes nothing."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.gradients import backprop, evaluate, in_pieces, labels_at, logits_at
from advbench.core.objectives import misclassify
from advbench.models.watch import Watched
from advbench.types import ConfigError


class _Sign(nn.Module):
    """Class 1 where the mean is positive."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(1)
        return torch.stack([-mean, mean], 1)


@given(
    st.lists(st.tuples(st.sets(st.integers(0, 5), min_size=1), st.booleans()), max_size=6),
    st.sampled_from([None, 1, 2]),
)
def test_each_pass_is_charged_to_its_samples(visits: list[tuple[set[int], bool]], piece: int | None) -> None:
    watched = Watched(_Sign(), torch.zeros(6, dtype=torch.int64))
    objective = misclassify(watched, torch.zeros(6, dtype=torch.int64))
    forwards, backwards = [0] * 6, [0] * 6
    with in_pieces(piece):
        for visited, with_gradient in visits:
            rows = torch.tensor(sorted(visited))
            (backprop if with_gradient else evaluate)(objective, torch.zeros(len(rows), 1, 2, 2), rows)
            for row in visited:
                forwards[row] += 1
                backwards[row] += with_gradient
    assert [part.tolist() for part in watched.passes()] == [forwards, backwards]


def test_the_first_success_is_counted_in_passes_before_it() -> None:
    watched = Watched(_Sign(), torch.zeros(3, dtype=torch.int64), tracing=True)
    for value in (-1.0, -1.0, 1.0, -1.0):
        watched(torch.tensor([value, -1.0, 1.0]).reshape(3, 1, 1, 1))
    assert watched.first_success.tolist() == [2, -1, 0]
    assert watched.hits.tolist() == [1, 0, 4]
    assert watched.trajectory().tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]]


def test_a_target_is_a_success_when_hit() -> None:
    watched = Watched(_Sign(), torch.ones(2, dtype=torch.int64), targeted=True)
    watched(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
    assert watched.first_success.tolist() == [0, -1]


@given(st.integers(1, 9), st.lists(st.tuples(st.integers(1, 7), st.booleans()), max_size=12))
def test_a_budget_binds_calls_on_images_of_unknown_samples(budget: int, calls: list[tuple[int, bool]]) -> None:
    watched = Watched(_Sign(), torch.zeros(4, dtype=torch.int64), budget=budget)
    watched(torch.full((4, 1, 1, 1), 0.5))  # a pass of each
    for size, with_gradient in calls:
        x = torch.full((size if size != 4 else 5, 1, 1, 1), 0.5, requires_grad=with_gradient)
        logits = watched(x)
        if logits.requires_grad:
            logits.sum().backward()
        assert logits.shape == (len(x), 2)
    forwards, backwards = watched.passes()
    assert int((forwards + backwards).max()) <= budget + 1  # two shares, each rounded up


def test_calls_on_unknown_parts_of_the_batch_are_spread_evenly() -> None:
    watched = Watched(_Sign(), torch.zeros(4, dtype=torch.int64))
    z = torch.zeros(3, 1, 2, 2, requires_grad=True)
    watched(z).sum().backward()
    assert [part.tolist() for part in watched.passes()] == [[1, 1, 1, 1], [1, 1, 1, 1]]


def test_logits_pass_unchanged() -> None:
    x = torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Watched(_Sign(), torch.zeros(4, dtype=torch.int64))(x), _Sign()(x))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_a_sample_asked_several_times_in_one_call_is_charged_for_each(asked: list[int]) -> None:
    watched = Watched(_Sign(), torch.zeros(4, dtype=torch.int64), tracing=True)
    values = torch.tensor([1.0 if asked[:i].count(row) == 1 else -1.0 for i, row in enumerate(asked)])
    logits_at(watched, values.reshape(-1, 1, 1, 1), torch.tensor(asked))
    counts = [asked.count(row) for row in range(4)]
    assert watched.forwards.tolist() == counts
    # The second question about a sample is the one that succeeds.
    assert watched.first_success.tolist() == [1 if count > 1 else -1 for count in counts]
    for row, classes in enumerate(watched.trajectory().tolist()):
        assert classes[: counts[row]] == [int(turn == 1) for turn in range(counts[row])]


@given(st.integers(1, 9), st.booleans(), st.booleans())
def test_nobody_gets_more_than_the_budget(budget: int, with_gradient: bool, targeted: bool) -> None:
    y = torch.tensor([0, 0, 1])
    plain = Watched(_Sign(), y, targeted=targeted)
    capped = Watched(_Sign(), y, targeted=targeted, budget=budget)
    x = torch.tensor([-1.0, 1.0, 2.0]).reshape(3, 1, 1, 1)
    ask = backprop if with_gradient else evaluate
    price = 2 if with_gradient else 1
    for turn in range(8):
        free = ask(misclassify(plain, y, targeted=targeted), x, torch.arange(3))
        held = ask(misclassify(capped, y, targeted=targeted), x, torch.arange(3))
        answer, goal = (held[0], held[1]) if with_gradient else (held, None)
        if (turn + 1) * price <= budget:
            assert torch.equal(answer.loss, (free[0] if with_gradient else free).loss)  # type: ignore[arg-type]
        else:  # silence: the goal is not met, and there is nothing to follow
            assert not answer.reached.any()
            assert goal is None or not goal.any()
    forwards, backwards = capped.passes()
    assert int((forwards + backwards).max()) == min(8, budget // price) * price


@given(st.integers(1, 9))
def test_the_gradient_of_a_gradient_is_no_way_past_the_budget(budget: int) -> None:
    """It takes a forward and two backward passes, of which only two were foreseen when the model was asked."""
    watched, z = Watched(_Sign(), torch.zeros(2, dtype=torch.int64), budget=budget), torch.ones(2, 1, 1, 1)
    for _ in range(4):
        z.requires_grad_()
        logits = watched(z)
        if not logits.requires_grad:  # silence
            break
        (grad,) = torch.autograd.grad(logits[:, 1].sum(), z, create_graph=True)
        torch.autograd.grad(grad.square().sum() + logits.sum(), z)
    forwards, backwards = watched.passes()
    assert (forwards + backwards).tolist() == [budget - (budget % 3 == 1)] * 2  # the last pass alone is none to go on


def test_one_spent_sample_does_not_silence_the_others() -> None:
    y = torch.zeros(2, dtype=torch.int64)
    watched = Watched(_Sign(), y, budget=2)
    x = torch.ones(2, 1, 1, 1)
    for _ in range(2):
        logits_at(watched, x[:1], torch.tensor([0]))
    assert labels_at(watched, x, torch.arange(2)).tolist() == [0, 1]
    assert watched.forwards.tolist() == [2, 1]


def test_the_first_success_is_noted_at_each_radius() -> None:
    x = torch.zeros(1, 1, 1, 1)
    watched = Watched(_Sign(), torch.zeros(1, dtype=torch.int64), reach=(x, inf, (0.1, 0.5, 2.0)))
    for value in (-0.05, 1.0, 0.3, 0.4, 0.1):
        watched(x + value)
    assert watched.first_within.tolist() == [[4, 2, 1]]
    assert watched.first_success.tolist() == [1]


def test_a_decision_is_all_that_comes_back() -> None:
    x = torch.tensor([-3.0, 0.2]).reshape(2, 1, 1, 1).requires_grad_()
    decided = Watched(_Sign(), torch.zeros(2, dtype=torch.int64), access="decision")(x)
    assert decided.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert not decided.requires_grad
    scored = Watched(_Sign(), torch.zeros(2, dtype=torch.int64), access="scores")(x)
    assert torch.equal(scored, _Sign()(x).detach())
    assert not scored.requires_grad
    with pytest.raises(ConfigError, match="access 'none'"):
        Watched(_Sign(), torch.zeros(2, dtype=torch.int64), access="none")(x)


def test_a_spent_budget_leaves_the_model_alone() -> None:
    asked: list[int] = []

    class Heard(_Sign):
        def forward(self, x: Tensor) -> Tensor:
            asked.append(len(x))
            return super().forward(x)

    watched = Watched(Heard(), torch.zeros(2, dtype=torch.int64), budget=1)
    for _ in range(3):
        logits_at(watched, torch.ones(2, 1, 1, 1), torch.arange(2))
    assert asked == [2]

"""The books are right whoever calls the model, and a look at them changes nothing."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.gradients import backprop, evaluate, in_pieces
from advbench.core.objectives import misclassify
from advbench.models.watch import Watched


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


def test_calls_on_unknown_parts_of_the_batch_are_spread_evenly() -> None:
    watched = Watched(_Sign(), torch.zeros(4, dtype=torch.int64))
    z = torch.zeros(3, 1, 2, 2, requires_grad=True)
    watched(z).sum().backward()
    assert [part.tolist() for part in watched.passes()] == [[1, 1, 1, 1], [1, 1, 1, 1]]


def test_logits_pass_unchanged() -> None:
    x = torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Watched(_Sign(), torch.zeros(4, dtype=torch.int64))(x), _Sign()(x))

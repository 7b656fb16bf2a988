"""Scores and their gradients: the same for every cut and every order of memory, and variants in bounded turns."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.gradients import in_pieces
from advbench.core.scoring import all_rows, fitting_piece, row_pieces, score_gradient, scores_at, turns
from advbench.core.targets import logit
from tests.attacks.small_nets import conv_net, images


class Watching(nn.Module):
    """Notes the number of samples and the order of memory of each pass; flattens with `view` if asked to."""

    def __init__(self, views: bool) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 4 * 5, 3)
        self.views = views
        self.seen: list[tuple[int, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((len(x), x.is_contiguous(memory_format=torch.channels_last)))
        maps: Tensor = self.conv(x).tanh()
        scores: Tensor = self.head(maps.view(len(x), -1) if self.views else maps.flatten(1))
        return scores


@given(st.integers(0, 40), st.sampled_from([None, 1, 3, 500]))
def test_pieces_hold_every_row_once_and_are_no_larger_than_asked(batch: int, size: int | None) -> None:
    x = torch.empty(batch, 3, 150, 150)
    with in_pieces(size):
        pieces, most = row_pieces(x), fitting_piece(x)
    assert torch.equal(torch.cat(pieces), torch.arange(batch))
    assert most is not None
    assert all(len(piece) <= most for piece in pieces)
    assert len(pieces) == max(1, -(-batch // most))


@given(st.integers(0, 60), st.integers(0, 40), st.sampled_from([None, 1, 3, 500]), st.sampled_from([None, 100]))
def test_turns_cover_every_variant_once_and_stay_within_bounds(
    count: int, batch: int, size: int | None, least: int | None
) -> None:
    with in_pieces(size):
        found = list(turns(count, batch, least))
    assert [k for turn in found for k in turn] == list(range(count))
    bound = size or max(least or 0, 32)
    assert all(len(turn) == 1 or len(turn) * batch <= bound for turn in found)


@pytest.mark.parametrize("views", [False, True])
@pytest.mark.parametrize("size", [None, 1, 2])
def test_gradients_and_scores_are_those_of_the_plain_pass(views: bool, size: int | None) -> None:
    x, rows = torch.rand(5, 3, 6, 7, generator=torch.Generator().manual_seed(1)), torch.arange(5)
    y = torch.tensor([0, 2, 1, 1, 0])
    leaf = x.clone().requires_grad_()
    expected = Watching(views)(leaf).gather(1, y[:, None])[:, 0]
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    model = Watching(views)
    with in_pieces(size):
        value, grad = score_gradient(model, x, logit(y), rows)
        again = scores_at(model, x, logit(y), rows)
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(again, expected.detach())
    torch.testing.assert_close(grad, slope)
    assert grad.is_contiguous()
    assert all(count <= (size or 5) for count, _ in model.seen)
    orders = {last for _, last in model.seen}
    assert orders == ({True, False} if views else {True})


def test_a_processor_gets_eight_large_images_at_a_time_unless_told_otherwise() -> None:
    assert fitting_piece(torch.empty(32, 3, 224, 224)) == 8
    assert fitting_piece(torch.empty(1, 3, 2000, 2000)) == 1
    assert fitting_piece(torch.empty(0, 1, 28, 28)) == 1536
    with in_pieces(5):
        assert fitting_piece(torch.empty(32, 3, 224, 224)) == 5


def test_another_error_of_the_model_comes_through_at_its_first_pass() -> None:
    class Broken(nn.Module):
        passes = 0

        def forward(self, x: Tensor) -> Tensor:
            self.passes += 1
            raise RuntimeError("broken")

    model = Broken()
    x = torch.rand(2, 3, 4, 4)
    with pytest.raises(RuntimeError, match="broken"):
        score_gradient(model, x, logit(0), all_rows(x))
    assert model.passes == 1


def test_rows_may_repeat() -> None:
    x, y, _ = images(conv_net(), 3)
    rows = torch.tensor([0, 1, 2, 0, 1, 2])
    value, grad = score_gradient(conv_net(), x[rows], logit(y), rows)
    assert torch.allclose(value[:3], value[3:])
    assert torch.allclose(grad[:3], grad[3:])

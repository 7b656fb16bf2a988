"""A weighted sum of gradients is that of the single ones, with and without the one way back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.gradients import in_pieces
from advbench.core.scoring import score_gradient
from advbench.core.summed_gradient import summed_gradient
from advbench.core.targets import logit
from tests.attacks.small_nets import Counting, conv_net


def variants(turns: list[int], samples: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    source = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(turn, samples, 1, 6, 6, generator=source), torch.randn(turn, generator=source)) for turn in turns
    ]


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(0, 5),
    st.sampled_from([None, 1, 3, 100]),
    st.sampled_from([None, "0.0"]),
    st.integers(0, 10),
)
def test_the_sum_is_that_of_the_single_gradients(
    turns: list[int], samples: int, size: int | None, entry: str | None, seed: int
) -> None:
    model, rows = conv_net().requires_grad_(False), torch.arange(samples)
    target, given_variants = logit(torch.arange(samples) % 4), variants(turns, samples, seed)
    with in_pieces(size):
        total = summed_gradient(model, target, rows, given_variants, entry)
    single = [
        weight * score_gradient(model, z, target, rows)[1]
        for images, weights in given_variants
        for z, weight in zip(images, weights, strict=True)
    ]
    assert total.shape == (samples, 1, 6, 6)
    assert torch.allclose(total, torch.stack(single).sum(0), atol=1e-5)


@pytest.mark.parametrize("entry", [None, "model.0.0"])
def test_every_variant_passes_once_under_its_own_row(entry: str | None) -> None:
    model = Counting(conv_net().requires_grad_(False), 3)
    summed_gradient(
        model, logit(torch.zeros(3, dtype=torch.int64)), torch.tensor([2, 0]), variants([2, 3], 2, 0), entry
    )
    assert model.passes.tolist() == [5, 0, 5]


def test_a_relu_that_overwrites_the_layers_output_does_not_disturb() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv, head = nn.Conv2d(1, 2, 3), nn.Linear(32, 4)
    there = nn.Sequential(conv, nn.ReLU(inplace=True), nn.Flatten(), head).requires_grad_(False)
    apart = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), head)
    target, rows, images = logit(torch.tensor([1, 3])), torch.arange(2), variants([3], 2, 1)
    assert torch.allclose(
        summed_gradient(there, target, rows, images, "0"), summed_gradient(apart, target, rows, images), atol=1e-6
    )


def test_a_score_without_gradient_gives_zeros_and_no_variants_an_error() -> None:
    class Hard(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 6)

        def forward(self, x: Tensor) -> Tensor:
            return (self.conv(x).flatten(1) > 0).float()

    class Cut(Hard):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                scores: Tensor = self.conv(x).flatten(1)
            return scores

    target, rows = logit(torch.tensor([1])), torch.arange(1)
    total = summed_gradient(Hard().requires_grad_(False), target, rows, variants([2], 1, 0), "conv")
    assert torch.equal(total, torch.zeros(1, 1, 6, 6))
    assert torch.equal(summed_gradient(Cut(), target, rows, variants([2], 1, 0), "conv"), torch.zeros(1, 1, 6, 6))
    with pytest.raises(ValueError, match="no variants"):
        summed_gradient(Hard(), target, rows, [])

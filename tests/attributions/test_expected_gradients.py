"""expected_gradients is the mean over random baselines of what integrated gradients integrates."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from torch import nn

from advbench.attributions.expected_gradients import expected_gradients
from advbench.attributions.integrated_gradients import integrated_gradients
from advbench.core.draws import Draws
from advbench.core.gradients import in_pieces
from advbench.testing import linear_problem
from advbench.types import ConfigError
from tests.attacks.small_nets import conv_net, images
from tests.strategies import seeds, shapes


@given(shapes(largest=4), seeds())
def test_on_a_linear_model_it_is_the_weight_times_the_distance_from_the_reference(
    shape: tuple[int, int, int], seed: int
) -> None:
    problem = linear_problem(shape, 3, 4, seed)
    weights = problem.model.weight[problem.y].reshape(problem.x.shape).float()
    reference = torch.rand(1, *problem.x.shape[1:], generator=torch.Generator().manual_seed(seed))
    heat = expected_gradients(problem.model, problem.x, problem.y, references=reference, samples=3)
    assert torch.allclose(heat, weights * (problem.x - reference), atol=1e-5)


def test_with_references_it_converges_to_the_mean_of_integrated_gradients() -> None:
    x, y, draws = images(conv_net(), 3)
    references = images(conv_net(), 4, seed=7)[0]
    expected = integrated_gradients(conv_net(), x, y, baseline=list(references), nodes=256, most=256)
    error = [
        float((expected_gradients(conv_net(), x, y, draws=draws, references=references, samples=n) - expected).std())
        for n in (20, 2000)
    ]
    assert error[1] < 0.05 * float(expected.std())
    assert error[1] < 0.25 * error[0]


def test_with_noise_the_sum_is_right_in_expectation() -> None:
    """Over 60 seeds the mean sum lies within three standard errors of the score minus the mean score of noise."""
    x, y, _ = images(conv_net(), 2)
    noise = torch.rand(4000, 1, 6, 6, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = conv_net()(x).gather(1, y[:, None])[:, 0] - conv_net()(noise)[:, y].mean(0)
    sums = torch.stack(
        [
            expected_gradients(conv_net(), x, y, draws=Draws(seed, torch.arange(2))).flatten(1).sum(1)
            for seed in range(60)
        ]
    )
    assert bool(((sums.mean(0) - expected).abs() < 3.0 * sums.std(0) / 60**0.5 + 0.05).all())


def test_draws_decide_and_neither_batch_nor_pieces_matter() -> None:
    x, y, draws = images(conv_net(), 5)
    for references in (None, images(conv_net(), 4, seed=7)[0]):
        whole = expected_gradients(conv_net(), x, y, draws=draws, references=references)
        other = Draws(9, torch.arange(5))
        assert not torch.allclose(expected_gradients(conv_net(), x, y, draws=other, references=references), whole)
        row = torch.tensor([3])
        alone = expected_gradients(conv_net(), x[row], y[row], draws=draws.rows(row), references=references)
        assert torch.allclose(alone, whole[row], atol=1e-5)
        with in_pieces(4):
            pieces = expected_gradients(conv_net(), x, y, draws=draws, references=references)
        assert torch.allclose(pieces, whole, atol=1e-5)


def test_a_dead_score_and_an_empty_batch_give_zeros() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 1), nn.ReLU())
    with torch.no_grad():
        model[1].weight.fill_(-1.0)  # type: ignore[operator]
        model[1].bias.fill_(-1.0)  # type: ignore[operator]
    x, y = torch.rand(2, 1, 2, 2), torch.tensor([0, 0])
    assert torch.equal(expected_gradients(model, x, y), torch.zeros_like(x))
    assert expected_gradients(model, x[:0], y[:0]).shape == (0, 1, 2, 2)


def test_what_makes_no_sense_is_refused() -> None:
    x, y, _ = images(conv_net(), 2)
    with pytest.raises(ConfigError, match="samples must be at least 1, got 0"):
        expected_gradients(conv_net(), x, y, samples=0)
    for references in (torch.rand(3, 1, 5, 6), torch.rand(0, 1, 6, 6)):
        with pytest.raises(ConfigError, match=r"references must be images \(1, 6, 6\)"):
            expected_gradients(conv_net(), x, y, references=references)

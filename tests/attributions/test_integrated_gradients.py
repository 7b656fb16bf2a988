"""integrated_gradients keeps its axioms: completeness, dummy, symmetry, linearity, implementation invariance."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attributions.integrated_gradients import integrated_gradients
from advbench.core.gradients import in_pieces
from advbench.core.targets import log_probability, logit, plus, times
from advbench.core.transforms import blur
from advbench.testing import linear_problem
from advbench.types import ConfigError
from tests.attacks.small_nets import conv_net, images
from tests.strategies import seeds, shapes

Y = torch.tensor([0, 1, 3, 2, 2])


def smooth_net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.Softplus(), nn.Conv2d(6, 6, 3), nn.Softplus(), nn.Flatten(), nn.Linear(24, 4)
        ).double()


def pictures() -> Tensor:
    return images(conv_net(), 5)[0]


def score(model: nn.Module, x: Tensor) -> Tensor:
    found: Tensor = model(x).detach()
    return found.gather(1, Y[:, None])[:, 0]


def total(heat: Tensor) -> Tensor:
    return heat.flatten(1).sum(1)


@given(shapes(largest=4), seeds(), st.integers(1, 9))
def test_on_a_linear_model_any_number_of_nodes_is_exact(shape: tuple[int, int, int], seed: int, nodes: int) -> None:
    problem = linear_problem(shape, 3, 4, seed)
    weights = problem.model.weight[problem.y].reshape(problem.x.shape).float()
    start = torch.rand(problem.x.shape, generator=torch.Generator().manual_seed(seed))
    heat = integrated_gradients(problem.model, problem.x, problem.y, baseline=start, nodes=nodes, most=nodes)
    assert torch.allclose(heat, weights * (problem.x - start), atol=1e-5)


def test_on_a_smooth_net_it_is_complete_to_a_millionth() -> None:
    model, x = smooth_net(), pictures().double()
    heat = integrated_gradients(model, x, Y, nodes=64, most=64)
    torch.testing.assert_close(total(heat), score(model, x) - score(model, torch.zeros_like(x)), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("tolerance", [0.05, 0.01])
def test_refinement_makes_a_net_of_relus_complete(tolerance: float) -> None:
    model, x = conv_net(), pictures()
    change = score(model, x) - score(model, torch.zeros_like(x))
    rough = total(integrated_gradients(model, x, Y, nodes=2, most=2)) - change
    assert bool((rough.abs() > tolerance * change.abs()).any())
    heat = integrated_gradients(model, x, Y, nodes=2, most=512, tolerance=tolerance)
    assert bool(((total(heat) - change).abs() <= tolerance * change.abs() + 1e-4).all())


def test_only_samples_with_a_gap_are_refined() -> None:
    """Per sample: what a neighbour needs does not matter, and who is complete keeps its first map."""
    model, x = conv_net(), pictures()
    change = score(model, x) - score(model, torch.zeros_like(x))
    first = integrated_gradients(model, x, Y, nodes=16, most=16)
    gap = (total(first) - change).abs() / change.abs()
    tolerance = float(gap.median())
    refined = integrated_gradients(model, x, Y, nodes=16, most=128, tolerance=tolerance)
    content = gap <= tolerance
    assert torch.allclose(refined[content], first[content], atol=1e-6)
    assert bool((refined[~content] != first[~content]).flatten(1).any(1).all())
    for i in range(5):
        row = slice(i, i + 1)
        alone = integrated_gradients(model, x[row], Y[row], nodes=16, most=128, tolerance=tolerance)
        assert torch.allclose(alone, refined[row], atol=1e-5)


def test_the_path_back_has_the_opposite_sign_and_no_path_gives_zero() -> None:
    model, x, other = conv_net(), pictures(), pictures().flip(0)
    there = integrated_gradients(model, x, Y, baseline=other)
    back = integrated_gradients(model, other, Y, baseline=x)
    assert torch.allclose(there, -back, atol=1e-5)
    assert torch.equal(integrated_gradients(model, x, Y, baseline=x), torch.zeros_like(x))


def test_it_is_linear_in_the_score() -> None:
    model, x = smooth_net(), pictures().double()
    both = plus(times(2.0, logit(Y)), times(-3.0, log_probability(0)))
    parts = [integrated_gradients(model, x, part, most=32) for part in (logit(Y), log_probability(0))]
    torch.testing.assert_close(integrated_gradients(model, x, both, most=32), 2.0 * parts[0] - 3.0 * parts[1])


def test_unused_pixels_get_nothing_and_twins_the_same() -> None:
    """max(0, a + b) ** 2 - c: a and b are exchangeable, d is not read."""

    class Squared(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            a, b, c, _ = z.flatten(1).unbind(1)
            return ((a + b).clamp_min(0.0) ** 2 - c)[:, None]

    x = torch.tensor([[[[0.3, 0.3], [0.5, 0.9]]]])
    heat = integrated_gradients(Squared(), x, torch.tensor([0]))
    assert torch.allclose(heat, torch.tensor([[[[0.18, 0.18], [-0.5, 0.0]]]]), atol=1e-6)


def test_baselines_by_name_as_images_and_averaged() -> None:
    model, x = smooth_net(), pictures().double()
    grey = integrated_gradients(model, x, Y, baseline=0.5)
    assert torch.equal(grey, integrated_gradients(model, x, Y, baseline=torch.full_like(x, 0.5)))
    assert torch.equal(grey, integrated_gradients(model, x, Y, baseline=torch.full_like(x[0], 0.5)))
    soft = blur(6 / 22.4)(x, images(conv_net(), 5)[2], 0)
    blurred = integrated_gradients(model, x, Y, baseline="blur")
    torch.testing.assert_close(total(blurred), score(model, x) - score(model, soft), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(integrated_gradients(model, x, Y, baseline=(0.5, "blur")), (grey + blurred) / 2)


def test_a_dead_score_and_an_empty_batch() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU())
    with torch.no_grad():
        model[1].weight.fill_(-1.0)  # type: ignore[operator]
        model[1].bias.fill_(-1.0)  # type: ignore[operator]
    x = torch.rand(2, 1, 2, 2)
    assert torch.equal(integrated_gradients(model, x, torch.tensor([0, 1])), torch.zeros_like(x))
    assert integrated_gradients(model, x[:0], torch.tensor([], dtype=torch.int64)).shape == (0, 1, 2, 2)


def test_the_size_of_the_pieces_does_not_matter() -> None:
    model, x = conv_net(), pictures()
    whole = integrated_gradients(model, x, Y)
    for size in (1, 7):
        with in_pieces(size):
            assert torch.allclose(integrated_gradients(model, x, Y), whole, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"nodes": 0}, "nodes must be at least 1"),
        ({"most": 8}, "most at least nodes"),
        ({"tolerance": 0.0}, "tolerance positive"),
        ({"baseline": "white"}, "got 'white'"),
        ({"baseline": []}, "is empty"),
        ({"baseline": torch.zeros(2, 1, 6, 6)}, r"got \(2, 1, 6, 6\)"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        integrated_gradients(conv_net(), pictures(), Y, **wrong)  # type: ignore[arg-type]

"""var_grad is the variance that smooth_grad averages away."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbench.attributions.smooth_grad import smooth_grad
from advbench.attributions.var_grad import var_grad
from advbench.core.gradients import in_pieces
from advbench.core.noisy_gradients import noisy_gradients
from advbench.core.targets import logit, of_output
from advbench.testing import linear_problem
from tests.attacks.small_nets import conv_net, images
from tests.strategies import seeds, shapes


@given(shapes(largest=4), seeds())
def test_a_linear_model_has_none(shape: tuple[int, int, int], seed: int) -> None:
    problem = linear_problem(shape, 3, 4, seed)
    assert float(var_grad(problem.model, problem.x, problem.y, samples=5).abs().max()) < 1e-9


@settings(max_examples=12)
@given(st.integers(1, 30), st.sampled_from([None, 1, 4, 7]))
def test_it_is_the_mean_square_minus_the_square_of_the_mean(samples: int, size: int | None) -> None:
    x, y, draws = images(conv_net(), 3)
    with in_pieces(size):
        squares = smooth_grad(conv_net(), x, y, draws=draws, samples=samples, squared=True)
        found = var_grad(conv_net(), x, y, draws=draws, samples=samples)
        mean = noisy_gradients(conv_net(), x, logit(y), draws, noise=0.15, samples=samples).mean
    assert torch.allclose(found, squares - mean.square(), atol=1e-4 * float(squares.max()))
    assert bool((found >= 0).all())


def test_against_the_variance_of_the_draws_themselves() -> None:
    """The gradient of half the sum of squares is the noisy image: its variance is that of the noise drawn."""
    x, _, draws = images(conv_net(), 2)
    halved = of_output(lambda output: output.flatten(1).sum(1))
    noise = 0.15 * (x.flatten(1).amax(1) - x.flatten(1).amin(1))[:, None, None, None]
    drawn = torch.stack([noise * draws.normal((1, 6, 6), "noise", k) for k in range(10)])

    class Halved(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return 0.5 * z.square()

    found = var_grad(Halved(), x, halved, draws=draws, samples=10)
    torch.testing.assert_close(found, drawn.var(0, correction=0), rtol=1e-4, atol=1e-7)

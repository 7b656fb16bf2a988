"""VarGrad: the variance of the gradient over noisy copies of the image. Adebayo et al. 2018, arXiv:1810.03307."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.attributions.cheaper import cheaper
from advbench.core.draws import Draws
from advbench.core.noisy_gradients import noisy_gradients
from advbench.core.targets import Explained, as_target
from advbench.registry import attribution


@attribution(paper="arXiv:1810.03307")
def var_grad(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    *,
    draws: Draws | None = None,
    noise: float = 0.15,
    samples: int = 25,
) -> Tensor:
    """Variance over noisy copies of x of the gradient of the score of y: (B, C, H, W), not negative.

    In squared score per squared unit of pixel value: the mean squared deviation from the mean gradient at those copies.
    They are the ones of `smooth_grad`'s `squared` map with the same draws, noise and samples, so it is that map minus
    the square of the mean gradient; the plain map has other copies, of which mirrored ones share a draw. It shows where
    the gradient turns near x and is zero where the network is linear. Parameters, draws and errors are those of
    `smooth_grad`; y: classes (B,), meaning raw scores, or any target.
    """
    target = as_target(y)
    net = cheaper(model, x, target, samples)
    return noisy_gradients(net, x, target, draws, noise=noise, samples=samples).variance

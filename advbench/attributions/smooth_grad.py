"""SmoothGrad: the mean gradient of noisy copies of the image. Smilkov et al. 2017, arXiv:1706.03825."""

from __future__ import annotations

from torch import Tensor, nn

from advbench.attributions.cheaper import cheaper, entry_of
from advbench.core.draws import Draws
from advbench.core.noisy_gradients import mean_noisy_gradient, noisy_gradients
from advbench.core.targets import Explained, as_target
from advbench.registry import attribution


@attribution(paper="arXiv:1706.03825")
def smooth_grad(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    *,
    draws: Draws | None = None,
    noise: float = 0.15,
    samples: int = 25,
    squared: bool = False,
) -> Tensor:
    """Mean over noisy copies of x of the gradient of the score of y: (B, C, H, W), signed.

    In score per unit of pixel value. noise: standard deviation of the Gaussian noise as a share of the sample's own
    largest minus smallest value (the paper: 0.1 to 0.2). samples: copies of each image (the paper sees little change
    beyond 50; 25 is its authors' code). Copies are not clipped to the pixel range: that would shift their mean.
    squared: mean of the squared gradient instead, not negative (arXiv:1806.10758). y: classes (B,), meaning raw scores,
    or any target. Zero where a SqueezeNet class stays dead in all copies.

    draws: a sample's noise does not depend on the batch; without draws that of seed 0. Raises ConfigError if noise is
    negative or samples < 1.
    """
    target = as_target(y)
    net = cheaper(model, x, target, samples)
    if squared:
        mean, variance = noisy_gradients(net, x, target, draws, noise=noise, samples=samples)
        return mean.square() + variance
    entry = entry_of(net, model)
    return mean_noisy_gradient(net, x, target, draws, noise=noise, samples=samples, entry=entry)

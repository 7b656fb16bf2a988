"""Class images without a prior made for the network: convolutions, transformers and MLPs by the same call.

Ghiasi et al. 2022, arXiv:2201.12961: the image grows from its centre, colours are shifted at every look, and every step
averages over an ensemble of looks.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from advbench.core.colour_shift import colour_shift
from advbench.core.draws import Draws
from advbench.core.priors import total_variation
from advbench.core.projections import into_box
from advbench.core.step_rules import adam, cosine
from advbench.core.targets import Target, parse_target
from advbench.core.transforms import View, compose, jitter, noise
from advbench.registry import synthesis
from advbench.synthesis.render import Weighted, render
from advbench.types import ConfigError

STAGES = 7  # arXiv:2201.12961, algorithm 1


@synthesis(paper="arXiv:2201.12961")
def plug_in_inversion(
    model: nn.Module,
    target: str | Target,
    *,
    draws: Draws,
    shape: tuple[int, int, int] = (3, 224, 224),
    steps: int = 40,
    ensemble: int = 4,
    step_size: float = 0.1,
    spread: float = 1.0,
    shift: float = 1 / 7,
    grain: float = 0.2,
    variation: float = 0.0,
) -> Tensor:
    """Images (B, C, H, W) in [0, 1] of `shape`, one for each sample of the draws, that raise the target.

    target: as in `visualize`; the paper lowers cross entropy, which is "log_prob:N". Seven stages of `steps` steps
    (paper: 400, too many for a CPU) on canvases as in `canvas_sizes`, each look zoomed to the network's size.
    ensemble: looks in a step (paper: 32). step_size: of Adam, falling along a cosine in each stage. spread: of the
    colour shift, `core.colour_shift`. shift: jitter each way as a share of the canvas. grain: standard deviation of the
    noise added to each look, falling to nothing at the last stage. variation: times the mean total variation, 0 as in
    the paper. Raises ConfigError for a target that is none and numbers below 1.
    """
    if steps < 1 or ensemble < 1:
        raise ConfigError(f"plug_in_inversion: need steps >= 1 and ensemble >= 1, got {steps} and {ensemble}")
    wanted = parse_target(target) if isinstance(target, str) else target
    size = (shape[1], shape[2])
    first, _ = canvas_sizes(size)[0]
    z = draws.uniform((shape[0], *first), "centre")
    for stage, (grown, padded) in enumerate(canvas_sizes(size)):
        mine = draws.branch(f"stage {stage}")
        looks: list[View] = [jitter(max(1, round(shift * min(padded)))), _zoom(size), colour_shift(spread)]
        if grain and stage < STAGES - 1:
            looks.append(noise(grain * (1.0 - stage / (STAGES - 1))))
        priors: list[Weighted] = [(variation / (shape[0] * padded[0] * padded[1]), total_variation())]
        z = render(
            model,
            wanted,
            _in_noise(_resized(z, grown), padded, mine),
            draws=mine,
            step=adam(step_size, decay=(0.5, 0.99), schedule=cosine(1.0, 0.0)),
            steps=steps,
            view=compose(*looks),
            looks=ensemble,
            priors=[each for each in priors if each[0]],
            project=into_box(),
        )
    return z


def canvas_sizes(size: tuple[int, int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """For each stage s = 1 .. 7 the (height, width) that the image grows to, and with the noise around it.

    (2 s + 1) / 16 and (2 s + 2) / 16 of the network's size, which the last canvas has.
    """

    def share(sixteenths: int) -> tuple[int, int]:
        return max(1, round(size[0] * sixteenths / 16)), max(1, round(size[1] * sixteenths / 16))

    return [(share(2 * s + 1), share(2 * s + 2)) for s in range(1, STAGES + 1)]


def _in_noise(z: Tensor, size: tuple[int, int], draws: Draws) -> Tensor:
    """z (B, C, h, w) in the middle of uniform noise (B, C, *size)."""
    canvas = draws.uniform((z.shape[1], *size), "around").to(z)
    top, left = (size[0] - z.shape[2]) // 2, (size[1] - z.shape[3]) // 2
    canvas[:, :, top : top + z.shape[2], left : left + z.shape[3]] = z
    return canvas


def _resized(z: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(z.shape[2:]) == size:
        return z
    return functional.interpolate(z, size=size, mode="bilinear", align_corners=False)


def _zoom(size: tuple[int, int]) -> View:
    return lambda z, draws, counter: _resized(z, size)

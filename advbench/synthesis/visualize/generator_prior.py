"""A picture that a decoder can make and a unit likes: the code climbs. Nguyen et al. 2016, arXiv:1605.09304."""

from __future__ import annotations

from contextlib import nullcontext

from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.parameterisations import Parameterisation
from advbench.core.redirected_relu import redirected_relu
from advbench.core.step_rules import steepest
from advbench.core.targets import Target, parse_target
from advbench.registry import synthesis
from advbench.synthesis.render import render
from advbench.synthesis.visualize.generator import Generator
from advbench.types import ConfigError

_SPREAD = 0.1  # of the starts around the generator's own, as a share of each code unit's range


@synthesis(paper="arXiv:1605.09304")
def generator_prior(
    model: nn.Module,
    target: str | Target,
    *,
    draws: Draws,
    generator: Generator,
    steps: int = 200,
    step_size: float = 0.2,
    decay: float = 0.01,
    redirected: bool = True,
) -> Tensor:
    """Images (B, C, H, W) in [0, 1], one for each sample of the draws: decode(code) for codes that raise the target.

    target: as in `visualize`. generator: `generator.train_generator` on your images, `generator.generator_of` for a
    decoder you have. steps: along the gradient of the code, scaled to length 1, `step_size` times the mean range of the
    code units at first and nothing at last, each followed by a decay towards the start (paper: 0.01) and by clipping to
    the generator's bounds. Raises ConfigError for a target that is none and a decay outside of [0, 1].
    """
    if not 0 <= decay <= 1:
        raise ConfigError(f"generator_prior: decay must be in [0, 1], got {decay}")
    wanted = parse_target(target) if isinstance(target, str) else target
    width = generator.high - generator.low  # (K,)
    noise = draws.normal((len(width),), "code").to(width)
    first = generator.clip(generator.start + _SPREAD * width * noise)
    size = step_size * float(width.mean())

    def project(z: Tensor, rows: Tensor) -> Tensor:
        return generator.clip(z + decay * (generator.start - z))

    def encode(image: Tensor) -> Tensor:
        raise ConfigError("generator_prior: a decoder has no code for a given image")

    with frozen(generator.decode), redirected_relu() if redirected else nullcontext():
        return render(
            model,
            wanted,
            first,
            draws=draws,
            step=steepest(2.0, size, schedule=lambda progress: 1.0 - progress),
            steps=steps,
            parameterisation=Parameterisation(encode, generator.decode),
            project=project,
        )

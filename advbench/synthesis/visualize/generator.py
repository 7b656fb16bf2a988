"""Decoders as a prior: codes and the images they stand for, any decoder given or a small one trained here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.core.draws import Draws
from advbench.types import ConfigError

Progress = Callable[[int, float], None]  # step, loss

_SIGMAS = 3.0  # arXiv:1605.09304, section 3.3: codes stay within three standard deviations of those of real images


@dataclass(frozen=True, eq=False)
class Generator:
    """decode: codes (B, K) -> images (B, C, H, W) in [0, 1], differentiable. low, high, start (K,): the bounds of each
    code unit, and where a search starts."""

    decode: nn.Module
    low: Tensor
    high: Tensor
    start: Tensor

    def clip(self, z: Tensor) -> Tensor:
        """Codes (B, K) into the bounds."""
        return torch.minimum(torch.maximum(z, self.low.to(z)), self.high.to(z))


def generator_of(decode: nn.Module, codes: Tensor) -> Generator:
    """A decoder with the bounds that codes (N, K) of real images give: mean plus and minus three deviations."""
    mean, spread = codes.mean(0), codes.std(0)
    return Generator(decode, mean - _SIGMAS * spread, mean + _SIGMAS * spread, mean)


def train_generator(
    images: Tensor,
    *,
    seed: int = 0,
    code: int = 64,
    width: int = 32,
    steps: int = 500,
    batch: int = 32,
    step_size: float = 2e-3,
    progress: Progress | None = None,
) -> Generator:
    """An autoencoder trained on images (N, C, H, W) in [0, 1]: its decoder, with the bounds of their codes.

    code: numbers per image. width: channels of its largest layer. steps of Adam with `batch` images, on the mean
    squared error, which `progress` is told; the step falls along a cosine. Images of any size. torch's own generator is
    left as it was. Raises ConfigError for fewer than two images.
    """
    if len(images) < 2:
        raise ConfigError(f"train_generator: needs at least two images, got {len(images)}")
    shape = (images.shape[1], images.shape[2], images.shape[3])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, decoder = _Encoder(shape, code, width).to(images.device), Decoder(shape, code, width).to(images.device)
    with torch.no_grad():
        # It starts at the mean colour: else the first thing it learns is to be dark, and little gets through after.
        decoder.last.bias.copy_(torch.logit(images.mean((0, 2, 3)), eps=1e-3))  # type: ignore[union-attr]
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=step_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    draws = Draws(seed, torch.arange(min(batch, len(images)), device=images.device))
    with torch.enable_grad():
        for step in range(steps):
            chosen = images[draws.integers(len(images), (), "batch", step)]
            loss = (decoder(encoder(chosen)) - chosen).square().mean()
            grads = torch.autograd.grad(loss, parameters)
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter.grad = grad
            optimiser.step()
            schedule.step()
            if progress is not None:
                progress(step, float(loss.detach()))
    for parameter in parameters:
        parameter.grad = None
    with torch.no_grad():
        codes = torch.cat([encoder(part) for part in torch.split(images, batch)])
    return generator_of(decoder.eval().requires_grad_(False), codes)


class Decoder(nn.Module):
    """Codes (B, K) -> images (B, C, H, W) in [0, 1]: a small map, doubled until it covers the image, then cut."""

    def __init__(self, shape: tuple[int, int, int], code: int, width: int) -> None:
        super().__init__()
        self.shape, self.width = shape, width
        doublings = max(1, math.ceil(math.log2(max(shape[1:]) / 4)))
        self.small = (-(-shape[1] // 2**doublings), -(-shape[2] // 2**doublings))
        self.spread = nn.Linear(code, 2 * width * self.small[0] * self.small[1])
        channels = [2 * width] * max(1, doublings - 1) + [width] * 2
        self.convs = nn.ModuleList(nn.Conv2d(channels[i], channels[i + 1], 3, padding=1) for i in range(doublings))
        self.last = nn.Conv2d(channels[doublings], shape[0], 3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        maps = functional.silu(self.spread(code)).reshape(len(code), 2 * self.width, *self.small)
        for conv in self.convs:
            maps = functional.silu(conv(functional.interpolate(maps, scale_factor=2.0)))
        image: Tensor = self.last(maps).sigmoid()
        return image[:, :, : self.shape[1], : self.shape[2]]


class _Encoder(nn.Module):
    def __init__(self, shape: tuple[int, int, int], code: int, width: int) -> None:
        super().__init__()
        halvings = max(1, math.ceil(math.log2(max(shape[1:]) / 4)))
        channels = [shape[0], width] + [2 * width] * (halvings - 1)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], 3, stride=2, padding=1) for i in range(halvings)
        )
        self.code = nn.LazyLinear(code)
        with torch.no_grad():
            self(torch.zeros(1, *shape))

    def forward(self, image: Tensor) -> Tensor:
        for conv in self.convs:
            image = functional.silu(conv(image))
        code: Tensor = self.code(image.flatten(1))
        return code

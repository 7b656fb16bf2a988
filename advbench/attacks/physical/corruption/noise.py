"""Noise in every component: Gaussian, of photons, of broken pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from advbench.attacks.physical.corruption.severities import Constants
from advbench.core.draws import Draws


def gaussian_noise(image: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """image + normal noise of standard deviation constants[0]."""
    return image + constants[0] * draws.normal(tuple(image.shape[1:]), "noise").to(image)


def shot_noise(image: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Counts of photons, of which white has constants[0] on average."""
    (white,) = constants
    u = draws.uniform(tuple(image.shape[1:]), "photons").to(image.device)
    return (poisson(white * image.double().clamp(0.0, 1.0), u, most=white) / white).to(image)


def impulse_noise(image: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """A share constants[0] of the components is black or white, with equal chance."""
    u = draws.uniform(tuple(image.shape[1:]), "impulse").to(image)
    pepper, salt = u < 0.5 * constants[0], u >= 1.0 - 0.5 * constants[0]
    return image.masked_fill(pepper, 0.0).masked_fill(salt, 1.0)


def poisson(rate: Tensor, u: Tensor, *, most: float) -> Tensor:
    """The quantile at u in [0, 1) of the Poisson distribution of each rate <= most (float64), as float64.

    By adding up probabilities: as many turns as `most` and eight deviations above it, for any batch.
    """
    chance = torch.exp(-rate)  # of k = 0
    below, count = chance.clone(), torch.zeros_like(rate)
    for k in range(1, math.ceil(most + 8.0 * math.sqrt(most)) + 10):
        count += u >= below
        chance = chance * rate / k
        below = below + chance
    return count

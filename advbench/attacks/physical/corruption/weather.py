"""Weather: snow, frost, fog, bright light."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from advbench.attacks.physical.corruption.blur import enlarge, smear
from advbench.attacks.physical.corruption.severities import Constants
from advbench.core.colour import hsv_to_rgb, rgb_to_hsv
from advbench.core.draws import Draws

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: how bright red, green and blue look
_ICE = (0.86, 0.93, 1.0)  # red, green and blue of ice
_FROST_DECAY = 1.4  # of the details of frost, from one octave to the next
_VEINS = 6.0  # how narrow the ridges of frost are


def snow(image: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Flakes, smeared in the direction of their fall, over a whitened image; the flakes show a second time, turned."""
    mean, deviation, zoom, threshold, reach, fall, kept = constants
    flakes = mean + deviation * draws.normal((1, *image.shape[2:]), "flakes").to(image)
    flakes = enlarge(flakes, max(zoom, 1.0))
    flakes = torch.where(flakes < threshold, 0.0, flakes.clamp(0.0, 1.0))
    angle = math.pi * (0.25 + 0.5 * draws.uniform((), "direction"))  # downwards, up to 45 degrees off
    flakes = smear(flakes, -angle.to(image), reach=reach, deviation=fall)
    whitened = torch.maximum(image, 1.5 * _brightness_of(image) + 0.5)
    return kept * image + (1.0 - kept) * whitened + flakes + flakes.flip(2, 3)


def frost(image: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """image * constants[0] + ice * constants[1].

    The published code pastes photographs of frost; here it is a pattern of veins, where fractal noise crosses its
    middle, that is bluish white.
    """
    veins = torch.zeros_like(image[:, :1])
    for i in range(3):
        field = 2.0 * plasma(image, draws.branch(f"layer {i}"), _FROST_DECAY) - 1.0
        veins = torch.maximum(veins, torch.exp(-_VEINS * field.abs()))
    clouds = plasma(image, draws.branch("clouds"), 2.0)
    ice = (0.35 * clouds + 0.65 * veins).clamp(0.0, 1.0)
    colour = image.new_tensor(_ICE if image.shape[1] == 3 else [1.0] * image.shape[1])
    return constants[0] * image + constants[1] * ice * colour[:, None, None]


def fog(image: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Fractal clouds of weight constants[0] over the image, then brought back to its brightest value."""
    weight, decay = constants
    brightest = image.flatten(1).amax(1)[:, None, None, None]
    return (image + weight * plasma(image, draws, decay)) * brightest / (brightest + weight)


def brightness(image: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """constants[0] added to the value of the colour; to every component where there are not three."""
    if image.shape[1] != 3:
        return image + constants[0]
    hue, saturation, value = rgb_to_hsv(image.clamp(0.0, 1.0)).unbind(1)
    return hsv_to_rgb(torch.stack([hue, saturation, (value + constants[0]).clamp(0.0, 1.0)], 1))


def plasma(image: Tensor, draws: Draws, decay: float) -> Tensor:
    """Fractal noise (A, 1, H, W) from 0 to 1 for each image; each octave is decay^2 times fainter than the last.

    Diamond-square (Fournier et al. 1982, doi:10.1145/358523.358553) on a torus: the middle of each square is the mean
    of its corners plus uniform noise, then the middle of each side that of the four points around it.
    """
    height, width = image.shape[2:]
    field = image.new_zeros(len(image), 1, 1, 1)
    amplitude, octave = 1.0, 0
    while field.shape[2] < max(height, width):
        side = field.shape[2]
        noise = draws.uniform((3, 1, side, side), "plasma", octave).to(image)
        middle, beside, below = (amplitude * (2.0 * noise - 1.0)).unbind(1)
        right, down = field.roll(-1, 3), field.roll(-1, 2)
        middle = middle + (field + right + down + right.roll(-1, 2)) / 4.0
        beside = beside + (field + right + middle + middle.roll(1, 2)) / 4.0
        below = below + (field + down + middle + middle.roll(1, 3)) / 4.0
        rows = torch.stack(
            [torch.stack([field, beside], -1).flatten(3), torch.stack([below, middle], -1).flatten(3)], 3
        )
        field, amplitude, octave = rows.flatten(2, 3), amplitude / decay**2, octave + 1
    field = field[..., :height, :width]
    low, high = field.flatten(1).amin(1)[:, None, None, None], field.flatten(1).amax(1)[:, None, None, None]
    return (field - low) / torch.where(high > low, high - low, 1.0)


def _brightness_of(image: Tensor) -> Tensor:
    if image.shape[1] != 3:
        return image.mean(1, keepdim=True)
    return (image * image.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)

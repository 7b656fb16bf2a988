"""What printing an image and photographing the print do to it: random views, differentiable, per sample.

Views as in core.transforms: z (A, C, H, W), the draws of those samples and a counter give (A, C, H, W). Values are
clamped to [0, 1] where a sensor would saturate. Athalye et al. 2018, arXiv:1707.07397, section 3 and appendix.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from advbench.core.draws import Counter, Draws
from advbench.core.transforms import View, compose, noise

# Quantisation of brightness and of colour at quality 50: JPEG standard (ITU-T T.81), annex K, tables K.1 and K.2.
_BRIGHTNESS = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_COLOUR = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99, *(99,) * 32),
)
# Red, green, blue to brightness and two colour differences: ITU-R BT.601 as in the JFIF standard.
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def photographed(
    *,
    rotation: float = 10.0,
    zoom: float = 0.1,
    shift: float = 0.05,
    tilt: float = 0.1,
    light: float = 0.2,
    colour: float = 0.05,
    blur: float = 1.0,
    grain: float = 0.02,
    jpeg: int | None = 50,
) -> View:
    """A print seen by a camera: ink colours, place and angle, light, focus, sensor noise, file format; each at random.

    The parameters are those of `print_colours` (colour), `camera` (rotation, zoom, shift, tilt), `lighting`, `defocus`,
    transforms.noise (grain) and `jpeg_file` (the lowest quality; None: no file). 0 switches a part off.
    """
    parts = [
        (colour, print_colours(colour)),
        (rotation or zoom or shift or tilt, camera(rotation=rotation, zoom=zoom, shift=shift, tilt=tilt)),
        (light, lighting(light)),
        (blur, defocus(blur)),
        (grain, compose(noise(grain), _saturated)),
    ]
    files = [] if jpeg is None else [jpeg_file(jpeg)]
    return compose(*(part for strength, part in parts if strength), *files)


def print_colours(spread: float) -> View:
    """Each channel moved by a number uniform in [-spread, spread]: inks are not the screen's colours."""

    def view(z: Tensor, draws: Draws, counter: Counter) -> Tensor:
        return (z + spread * _centred(draws, (z.shape[1], 1, 1), "ink", counter, z)).clamp(0.0, 1.0)

    return view


def lighting(spread: float) -> View:
    """Contrast about the middle grey times 1 + a, brightness plus b; a and b uniform in [-spread, spread]."""

    def view(z: Tensor, draws: Draws, counter: Counter) -> Tensor:
        a, b = (spread * _centred(draws, (2, 1, 1, 1), "light", counter, z)).unbind(1)
        return ((z - 0.5) * (1.0 + a) + 0.5 + b).clamp(0.0, 1.0)

    return view


def camera(
    *, rotation: float = 0.0, zoom: float = 0.0, shift: float = 0.0, tilt: float = 0.0, fill: float = 0.5
) -> View:
    """The image as a plane before a camera, in one interpolation; each part uniform between minus and plus its limit.

    rotation: degrees about the centre. zoom: share by which it is larger (and cropped) or smaller. shift: shares of the
    sides. tilt: share by which the near edges grow and the far ones shrink, down and across. `fill` lies around it.
    Raises ValueError unless zoom and tilt are below 1 and 0.5.
    """
    if not (0 <= zoom < 1 and 0 <= tilt < 0.5):
        raise ValueError(f"camera: need 0 <= zoom < 1 and 0 <= tilt < 0.5, got {zoom} and {tilt}")

    def view(z: Tensor, draws: Draws, counter: Counter) -> Tensor:
        height, width = z.shape[2:]
        u = _centred(draws, (6, 1, 1), "camera", counter, z)
        angle, grown = math.radians(rotation) * u[:, 0], 1.0 + zoom * u[:, 1]
        move, lean = shift * u[:, 2:4], tilt * u[:, 4:]
        # Coordinates of the canvas from its centre, edges at -1 and 1.
        down, right = (_offsets(side, z) for side in (height, width))
        down, right = down[None, :, None], right[None, None, :]
        depth = grown * (1.0 + lean[:, 0] * down + lean[:, 1] * right)
        down, right = (down * height) / depth, (right * width) / depth
        rows = (angle.cos() * down + angle.sin() * right) / height - 2.0 * move[:, 0]
        columns = (angle.cos() * right - angle.sin() * down) / width - 2.0 * move[:, 1]
        grid = torch.stack([columns, rows], dim=-1)
        return functional.grid_sample(z - fill, grid, padding_mode="zeros", align_corners=False) + fill

    return view


def defocus(largest: float) -> View:
    """A Gaussian blur of standard deviation uniform in [0, largest] pixels; the edge pixels go on outside."""
    reach = math.ceil(3.0 * largest)

    def view(z: Tensor, draws: Draws, counter: Counter) -> Tensor:
        if not len(z):
            return z
        sigma = (largest * draws.uniform((), "focus", counter).to(z)).clamp_min(0.05)[:, None]  # (A, 1)
        kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=z.device).to(z) / sigma) ** 2)
        kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(z.shape[1], 0)[:, None]  # (A C, 1, taps)
        planes = functional.pad(z.flatten(0, 1)[None], (reach,) * 4, mode="replicate")  # (1, A C, H, W)
        planes = functional.conv2d(planes, kernel[..., None], groups=len(kernel))
        return functional.conv2d(planes, kernel[:, :, None], groups=len(kernel)).reshape(z.shape)

    return view


def jpeg_file(lowest: int, highest: int = 95) -> View:
    """Stored as JPEG and read again, at a quality uniform in lowest .. highest; without halving the colours.

    Forwards the coefficients are rounded, backwards the gradient passes straight through the rounding. One and three
    channels have the standard's tables; any others are treated as brightness. Raises ValueError unless
    1 <= lowest <= highest <= 100.
    """
    if not 1 <= lowest <= highest <= 100:
        raise ValueError(f"jpeg_file: need 1 <= lowest <= highest <= 100, got {lowest} and {highest}")

    def view(z: Tensor, draws: Draws, counter: Counter) -> Tensor:
        quality = lowest + draws.integers(highest - lowest + 1, (), "jpeg", counter).to(z)
        return jpeg(z, quality)

    return view


def jpeg(z: Tensor, quality: Tensor) -> Tensor:
    """z (A, C, H, W) in [0, 1] after JPEG at quality (A,) in 1 .. 100, straight through backwards; see `jpeg_file`."""
    height, width = z.shape[2:]
    percent = torch.where(quality < 50, 5000.0 / quality, 200.0 - 2.0 * quality)  # the rule of the IJG's library
    tables, centre, mix, back_mix = _standard(z.shape[1], z.dtype, z.device)
    steps = ((tables * percent[:, None, None] + 50.0) / 100.0).floor().clamp(1.0, 255.0)  # (A, C, 64)
    planes = 255.0 * (_mixed(z, mix) if z.shape[1] == 3 else z) - centre
    filled = functional.pad(planes, (0, -width % 8, 0, -height % 8), mode="replicate")
    down, across = filled.shape[2] // 8, filled.shape[3] // 8
    blocks = filled.reshape(*z.shape[:2], down, 8, across, 8).transpose(3, 4)  # (A, C, down, across, 8, 8)
    dct = _cosines(z)
    step = steps.reshape(*z.shape[:2], 1, 1, 8, 8)
    scaled = dct @ blocks @ dct.T / step
    rounded = scaled + (scaled.round() - scaled).detach()
    back = (dct.T @ (rounded * step) @ dct).transpose(3, 4).reshape(filled.shape)[:, :, :height, :width]
    planes = (back + centre) / 255.0
    return (_mixed(planes, back_mix) if z.shape[1] == 3 else planes).clamp(0.0, 1.0)


@cache
def _standard(channels: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The numbers of the standard: tables (C, 64), centre of the planes (C, 1, 1), colours to planes (3, 3) and back.

    Made once and kept: to copy them to a GPU, or to invert a matrix there, waits for its queue.
    """
    kinds = (_BRIGHTNESS, _COLOUR, _COLOUR) if channels == 3 else (_BRIGHTNESS,) * channels
    # Colour differences are centred as they are; brightness is moved.
    centre = [128.0, 0.0, 0.0] if channels == 3 else [128.0] * channels
    with torch.inference_mode(False):  # what is kept must serve gradients too
        wide = torch.promote_types(dtype, torch.float32)
        tables, middle, mix = (torch.tensor(part, dtype=wide, device="cpu") for part in (kinds, centre, _TO_YCC))
        parts = (tables, middle[:, None, None], mix, torch.linalg.inv(mix))
        tables, middle, mix, back = (part.to(device, dtype) for part in parts)
    return tables, middle, mix, back


def _cosines(like: Tensor) -> Tensor:
    """The orthonormal cosine transform of length 8, (frequency, place)."""
    k = torch.arange(8, dtype=like.dtype, device=like.device)
    rows = torch.cos(math.pi / 8.0 * (k[None] + 0.5) * k[:, None]) / 2.0
    return torch.cat([rows[:1] / math.sqrt(2.0), rows[1:]])


def _mixed(z: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("dc,achw->adhw", matrix, z)


def _saturated(z: Tensor, draws: Draws, counter: Counter) -> Tensor:
    return z.clamp(0.0, 1.0)


def _offsets(side: int, like: Tensor) -> Tensor:
    """Centres of the pixels of a side whose edges are at -1 and 1."""
    return (2.0 * torch.arange(side, dtype=like.dtype, device=like.device) + 1.0) / side - 1.0


def _centred(draws: Draws, shape: tuple[int, ...], purpose: str, counter: Counter, like: Tensor) -> Tensor:
    """(A, *shape) uniform in [-1, 1)."""
    return 2.0 * draws.uniform(shape, purpose, counter).to(like) - 1.0

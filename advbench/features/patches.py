"""The patches that excite a channel most, over many images. Girshick et al. 2014, arXiv:1311.2524, section 3.1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advbench.core.receptive_field import Box, Unit, receptive_fields
from advbench.features.activations import Images, activation_batches, device_of
from advbench.types import ConfigError


@dataclass(frozen=True, eq=False)
class Patches:
    """The k strongest units of each of C channels, the strongest first; at most one per image and channel.

    channels (C,); ids (C, k): the images; rows, columns (C, k): the unit's place in the layer's map; values (C, k).
    """

    layer: str
    channels: Tensor
    ids: Tensor
    rows: Tensor
    columns: Tensor
    values: Tensor

    def units(self) -> list[list[Unit]]:
        """The units, channel by channel."""
        return [
            [Unit(int(channel), int(r), int(c)) for r, c in zip(rows, columns, strict=True)]
            for channel, rows, columns in zip(self.channels, self.rows, self.columns, strict=True)
        ]


def patches(
    model: nn.Module,
    layer: str,
    images: Images,
    ids: Tensor,
    channels: Sequence[int],
    *,
    count: int = 9,
    batch: int = 32,
    progress: bool = False,
) -> Patches:
    """The `count` strongest units of `channels` of `layer` over images(ids), ids (N,) int64, each image once.

    Of equals the earlier id in `ids` wins. With fewer images than `count` there are as many patches as images. Raises
    ConfigError for a layer without rows and columns, a channel that it lacks, and ids that name an image twice.
    """
    if not len(ids) or count < 1 or not channels:
        raise ConfigError("patches need at least one image, one channel and a count of at least 1")
    if len(set(ids.tolist())) != len(ids):
        raise ConfigError("ids name an image twice: it would fill two places of a row")
    wanted = torch.tensor(list(channels))
    kept: tuple[Tensor, Tensor, Tensor] | None = None  # values, ids, flat places: each (C, at most count)
    width = 1
    for seen in activation_batches(model, layer, images, ids, batch=batch, progress=progress):
        _check(seen.output, layer, channels)
        width = seen.output.shape[3]
        values, places = seen.output[:, wanted.to(seen.output.device)].flatten(2).cpu().max(2)  # (B, C)
        new = (values.T, seen.ids.expand(len(channels), -1), places.T)
        kept = _strongest(new if kept is None else _joined(kept, new), count)
    assert kept is not None
    return Patches(layer, wanted, kept[1], kept[2] // width, kept[2] % width, kept[0])


def strongest_channels(
    model: nn.Module, layer: str, images: Images, ids: Tensor, count: int, *, progress: bool = False
) -> list[int]:
    """The `count` channels of `layer` that tell these images apart best, in increasing order.

    Ranked by how far the ninth strongest image (of few images the one a quarter down) stands above the mean, each
    image counted by its strongest unit: a channel that answers to all images alike, to one alone or to none comes last.
    """
    peaks = []
    for seen in activation_batches(model, layer, images, ids, progress=progress):
        _check(seen.output, layer, [])
        peaks.append(seen.output.flatten(2).amax(2).cpu())
    peak = torch.cat(peaks)  # (N, C)
    # Of nine, because nine are shown: one odd image does not make a detector.
    strong = peak.sort(0, descending=True).values[: min(9, max(1, len(peak) // 4))][-1] - peak.mean(0)
    score = strong / (peak.mean(0) + peak.std(0, correction=0)).clamp_min(1e-12)
    score = torch.where(peak.amax(0) > 0.25 * peak.amax(0).median(), score, -score.abs())
    return sorted(score.sort(descending=True, stable=True).indices[:count].tolist())


def fields(model: nn.Module, found: Patches, shape: tuple[int, int, int]) -> list[list[Box]]:
    """The exact receptive field, clipped at the borders, of every patch of images of `shape` (C, H, W)."""
    device = device_of(model)
    units = found.units()
    boxes = receptive_fields(model, found.layer, [unit for row in units for unit in row], shape, device)
    each = iter(boxes)
    return [[next(each) for _ in row] for row in units]


def crops(images: Images, found: Patches, boxes: Sequence[Sequence[Box]]) -> list[list[Tensor]]:
    """What each unit saw: (C, h, w) of the image, smaller where a border cuts its field."""
    return [
        [image[:, box.top : box.bottom, box.left : box.right] for image, box in zip(images(ids), row, strict=True)]
        for ids, row in zip(found.ids, boxes, strict=True)
    ]


def padded(crop: Tensor, box: Box, unit: Box, *, fill: float = 0.5) -> Tensor:
    """A crop (C, h, w) of `box` in a tile of the size of `unit`, an unclipped field of the same layer.

    The crop stays where it lies in its field: against the border that cut it.
    """
    tile = crop.new_full((crop.shape[0], unit.height, unit.width), fill)
    top = unit.height - box.height if box.top == 0 and box.height < unit.height else 0
    left = unit.width - box.width if box.left == 0 and box.width < unit.width else 0
    tile[:, top : top + box.height, left : left + box.width] = crop
    return tile


def _check(output: Tensor, layer: str, channels: Sequence[int]) -> None:
    if output.dim() != 4:
        raise ConfigError(f"{layer}: its output {tuple(output.shape)} has no rows and columns, so no patches")
    for channel in channels:
        if not 0 <= channel < output.shape[1]:
            raise ConfigError(f"{layer} has no channel {channel}: they are 0 .. {output.shape[1] - 1}")


def _joined(old: tuple[Tensor, ...], new: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    values, ids, places = (torch.cat(pair, 1) for pair in zip(old, new, strict=True))
    return values, ids, places


def _strongest(found: tuple[Tensor, Tensor, Tensor], count: int) -> tuple[Tensor, Tensor, Tensor]:
    order = found[0].sort(dim=1, descending=True, stable=True).indices[:, :count]
    return found[0].gather(1, order), found[1].gather(1, order), found[2].gather(1, order)

"""Does a network name the shape or the texture? Geirhos et al. 2019, arXiv:1811.12231, section 2.2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from advbench.metrics.rates import Rate, wilson


@dataclass(frozen=True)
class ShapeBias:
    """Answers on pictures whose shape and texture are of different classes: how many named which, or neither."""

    shape: int
    texture: int
    neither: int

    @property
    def bias(self) -> Rate:
        """Shape answers among those that named shape or texture, with a 95 % interval; nan if there are none."""
        return wilson(self.shape, self.shape + self.texture)

    @property
    def decided(self) -> Rate:
        """Answers that named shape or texture: a weak network names neither, and its bias means little."""
        return wilson(self.shape + self.texture, self.shape + self.texture + self.neither)


def shape_bias(decision: Tensor, shape: Tensor, texture: Tensor) -> ShapeBias:
    """Counts over pictures (N,) of classes int64; those whose shape and texture agree are left out."""
    conflict = shape != texture
    by_shape, by_texture = conflict & (decision == shape), conflict & (decision == texture)
    named = int(by_shape.sum()), int(by_texture.sum())
    return ShapeBias(*named, int(conflict.sum()) - sum(named))


def group_probabilities(logits: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """(N, G): the mean, not the sum, of softmax(logits (N, K)) over each group's classes.

    A group of many classes has no advantage then. Raises ValueError for an empty group or a class that is not there.
    """
    classes = logits.shape[1]
    for number, group in enumerate(groups):
        if not group or not all(0 <= index < classes for index in group):
            raise ValueError(f"group {number} must hold classes from 0 .. {classes - 1}, got {list(group)}")
    chance = logits.softmax(1)
    return torch.stack([chance[:, list(group)].mean(1) for group in groups], 1)

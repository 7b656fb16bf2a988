"""Why instance normalisation works: its loss beside that of batch normalisation on three kinds of photographs.

Huang and Belongie 2017, arXiv:1703.06868, figure 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pandas as pd
import torch
from torch import Tensor, nn

from advbench.synthesis.feed_forward.losses import Weights
from advbench.synthesis.feed_forward.networks import Norm
from advbench.synthesis.feed_forward.train_style import paint, train_style
from advbench.synthesis.feed_forward.training import Course

INPUTS = ("original", "contrast normalised", "style normalised")


def compare_norms(
    model: nn.Module,
    style: Tensor,
    photos: Tensor,
    course: Course | None = None,
    *,
    weights: Weights | None = None,
    common_style: Tensor | None = None,
    watch: Callable[[str, str, int, dict[str, float]], None] | None = None,
) -> pd.DataFrame:
    """A row per (input, norm, step): the loss of six trainings, instance and batch norm on three kinds of photos.

    photos (N, 3, H, W) come as they are, with their brightness histogram made flat, or painted beforehand by a network
    of its own into `common_style` (1, 3, h, w) (None: the style turned upside down in brightness). With the style
    normalised the paper's two curves lie closest: what instance normalisation does is to take the style away.
    """
    course = course or Course(steps=300, side=96)
    common = 1.0 - style if common_style is None else common_style
    first = replace(course, seed=course.seed + 1)
    tell = None if watch is None else (lambda step, row: watch("common style", "instance", step, row))
    painter = train_style(model, [common], photos, first, weights=weights, watch=tell).network
    kinds = {
        "original": photos,
        "contrast normalised": flat_histogram(photos),
        "style normalised": torch.cat([paint(painter, part) for part in torch.split(photos, 8)]),
    }
    rows = []
    for kind, inputs in kinds.items():
        for norm in get_args(Norm):
            tell = None if watch is None else (lambda step, row, kind=kind, norm=norm: watch(kind, norm, step, row))
            trained = train_style(model, [style], inputs, course, weights=weights, norm=norm, watch=tell)
            rows += [{"input": kind, "norm": norm, "step": step, **row} for step, row in enumerate(trained.history)]
    return pd.DataFrame(rows)


def flat_histogram(photos: Tensor) -> Tensor:
    """photos (N, 3, H, W), each with its brightness values spread evenly over [0, 1]; colours scale along."""
    brightness = photos.mean(1, keepdim=True)  # (N, 1, H, W)
    order = brightness.flatten(1).argsort(stable=True, dim=1)
    places = torch.linspace(0.0, 1.0, order.shape[1], device=photos.device, dtype=photos.dtype).expand_as(order)
    flat = torch.zeros_like(places).scatter(1, order, places).reshape(brightness.shape)
    return (photos * flat / brightness.clamp_min(1e-3)).clamp(0.0, 1.0)

"""Occlusion: how much the score falls when a window is hidden. Zeiler and Fergus 2014, arXiv:1311.2901, section 4.2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.attributions.cheaper import cheaper
from advbench.core.blank import blank, check_blank
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.scoring import all_rows, scores_at, turns
from advbench.core.targets import Explained, Target, as_target
from advbench.registry import attribution
from advbench.types import ConfigError


@attribution(paper="arXiv:1311.2901")
def occlusion(
    model: nn.Module,
    x: Tensor,
    y: Explained,
    *,
    draws: Draws | None = None,
    window: int | None = None,
    stride: int | None = None,
    baseline: float | str = 0.5,
    remaining: bool = False,
) -> Tensor:
    """Map (B, 1, H, W): the mean, over all windows that cover a pixel, of score(x) - score(x with the window hidden).

    In units of the score (logits for classes y; a probability with the target "prob:CLASS"); positive where hiding
    lowers it. With `remaining` the mean of score(x with the window hidden) itself, low where it matters, as lectures
    draw it. window: side in pixels (a fifth of the image's shorter side). stride: pixels between windows (a quarter of
    the window), at most the window so that every pixel is covered; the last window of a row or column is clipped at the
    border. baseline: what hides: a number in input units (0.5: grey), "mean" (the image's mean colour) or "blur"
    (standard deviation half a window, since a blur narrower than that hides little).
    Forward passes only: one per image and window and one for score(x). `draws` is not used. Raises ConfigError for
    sizes that do not fit.
    """
    side = min(x.shape[2:])
    window = max(1, side // 5) if window is None else window
    stride = max(1, window // 4) if stride is None else stride
    if window < 1 or not 1 <= stride <= window:
        raise ConfigError(f"occlusion: needs 1 <= stride <= window, got stride {stride} and window {window}")
    check_blank(baseline, "occlusion")
    rows, columns = (_spans(size, window, stride) for size in x.shape[2:])
    target = as_target(y)
    net = cheaper(model, x, target, len(rows) * len(columns))
    with frozen(net):
        seen, cover = x.detach(), blank(x, baseline, window / 2)
        hidden = _hidden_scores(net, seen, cover, target, [(down, across) for down in rows for across in columns])
        value = hidden if remaining else scores_at(net, seen, target, all_rows(x))[:, None] - hidden
    value = value.reshape(len(x), len(rows), len(columns))
    above, beside = _coverage(rows, x.shape[2], value), _coverage(columns, x.shape[3], value)
    total = torch.einsum("bij,ih,jw->bhw", value, above, beside)
    count = above.sum(0)[:, None] * beside.sum(0)  # (H, W) windows over each pixel
    return (total / count)[:, None].to(x.dtype)


def _hidden_scores(
    model: nn.Module, x: Tensor, cover: Tensor, target: Target, windows: list[tuple[range, range]]
) -> Tensor:
    """(B, N) float64: the score of each image with each window showing `cover`."""
    parts = []
    for turn in turns(len(windows), len(x)):
        painted = torch.cat([x] * len(turn))
        for image, index in zip(torch.split(painted, max(1, len(x))), turn, strict=False):
            down, across = (slice(span.start, span.stop) for span in windows[index])
            image[:, :, down, across] = cover[:, :, down, across]
        found = scores_at(model, painted, target, all_rows(x).repeat(len(turn)))
        parts.append(found.double().reshape(len(turn), len(x)))
    return torch.cat(parts).T


def _spans(size: int, window: int, stride: int) -> list[range]:
    """Where windows lie along a side of `size` pixels: from 0 on, until one reaches the end, clipped there."""
    count = 1 + max(0, -(-(size - window) // stride))
    return [range(i * stride, min(i * stride + window, size)) for i in range(count)]


def _coverage(spans: list[range], size: int, like: Tensor) -> Tensor:
    """(N, size): 1 where a span covers a pixel."""
    cover = like.new_zeros(len(spans), size)
    for i, span in enumerate(spans):
        cover[i, span.start : span.stop] = 1.0
    return cover

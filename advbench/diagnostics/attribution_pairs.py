"""Explanations before and after an attack: the maps of clean and adversarial images on one scale, and how they differ.

A map changes for two reasons: the image has changed, and another class is explained. The three maps of a `Pair` keep
them apart. Many maps also change a good deal under mere noise; a fourth map, at noise of the same size, says how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.attributions.explain import Explainer, explain
from advbench.core.draws import Draws
from advbench.core.gradients import frozen, labels_at
from advbench.core.scoring import all_rows
from advbench.diagnostics.likeness import SHARE, Likeness, likeness
from advbench.diagnostics.shuffled_change import shuffled_change
from advbench.registry import ATTRIBUTIONS
from advbench.types import ConfigError

_CLIPPED = 0.01  # of the pixels may lie beyond the end of the scale


@dataclass(frozen=True, eq=False)
class Pair:
    """One method's maps (B, C or 1, H, W), raw and signed as the method gives them, and what became of them.

    clean: the label, at x; adversarial: the label, at x_adv; found: the class predicted at x_adv, at x_adv; noisy: the
    label, at x plus the attack's change with its pixels shuffled. scale (B,): the magnitude that a drawing of the first
    three should end at: 1 % of their pixels lie beyond (channels summed). by_image: clean against adversarial, the same
    class twice; in_all: clean against found, as a user would see it; by_noise: clean against noisy, the control.
    """

    method: str
    clean: Tensor
    adversarial: Tensor
    found: Tensor
    noisy: Tensor
    scale: Tensor
    by_image: Likeness
    in_all: Likeness
    by_noise: Likeness


@dataclass(frozen=True, eq=False)
class Comparison:
    """label (B,), found (B,): the classes explained. pairs: one per method. refused: method -> why it has no maps."""

    label: Tensor
    found: Tensor
    pairs: tuple[Pair, ...]
    refused: Mapping[str, str]


def compare(
    model: nn.Module,
    x: Tensor,
    x_adv: Tensor,
    methods: Sequence[str | Explainer],
    *,
    y: Tensor | None = None,
    share: float = SHARE,
    seed: int = 0,
    sample_ids: Tensor | None = None,
) -> Comparison:
    """Explain x and x_adv (B, C, H, W) by each of the registered `methods`, if named with its defaults.

    y (B,): the label; None: the class predicted at x. share: of the pixels, those whose overlap is measured. seed,
    sample_ids: the random numbers of the methods that use some, the same for all maps of a sample. A method that has
    no meaning for this model is noted in `refused`. Raises ConfigError for unknown methods, and if x and x_adv differ
    in shape.
    """
    if x.shape != x_adv.shape or x.dim() != 4:
        raise ConfigError(
            f"x and x_adv must be images (B, C, H, W) of one shape, got {tuple(x.shape)} and {tuple(x_adv.shape)}"
        )
    asked = [method if isinstance(method, Explainer) else Explainer(method, method) for method in methods]
    for each in asked:
        ATTRIBUTIONS[each.method]  # raises for a name that nobody has
    ids = torch.arange(len(x)) if sample_ids is None else sample_ids
    with frozen(model):
        label = labels_at(model, x, all_rows(x)) if y is None else y.to(x.device)
        found = labels_at(model, x_adv, all_rows(x_adv))
    draws = Draws(seed, ids)
    noisy = shuffled_change(x, x_adv, draws)
    pairs, refused = [], {}
    for each in asked:
        try:
            maps = _maps(each, model, (x, x_adv, noisy), (label, found), draws)
        except ConfigError as error:
            refused[each.label] = str(error)
            continue
        pairs.append(_pair(each.label, maps, share))
    return Comparison(label, found, tuple(pairs), refused)


class _Maps(NamedTuple):
    """As in `Pair`."""

    clean: Tensor
    adversarial: Tensor
    found: Tensor
    noisy: Tensor


def _maps(
    asked: Explainer,
    model: nn.Module,
    images: tuple[Tensor, Tensor, Tensor],
    classes: tuple[Tensor, Tensor],
    draws: Draws,
) -> _Maps:
    (x, x_adv, noise), (label, found) = images, classes

    def heat(z: Tensor, y: Tensor, ids: Tensor) -> Tensor:
        return explain(asked.method, model, z, y, seed=draws.seed, sample_ids=ids, **asked.params).detach()

    clean, adversarial = heat(x, label, draws.sample_ids), heat(x_adv, label, draws.sample_ids)
    noisy = heat(noise, label, draws.sample_ids)
    changed = (label != found).nonzero()[:, 0]
    if not len(changed):
        return _Maps(clean, adversarial, adversarial, noisy)
    other = heat(x_adv[changed], found[changed], draws.sample_ids.to(changed.device)[changed])
    return _Maps(clean, adversarial, adversarial.index_copy(0, changed, other), noisy)


def _pair(method: str, maps: _Maps, share: float) -> Pair:
    clean, adversarial, found, noisy = maps
    sums = torch.cat([part.sum(1).flatten(1) for part in (clean, adversarial, found)], dim=1).abs()  # (B, 3 H W)
    beyond = max(1, ceil(_CLIPPED * sums.shape[1]))
    return Pair(
        method=method,
        clean=clean,
        adversarial=adversarial,
        found=found,
        noisy=noisy,
        scale=sums.topk(beyond, dim=1).values[:, -1],
        by_image=likeness(clean, adversarial, share=share),
        in_all=likeness(clean, found, share=share),
        by_noise=likeness(clean, noisy, share=share),
    )

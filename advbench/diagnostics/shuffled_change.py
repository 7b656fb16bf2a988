"""The control of what an attack does to an explanation: its own change with the pixels in a random order."""

from __future__ import annotations

from torch import Tensor

from advbench.core.draws import Draws


def shuffled_change(x: Tensor, x_adv: Tensor, draws: Draws) -> Tensor:
    """x plus x_adv - x (B, C, H, W) with its pixels in a random order of each sample, clipped to [0, 1].

    Noise of exactly the size that the attack used on this sample, whatever its norm: the same values, each pixel's
    channels together, at other places. The clip shortens it where the image is black or white already.
    """
    change = (x_adv - x).flatten(2)  # (B, C, H W)
    order = draws.words(change.shape[2], "shuffled change").argsort(stable=True, dim=1).to(x.device)
    moved = change.gather(2, order[:, None].expand_as(change)).reshape(x.shape)
    return (x + moved).clamp(0.0, 1.0)

"""Average pooling that is as strong as the maximum pooling in whose place it stands."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from advbench.core.gradients import attended_rows


class CompensatedPool(nn.Module):
    """Averages over the windows of a maximum pooling, times each sample's `strength` (B, 1, 1, 1).

    `side` is that of its last output.
    """

    def __init__(self, maximum: nn.MaxPool2d, strength: Tensor) -> None:
        super().__init__()
        self.maximum, self.strength, self.side = maximum, strength, 0

    def forward(self, x: Tensor) -> Tensor:
        pool = self.maximum
        average = functional.avg_pool2d(
            x, pool.kernel_size, pool.stride, pool.padding, ceil_mode=pool.ceil_mode, count_include_pad=False
        )
        self.side = min(average.shape[2:])
        rows = attended_rows()
        # Outside of an objective all samples come, or the first alone, to find out about the network.
        return (self.strength[: len(x)] if rows is None else self.strength[rows]) * average

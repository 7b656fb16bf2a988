"""Make a model fast to attack without changing what it computes.

A copy in eval mode with frozen parameters, rewritten into a cheaper form of itself, channels last, and a micro-batch
size at which its activations stay in memory that the allocator keeps. Reduced precision only on request.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from advbench.core.allocator import keep_freed_memory
from advbench.core.copying import copy_of
from advbench.models.narrow_conv import narrowed
from advbench.models.predict import GROUP, predict, whole_groups
from advbench.models.rewrite import rewritten

Precision = Literal["float32", "bfloat16"]

# On a CPU larger pieces save little. Where freed memory is not kept, activations beyond 32 MiB are handed back to the
# system and faulted in again at each step: twice the time per image.
_CPU_ACTIVATION_BYTES = {True: 96 * 2**20, False: 32 * 2**20}
_GPU_MEMORY_SHARE = 0.25


class Prepared(nn.Module):
    """A stand-in for a model inside an attack: same logits up to rounding, float32 in and out."""

    def __init__(self, net: nn.Module, precision: Precision, micro_batch: int, model: nn.Module) -> None:
        super().__init__()
        self.net, self.precision, self.micro_batch = net, precision, micro_batch
        self._model: list[nn.Module] = [model]  # in a list: the original is no part of this one

    @property
    def stands_before(self) -> nn.Module:
        """The network whose layers a user names (see `core.stand_in.network_behind`), from now on as it came.

        In a rewritten one a name may stand for another layer, and a layer may put out other values.
        """
        if self._model:
            self.net = _ready(copy_of(self._model.pop()).eval(), self.precision)
        return self.net

    def forward(self, x: Tensor) -> Tensor:
        images = x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
        if self.precision == "float32":
            return whole_groups(self.net, images)
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return whole_groups(self.net, images).float()


def prepare(
    model: nn.Module, x: Tensor, *, precision: Precision = "float32", micro_batch: int | None = None
) -> Prepared:
    """A fast copy of `model` for inputs like x (B, C, H, W); the model itself is not touched.

    micro_batch: samples per piece; None finds it from the activations of a few samples of x.
    """
    probe = x[:GROUP]
    net = _ready(narrowed(rewritten(model, probe)))
    size = micro_batch or _fitting_batch(net, probe)
    return Prepared(_ready(net, precision), precision, size, model)


def _ready(net: nn.Module, precision: Precision = "float32") -> nn.Module:
    """`net` itself, frozen and channels last, with weights as the precision wants them."""
    net = net.requires_grad_(False).to(memory_format=torch.channels_last)
    if precision == "bfloat16":
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(torch.bfloat16)  # autocast would convert the weights again in each pass
    return net


def _fitting_batch(net: nn.Module, probe: Tensor) -> int:
    """Samples whose activations together stay within the limit of the device, a multiple of GROUP."""
    if not len(probe):
        return GROUP
    seen = 0

    def count(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal seen
        if isinstance(output, Tensor) and not any(module.children()):
            seen += output.numel() * output.element_size()

    handles = [module.register_forward_hook(count) for module in net.modules()]
    try:
        predict(net, probe)
    finally:
        for handle in handles:
            handle.remove()
    padded = -(-len(probe) // GROUP) * GROUP if probe.device.type == "cpu" else len(probe)
    per_sample = max(seen // padded, 1)
    if probe.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(probe.device)
        limit = int(_GPU_MEMORY_SHARE * free)
    else:
        limit = _CPU_ACTIVATION_BYTES[keep_freed_memory()]
    return max(GROUP, limit // per_sample // GROUP * GROUP)

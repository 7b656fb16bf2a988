"""Make a model fast to attack without changing what it computes.

A copy in eval mode with frozen parameters, batch norm folded into the convolutions before it, channels last, and a
micro-batch size at which its activations stay in memory that the allocator keeps. Reduced precision only on request.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from advbench.models.predict import GROUP, predict, whole_groups

Precision = Literal["float32", "bfloat16"]

# Activations beyond this are handed back to the system and faulted in again at each step: twice the time per image.
_CPU_ACTIVATION_BYTES = 32 * 2**20
_GPU_MEMORY_SHARE = 0.25


class Prepared(nn.Module):
    """A stand-in for a model inside an attack: same logits up to rounding, float32 in and out."""

    def __init__(self, net: nn.Module, precision: Precision, micro_batch: int) -> None:
        super().__init__()
        self.net, self.precision, self.micro_batch = net, precision, micro_batch

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
    net = copy.deepcopy(model).eval().requires_grad_(False)
    probe = x[:GROUP]
    _fold_batch_norms(net, probe)
    net = net.to(memory_format=torch.channels_last)
    size = micro_batch or _fitting_batch(net, probe)
    if precision == "bfloat16":
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(torch.bfloat16)  # autocast would convert the weights again in each pass
    return Prepared(net, precision, size)


def _fold_batch_norms(net: nn.Module, probe: Tensor) -> None:
    """Fold each batch norm that directly follows a convolution used nowhere else; undone if the logits then differ."""
    pairs = _conv_norm_pairs(net)
    if not pairs:
        return
    before = predict(net, probe)
    originals = {name: net.get_submodule(name) for pair in pairs for name in pair}
    for name, norm_name in pairs:
        conv, norm = originals[name], originals[norm_name]
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            net.set_submodule(name, fuse_conv_bn_eval(conv, norm))
            net.set_submodule(norm_name, nn.Identity())
    scale = before.abs().amax().clamp_min(1.0) if len(before) else torch.ones(())
    if not bool(((predict(net, probe) - before).abs() <= 1e-4 * scale).all()):
        for name, module in originals.items():
            net.set_submodule(name, module)


def _conv_norm_pairs(net: nn.Module) -> list[tuple[str, str]]:
    """Names of (convolution, batch norm) where the norm reads the convolution's output and nobody else does."""
    try:
        # The graph only tells who follows whom: the network's own forward stays in use.
        graph = fx.Tracer().trace(net)
    except Exception:
        return []  # control flow that cannot be traced: nothing is folded
    calls = [node for node in graph.nodes if node.op == "call_module"]
    times: dict[str, int] = {}
    for node in calls:
        times[str(node.target)] = times.get(str(node.target), 0) + 1
    pairs = []
    for node in calls:
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
            continue
        conv, norm = str(source.target), str(node.target)
        kinds = isinstance(net.get_submodule(conv), nn.Conv2d), isinstance(net.get_submodule(norm), nn.BatchNorm2d)
        if all(kinds) and times[conv] == times[norm] == 1:
            pairs.append((conv, norm))
    return pairs


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
        limit = _CPU_ACTIVATION_BYTES
    return max(GROUP, limit // per_sample // GROUP * GROUP)

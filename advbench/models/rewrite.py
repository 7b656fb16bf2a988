"""Cheaper forms of a network that compute the same: found in its graph, checked on samples, undone if they differ."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from advbench.core.copying import copy_of
from advbench.models.predict import predict

# Layers whose output nothing else needs for its gradient: a ReLU behind them may overwrite it.
_FORGETFUL = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.MaxPool2d)


def rewritten(model: nn.Module, probe: Tensor) -> nn.Module:
    """A copy of `model`, in eval mode, with the same logits up to rounding; probe (B, C, H, W): to check that.

    Batch norm is folded into the convolution before it. A max pool behind a ReLU goes first: both are monotone, so they
    commute, and the ReLU has a quarter of the work. ReLUs overwrite what they read where nobody else reads it.
    """
    plain = copy_of(model).eval()
    readers = _only_readers(plain)
    if not readers:
        return plain
    net = copy_of(plain.eval())  # again: a forward pass that sets the mode has done so while it was traced
    kinds = {name: net.get_submodule(name) for pair in readers.items() for name in pair}
    for source, reader in readers.items():
        first, second = kinds[source], kinds[reader]
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            net.set_submodule(source, fuse_conv_bn_eval(first, second))
            net.set_submodule(reader, nn.Identity())
        elif isinstance(first, nn.ReLU) and isinstance(second, nn.MaxPool2d) and not second.return_indices:
            net.set_submodule(source, second)
            net.set_submodule(reader, nn.ReLU(inplace=True))
        elif (
            isinstance(first, _FORGETFUL)
            and isinstance(second, nn.ReLU)
            and isinstance(net.get_submodule(reader), nn.ReLU)
        ):
            net.set_submodule(reader, nn.ReLU(inplace=True))
    return net if _agree(net, plain, probe) else plain


def _only_readers(net: nn.Module) -> dict[str, str]:
    """name -> name of the one module that reads its output, for modules that are called once and read once."""
    try:
        # The graph only tells who follows whom: the network's own forward stays in use.
        graph = fx.Tracer().trace(net)
    except Exception:
        return {}  # control flow that cannot be traced: nothing is rewritten
    calls = [node for node in graph.nodes if node.op == "call_module"]
    times = Counter(str(node.target) for node in calls)
    pairs = [(node.args[0], node) for node in calls if node.args and isinstance(node.args[0], fx.Node)]
    return {
        str(source.target): str(node.target)
        for source, node in pairs
        if source.op == "call_module"
        and len(source.users) == 1
        and times[str(source.target)] == times[str(node.target)] == 1
    }


def _agree(net: nn.Module, plain: nn.Module, probe: Tensor) -> bool:
    before = predict(plain, probe)
    scale = before.abs().amax().clamp_min(1.0) if len(before) else torch.ones(())
    return bool(((predict(net, probe) - before).abs() <= 1e-4 * scale).all())

"""Where an image enters a network: the one layer that reads it, found in the network's graph."""

from __future__ import annotations

import operator

from torch import fx, nn

_AFFINE = {operator.add, operator.sub, operator.mul, operator.truediv}


def affine_entry(net: nn.Module) -> str | None:
    """Name of the convolution or linear layer that alone reads the image, behind affine steps at most; or None.

    The gradient at its output walks back to the image in the same way at every image, so a sum of many gradients walks
    back once. None where the graph cannot be traced, branches before such a layer, or begins with anything else, and
    where a module has hooks, of which the graph says nothing.
    """
    if any(_hooked(module) for module in net.modules()):
        return None
    try:
        graph = fx.Tracer().trace(net)
    except Exception:
        return None  # control flow that depends on the image
    images = [node for node in graph.nodes if node.op == "placeholder"]
    if len(images) != 1:
        return None
    node = images[0]
    while len(node.users) == 1:
        image, node = node, next(iter(node.users))
        if node.op == "call_module":
            module = net.get_submodule(str(node.target))
            if isinstance(module, nn.Conv2d | nn.Linear):
                alone = sum(other.target == node.target for other in graph.nodes if other.op == "call_module") == 1
                return str(node.target) if alone else None
            if not isinstance(module, nn.Identity):
                return None
        elif not _shifts_or_scales(image, node):
            return None
    return None


def _shifts_or_scales(image: fx.Node, node: fx.Node) -> bool:
    """Whether `node` adds a constant of the network to `image`, subtracts it, multiplies or divides by it."""
    if node.op != "call_function" or node.target not in _AFFINE or node.kwargs or node.args[0] is not image:
        return False
    return all(
        isinstance(other, float | int) or (isinstance(other, fx.Node) and other.op == "get_attr")
        for other in node.args[1:]
    )


def _hooked(module: nn.Module) -> bool:
    hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    return any(hooks)

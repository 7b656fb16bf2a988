"""Where the gradient ends in a network: the module behind which there is one and before which there is none."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from advbench.core.gradients import frozen


def gradient_end(model: nn.Module, x: Tensor) -> str:
    """Name of the innermost module through which no gradient passes at x (A, C, H, W); "" if none is found.

    That is the last one called whose output is still on the way to the logits while no gradient other than zero gets
    to its input: it detaches, rounds, compares. One forward and one backward pass; the model is left as it was.
    """
    passed: list[tuple[str, Tensor, Tensor]] = []

    def hook_for(name: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def hook(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                passed.append((name, inputs[0], output))

        return hook

    leaves = [(name, module) for name, module in model.named_modules() if name and not any(module.children())]
    handles = [module.register_forward_hook(hook_for(name)) for name, module in leaves]
    try:
        with frozen(model), torch.enable_grad():
            logits = model(x.detach().clone().requires_grad_(True))
            return _last_without(passed, logits)
    finally:
        for handle in handles:
            handle.remove()


def _last_without(passed: list[tuple[str, Tensor, Tensor]], logits: Tensor) -> str:
    """The last module whose output the gradient reaches, or that ends the graph, and whose input it does not reach."""
    for name, before, after in passed:
        if before.requires_grad and not after.requires_grad:
            return name
    if not logits.requires_grad:
        return ""
    graded = [tensor for _, *ends in passed for tensor in ends if tensor.requires_grad]
    weights = torch.linspace(1.0, 2.0, logits.shape[1], device=logits.device)  # their sum alone may be constant
    found = torch.autograd.grad((logits * weights).sum(), graded, allow_unused=True) if graded else ()
    reached = {id(tensor) for tensor, grad in zip(graded, found, strict=True) if grad is not None and bool(grad.any())}
    for name, before, after in reversed(passed):
        if id(after) in reached and id(before) not in reached:
            return name
    return ""

"""Sums of gradients at many variants of an image, walked back through the network's first layer only once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from advbench.core.activations import module_named
from advbench.core.gradients import attending
from advbench.core.scoring import fitting_piece, score_gradient, score_with_graph
from advbench.core.targets import Target

WayBack = Callable[[Tensor], Tensor]  # gradient at a layer's output (A, ...) -> at the images (A, C, H, W)


def summed_gradient(
    model: nn.Module,
    target: Target,
    rows: Tensor,
    variants: Iterable[tuple[Tensor, Tensor]],
    entry: str | None = None,
) -> Tensor:
    """Sum over all variants of weight times gradient of the score there: (A, C, H, W), like the samples `rows` (A,).

    variants: (z, weights) with z (T, A, C, H, W), T variants of each sample, and weights (T,), until all have come; at
    least one. entry: the layer that alone reads the image, behind affine steps (`models.entry.affine_entry`): the way
    back from it is the same for all variants, so gradients are summed at its output. What is not finite becomes 0.
    """
    total: Tensor | None = None
    back: WayBack | None = None
    for z, weights in _fitting(variants):
        images, every = z.flatten(0, 1), rows.repeat(len(z))
        if entry is None:
            grads = score_gradient(model, images, target, every)[1]
        else:
            grads, back = _behind(entry, model, images, target, every)
        for grad, weight in zip(grads.reshape(*z.shape[:2], *grads.shape[1:]), weights, strict=True):
            total = grad * weight if total is None else total.addcmul_(grad, weight)
    if total is None:
        raise ValueError("summed_gradient: there are no variants")
    return total if back is None else back(total)


def _fitting(variants: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """The same, with no more variants at a time than go through a network together."""
    for z, weights in variants:
        most = fitting_piece(z[0]) or z.shape[:2].numel()
        each = max(1, most // max(z.shape[1], 1))
        yield from zip(torch.split(z, each), torch.split(weights, each), strict=True)


def _behind(entry: str, model: nn.Module, z: Tensor, target: Target, rows: Tensor) -> tuple[Tensor, WayBack]:
    """Gradients of the scores of z (A, C, H, W) at the layer's output, and the way from there to the image."""
    leaf = z.detach().requires_grad_(True)
    with torch.enable_grad(), attending(rows), _outputs_of(model, entry) as outputs:
        score = score_with_graph(model, leaf, target, rows)
        edge, shape = outputs[-1]
        if edge is not None and score.requires_grad:
            (grad,) = torch.autograd.grad(score.sum(), (edge,))
        else:  # nothing differentiable on the way
            grad = z.new_zeros(shape)

    def back(at_the_layer: Tensor) -> Tensor:
        if edge is None:
            return z.new_zeros(len(at_the_layer), *z.shape[1:])
        # The pass above ended at the layer, so the graph before it is still there, made for as many images.
        rest = grad.new_zeros(len(leaf) - len(at_the_layer), *grad.shape[1:])
        together = torch.cat([at_the_layer, rest]) if len(rest) else at_the_layer
        (found,) = torch.autograd.grad((edge,), leaf, (together,))
        return found[: len(at_the_layer)].contiguous()

    return grad.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0), back


@contextmanager
def _outputs_of(model: nn.Module, entry: str) -> Iterator[list[tuple[GradientEdge | None, torch.Size]]]:
    """Inside, each pass adds where the layer's output stands in the graph: a ReLU may overwrite the output itself."""
    found: list[tuple[GradientEdge | None, torch.Size]] = []

    def note(module: nn.Module, inputs: object, output: Tensor) -> None:
        found.append((get_gradient_edge(output) if output.requires_grad else None, output.shape))

    handle = module_named(model, entry).register_forward_hook(note)
    try:
        yield found
    finally:
        handle.remove()

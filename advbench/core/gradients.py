"""Gradients with respect to the input, and how a batch is cut into pieces on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from advbench.core.allocator import keep_freed_memory
from advbench.core.objectives import Objective
from advbench.types import Evaluation

Gradient = Callable[[Objective, Tensor, Tensor], tuple[Evaluation, Tensor]]
Distance = Callable[[Tensor, Tensor], Tensor]  # (values (A,), gradients (A, ...)) -> (A,)

# Both say how a computation is carried out, never what it gives: results are the same for every value.
_PIECE: ContextVar[int | None] = ContextVar("piece", default=None)
_ROWS: ContextVar[Tensor | None] = ContextVar("rows", default=None)
_CLASSES = 16  # whose gradients are held at once: a thousand of them would take more memory than the network


@contextmanager
def in_pieces(size: int | None) -> Iterator[None]:
    """Inside, `backprop` and `evaluate` hand at most `size` samples at a time to the objective (None: all at once)."""
    token = _PIECE.set(size)
    try:
        yield
    finally:
        _PIECE.reset(token)


def piece_size() -> int | None:
    """The size that `in_pieces` has set; None if nobody has."""
    return _PIECE.get()


@contextmanager
def attending(rows: Tensor) -> Iterator[None]:
    """Inside, a model wrapper can learn which samples of the batch it is asked about (`attended_rows`).

    Inside of another `attending`, the rows are positions among the rows attended to there: an attack on x[rows] that
    counts from 0 is charged to the right samples.
    """
    outer = _ROWS.get()
    token = _ROWS.set(rows if outer is None else outer[rows])
    try:
        yield
    finally:
        _ROWS.reset(token)


def attended_rows() -> Tensor | None:
    """Positions in the attacked batch of the samples now going through the model; None outside of an objective."""
    return _ROWS.get()


def backprop(objective: Objective, z: Tensor, rows: Tensor) -> tuple[Evaluation, Tensor]:
    """The objective at z (A, ...) and each sample's gradient of its own loss, like z; what is not finite becomes 0."""
    pieces = [_backprop(objective, part, rows_part) for part, rows_part in _cut(z, rows)]
    if len(pieces) == 1:
        return pieces[0]
    return _joined([evaluation for evaluation, _ in pieces]), torch.cat([grad for _, grad in pieces])


def evaluate(objective: Objective, z: Tensor, rows: Tensor) -> Evaluation:
    """The objective at z (A, ...), without gradient."""
    evaluations = []
    for part, rows_part in _cut(z, rows):
        with torch.no_grad(), attending(rows_part):
            evaluations.append(objective(part, rows_part))
    return _joined(evaluations)


def logits_at(model: nn.Module, z: Tensor, rows: Tensor) -> Tensor:
    """Logits (A, K) of z (A, ...), without gradient. A row may be asked about several times in one call."""
    logits = []
    for part, rows_part in _cut(z, rows):
        with torch.no_grad(), attending(rows_part):
            logits.append(model(part))
    return logits[0] if len(logits) == 1 else torch.cat(logits)


def labels_at(model: nn.Module, z: Tensor, rows: Tensor) -> Tensor:
    """Predicted class (A,) int64 of z (A, ...): all that a decision-based attack may ask."""
    return logits_at(model, z, rows).argmax(1)


def nearest_lead(
    model: nn.Module, z: Tensor, rows: Tensor, classes: Tensor, distance: Distance
) -> tuple[Tensor, Tensor]:
    """How far the first of `classes` (A, 1 + M) leads the nearest of the others at z (A, ...), in logits: (A,).

    And its gradient (A, ...). distance (A,): of a lead (A,) with its gradient; the nearest has the least, the first of
    equals. One forward pass and M backward passes per sample, of whose gradients a few are held at once; what is not
    finite in a gradient becomes 0. Without other classes: zeros.
    """
    pieces = list(_cut(z, rows))
    columns = torch.split(classes, len(pieces[0][0])) if len(z) else (classes,)
    found = [_nearest_lead(model, *piece, column, distance) for piece, column in zip(pieces, columns, strict=True)]
    if len(found) == 1:
        return found[0]
    return torch.cat([lead for lead, _ in found]), torch.cat([grad for _, grad in found])


def class_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Gradient of the logit of y (B,) at x (B, ...), like x: of the raw score, before any softmax."""

    def score(z: Tensor, rows: Tensor) -> Evaluation:
        logits = model(z)
        return Evaluation(logits.gather(1, y[rows][:, None])[:, 0], logits.argmax(1) == y[rows])

    return backprop(score, x, torch.arange(len(x), device=x.device))[1]


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Inside, the model is in eval mode and its parameters want no gradient; every module's own mode comes back.

    `torch.inference_mode` is left meanwhile: under it every gradient would be missing, without a word.
    Not for two threads at work on one model: the one that ends last would bring back what the other had set.
    """
    graph = torch.is_grad_enabled()
    modes = [(module, module.training) for module in model.modules()]
    wants = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    keep_freed_memory()  # here because whatever passes through a model comes by
    try:
        model.eval()
        for parameter, _ in wants:
            parameter.requires_grad_(False)
        with torch.inference_mode(False), torch.set_grad_enabled(graph):  # the first alone would undo a `no_grad`
            yield model
    finally:
        for module, training in modes:
            module.training = training
        for parameter, want in wants:
            parameter.requires_grad_(want)


def _backprop(objective: Objective, z: Tensor, rows: Tensor) -> tuple[Evaluation, Tensor]:
    leaf = z.detach().requires_grad_(True)
    with torch.enable_grad(), attending(rows):
        loss, reached = objective(leaf, rows)
        if not loss.requires_grad:  # nothing differentiable on the way: a threshold, an argmax
            return Evaluation(loss, reached), torch.zeros_like(z)
        # In eval mode the gradient of the summed loss is each sample's own.
        (grad,) = torch.autograd.grad(loss.sum(), leaf, materialize_grads=True)
    return Evaluation(loss.detach(), reached), grad.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def _nearest_lead(
    model: nn.Module, z: Tensor, rows: Tensor, classes: Tensor, distance: Distance
) -> tuple[Tensor, Tensor]:
    leaf = z.detach().requires_grad_(True)
    with torch.enable_grad(), attending(rows):
        chosen = model(leaf).gather(1, classes)
        leads = chosen[:, :1] - chosen[:, 1:]  # (A, M)
        count = leads.shape[1]
        if not leads.requires_grad or not len(z) or not count:
            return leads.detach()[:, 0] if count else leads.new_zeros(len(z)), torch.zeros_like(z)
        values: list[Tensor] = []
        grads: list[Tensor] = []
        for m in range(count):
            (grad,) = torch.autograd.grad(leads[:, m].sum(), leaf, retain_graph=m < count - 1, materialize_grads=True)
            values, grads = [*values, leads.detach()[:, m]], [*grads, grad]
            if len(grads) == _CLASSES or m == count - 1:
                value, grad = _nearest(torch.stack(values, 1), torch.stack(grads, 1), distance)
                values, grads = [value], [grad]
    return values[0], grads[0]


def _nearest(values: Tensor, grads: Tensor, distance: Distance) -> tuple[Tensor, Tensor]:
    """The one of values (A, M) that is nearest, and of grads (A, M, ...) the one that belongs to it."""
    grads = grads.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    gaps = distance(values.flatten(), grads.flatten(0, 1)).reshape(values.shape)
    each, least = torch.arange(len(values), device=values.device), gaps.argmin(1)
    return values[each, least], grads[each, least]


def _cut(z: Tensor, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    size = _PIECE.get()
    if size is None or len(z) <= size:
        yield z, rows
        return
    yield from zip(torch.split(z, size), torch.split(rows, size), strict=True)


def _joined(parts: list[Evaluation]) -> Evaluation:
    if len(parts) == 1:
        return parts[0]
    return Evaluation(torch.cat([part.loss for part in parts]), torch.cat([part.reached for part in parts]))

"""What an attack gets to see of its victim: what it declares, within its budget, every pass in the books."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.functional import one_hot

from advbench.core.gradients import attended_rows
from advbench.core.marks import Marks
from advbench.core.norms import lengths
from advbench.registry import Access
from advbench.types import ConfigError


class Watched(nn.Module):
    """Passes x on to `model` and keeps the books for a batch of goals y (B,).

    forwards, backwards (B,) int64: passes of each sample. hits (B,) int64: forward passes whose prediction met the
    goal (left y, or is y if `targeted`). first_success (B,) int64: forward passes before the first hit; -1 without
    one. blind (B,) bool: gradients were asked for, and none came. trace, with `tracing`: the predicted class at each
    pass as pairs (rows, classes). Samples are told apart by the rows that the core attends to; an attack that calls
    the model on a part of the batch by its own means is charged evenly.

    access: what comes back. "gradient": the logits. "scores": logits without a graph. "decision": the predicted class,
    one-hot. "none": asking raises ConfigError. budget: passes (forward plus backward) that a sample may take; after
    that it is answered with "goal not met" (zeros, where it is not known of which sample the image is) and a zero
    gradient, and the model is not asked. reach: x (B, ...), a norm
    and radii around x; first_within (B, radii) notes the first hit within each, as first_success does.
    """

    forwards: Tensor
    backwards: Tensor
    first_success: Tensor
    hits: Tensor

    def __init__(
        self,
        model: nn.Module,
        y: Tensor,
        *,
        targeted: bool = False,
        tracing: bool = False,
        access: Access = "gradient",
        budget: int | None = None,
        reach: tuple[Tensor, float, Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.y, self.targeted, self.tracing = model, y, targeted, tracing
        self.access, self.budget, self.reach = access, budget, reach
        self.forwards = torch.zeros_like(y)
        self.backwards = torch.zeros_like(y)
        self.first_success = torch.full_like(y, -1)
        self.first_within = y.new_full((len(y), 0 if reach is None else len(reach[2])), -1)
        self.hits = torch.zeros_like(y)
        self.cut = torch.zeros_like(y)  # passes meant for a gradient to which the model gave no graph
        self.felt = torch.zeros_like(y)  # has a backward pass brought a gradient other than zero? 0: no
        self.trace: list[tuple[Tensor, Tensor]] = []
        self.marks: Marks = []  # what the attack said of single samples
        self._led: bool | None = None  # is there a way from the model's answers back to x? Asked once
        self._classes: tuple[int, torch.dtype] | None = None  # of the model's answers, once it has given one
        self._unassigned = [0, 0]  # sample passes forward and backward of unknown rows

    @property
    def stands_before(self) -> nn.Module:
        """The network whose layers a user names (see `core.stand_in.network_behind`)."""
        return self.model

    def forward(self, x: Tensor) -> Tensor:
        if self.access == "none":
            raise ConfigError("an attack that declares access 'none' has asked the victim")
        rows = attended_rows()
        if rows is None and len(x) == len(self.y):
            rows = torch.arange(len(x), device=x.device)
        known = rows is not None and len(rows) == len(x)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.access == "gradient"):
            if known and rows is not None:
                return self._seen(self._ask(self._listening(x, rows), rows))
            return self._seen(self._ask_unassigned(self._listening(x, None)))

    def passes(self) -> tuple[Tensor, Tensor]:
        """(forwards, backwards), each (B,) int64, with the passes of unknown rows spread evenly (rounded up)."""
        share = [-(-count // max(len(self.y), 1)) for count in self._unassigned]
        return self.forwards + share[0], self.backwards + share[1]

    @property
    def blind(self) -> Tensor:
        """(B,) bool: the attack asked for the sample's gradient, and nothing but zeros ever reached x.

        That is: at each pass the model gave no graph, or the gradient was exactly zero or not finite everywhere.
        """
        return (self.passes()[1] + self.cut > 0) & (self.felt == 0)

    def trajectory(self) -> Tensor:
        """Predicted class (B, T) at each traced pass, int64; -1 after a sample's last one."""
        seen = torch.zeros_like(self.y)
        table = self.y.new_full((len(self.y), int(self.forwards.max()) if len(self.y) else 0), -1)
        for rows, classes in self.trace:
            turn = seen[rows] + _turns(rows)
            table[rows, turn] = classes
            seen.index_add_(0, rows, torch.ones_like(rows))
        return table

    def add(self, rows: Tensor, other: Watched) -> None:
        """Enter the books that `other` kept while the samples at `rows` (A,) were attacked once more."""
        forwards, backwards = other.passes()
        self.first_success[rows] = _earlier(self.first_success[rows], self.forwards[rows], other.first_success)
        before = self.forwards[rows][:, None]
        self.first_within[rows] = _earlier(self.first_within[rows], before, other.first_within)
        self.hits[rows] += other.hits
        self.cut[rows] += other.cut
        self.felt[rows] += other.felt
        self.marks += [(word, rows[said]) for word, said in other.marks]
        self.forwards[rows] += forwards
        self.backwards[rows] += backwards

    def _ask(self, x: Tensor, rows: Tensor) -> Tensor:
        """The model's logits (A, K); of the samples whose budget is spent, a constant that says "not met"."""
        if self.budget is None:
            logits: Tensor = self.model(x)
            self._count(logits, x, rows)
            return logits
        price = 2 if _wants_gradient(x) else 1
        spent = self.forwards[rows] + self.backwards[rows] + price * (_turns(rows) + 1)
        asked = (spent <= self.budget).nonzero()[:, 0]
        if len(asked) == len(rows):
            logits = self.model(x)
            self._count(logits, x, rows)
        elif len(asked):
            part = self.model(x[asked])
            self._count(part, x[asked], rows[asked])
            logits = self._silence(x, rows).index_copy(0, asked, part)
        else:
            logits = self._silence(x, rows)
        return logits

    def _ask_unassigned(self, x: Tensor) -> Tensor:
        """The model's logits (A, K) at images of unknown samples; zeros once all samples' shares of them are spent."""
        if self.budget is not None:
            share = (sum(self._unassigned) + (2 if _wants_gradient(x) else 1) * len(x)) / max(len(self.y), 1)
            spent = self.forwards + self.backwards
            if share + (int(spent.max()) if len(spent) else 0) > self.budget:
                count, dtype = self._known_classes(x)
                return torch.zeros(len(x), count, dtype=dtype, device=x.device)
        logits: Tensor = self.model(x)
        self._count_unassigned(logits, x)
        return logits

    def _silence(self, x: Tensor, rows: Tensor) -> Tensor:
        """Logits (A, K) that tell nothing: the goal is not met."""
        count, dtype = self._known_classes(x)
        classes = (self.y[rows] + (1 if self.targeted else 0)) % count
        return one_hot(classes, count).to(dtype)

    def _known_classes(self, x: Tensor) -> tuple[int, torch.dtype]:
        if self._classes is None:  # the very first question is beyond the budget: one look for the number of classes
            with torch.no_grad():
                self._classes = (self.model(x[:1]).shape[1], x.dtype)
        return self._classes

    def _seen(self, logits: Tensor) -> Tensor:
        if self.access != "decision":
            return logits
        return one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)

    def _count(self, logits: Tensor, x: Tensor, rows: Tensor) -> None:
        self._classes = (logits.shape[1], logits.dtype)
        with torch.no_grad():
            classes = logits.argmax(1)
            met = (classes == self.y[rows]) == self.targeted
            count = self.forwards[rows] + _turns(rows)  # passes of the sample before this one
            self.first_success = _first(self.first_success, rows, count, met)
            self._note_within(x, rows, count, met)
            self.forwards.index_add_(0, rows, torch.ones_like(rows))
            self.hits.index_add_(0, rows, met.long())
        if self.tracing:
            self.trace.append((rows, classes))
        if logits.requires_grad:
            _on_backward(logits, partial(self._count_backward, rows))
        if _wants_gradient(x) and not self._leads(logits, x):
            self.cut.index_add_(0, rows, torch.ones_like(rows))

    def _note_within(self, x: Tensor, rows: Tensor, count: Tensor, met: Tensor) -> None:
        """Enter the first hit within each radius, after `count` (A,) passes of samples whose goal is `met` (A,)."""
        if self.reach is None:
            return
        news = met & (self.first_within[rows] < 0).any(1)
        if x.device.type == "cpu" and not bool(news.any()):  # as most often; a GPU would be waited for
            return
        centre, norm, radii = self.reach
        distance = lengths(x.detach() - centre[rows], norm)
        for k, eps in enumerate(radii):
            self.first_within[:, k] = _first(self.first_within[:, k], rows, count, met & (distance <= eps))

    def _count_backward(self, rows: Tensor, grad: Tensor) -> Tensor | None:
        if self.budget is None:
            self.backwards.index_add_(0, rows, torch.ones_like(rows))
            return None
        # More passes may come back than were foreseen: the gradient of a gradient takes two.
        answered = self.forwards[rows] + self.backwards[rows] + _turns(rows) < self.budget
        self.backwards.index_add_(0, rows, answered.long())
        return grad * answered[:, None]

    def _count_unassigned(self, logits: Tensor, x: Tensor) -> None:
        self._classes = (logits.shape[1], logits.dtype)
        self._unassigned[0] += len(logits)
        if logits.requires_grad:
            _on_backward(logits, partial(self._count_unassigned_backward, len(logits)))
        if _wants_gradient(x) and not self._leads(logits, x):
            self.cut += 1

    def _count_unassigned_backward(self, size: int, grad: Tensor) -> None:
        self._unassigned[1] += size

    def _leads(self, logits: Tensor, x: Tensor) -> bool:
        """Does the graph of the logits lead to x? A model may cut it and begin another: no backward pass would tell."""
        if logits.requires_grad and self._led is None:
            self._led = _leads_to(logits, x)
        return logits.requires_grad and bool(self._led)

    def _listening(self, x: Tensor, rows: Tensor | None) -> Tensor:
        """x (A, ...), such that the books learn of the gradient that comes back to it through the model."""
        if not _wants_gradient(x):
            return x
        heard = x.view_as(x)
        _on_backward(heard, partial(self._feel, rows))
        return heard

    def _feel(self, rows: Tensor | None, grad: Tensor) -> None:
        # One gradient is enough to know; on a GPU asking whether all have had theirs would wait for its queue.
        if grad.device.type == "cpu" and bool((self.felt if rows is None else self.felt[rows]).all()):
            return
        # What is not finite is of no more use than a zero: `core.gradients` makes it one.
        brought = grad.detach().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).flatten(1).any(1).long()
        if rows is None:
            self.felt += brought.sum()
        else:
            self.felt.index_add_(0, rows, brought)


def _leads_to(y: Tensor, x: Tensor) -> bool:
    """Is x, computed from other tensors itself, among those that y was computed from?"""
    waiting = [y.grad_fn]
    seen: set[Node] = set()
    while waiting:
        node = waiting.pop()
        if node is x.grad_fn:
            return True
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
    return False


def _wants_gradient(x: Tensor) -> bool:
    return x.requires_grad and torch.is_grad_enabled()


def _turns(rows: Tensor) -> Tensor:
    """How often each entry's sample stands before it in `rows` (A,): 0, 1, 2, ... for a sample asked several times."""
    if rows.device.type == "cpu" and bool((rows[1:] > rows[:-1]).all()):  # as most often; a GPU would be waited for
        return torch.zeros_like(rows)
    order = rows.argsort(stable=True)
    ordered = rows[order]
    place = torch.arange(len(rows), device=rows.device)
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    start = torch.where(begins, place, 0).cummax(0).values if len(rows) else place
    return torch.empty_like(rows).scatter(0, order, place - start)


def _first(known: Tensor, rows: Tensor, count: Tensor, met: Tensor) -> Tensor:
    """The first success (B,) after passes number `count` (A,) of `rows` met the goal or not; -1 means none yet."""
    never = torch.iinfo(torch.int64).max
    now = torch.full_like(known, never).scatter_reduce(0, rows, torch.where(met, count, never), "amin")
    return torch.where((known < 0) & (now < never), now, known)


def _earlier(first: Tensor, before: Tensor, second: Tensor) -> Tensor:
    """The first success of two runs, the second of which began after `before` passes."""
    return torch.where((first < 0) & (second >= 0), before + second, first)


def _on_backward(logits: Tensor, act: Callable[[Tensor], Tensor | None]) -> None:
    logits.register_hook(act)  # type: ignore[no-untyped-call]

"""Models that notice or provoke what an attack must not do."""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn


def untidy_network(shape: tuple[int, ...], classes: int) -> nn.Module:
    """A small network in a state worth restoring: mixed modes, frozen parameters, a gradient, a hook of its owner."""
    size = int(torch.Size(shape).numel())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        norm, head = nn.BatchNorm1d(size), nn.Linear(size, classes)
        model = nn.Sequential(nn.Flatten(), norm, nn.Dropout(0.5), head)
    model.train()
    norm.eval()
    norm.weight.requires_grad_(False)
    head.bias.grad = torch.ones_like(head.bias)
    head.register_forward_hook(lambda module, inputs, output: None)
    return model


def curved_network(shape: tuple[int, ...], classes: int) -> nn.Module:
    """A network with one layer of ReLUs that a step of 0.1 takes from class to class."""
    size = int(torch.Size(shape).numel())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(size, 32), nn.ReLU(), nn.Linear(32, classes))
    with torch.no_grad():
        model[3].bias -= model(torch.full((1, *shape), 0.5))[0]  # all classes tie at the grey image
    return model.eval()


def state_of(model: nn.Module) -> dict[str, object]:
    """Everything about the model and the process that an attack must leave as it was, in comparable form."""
    state: dict[str, object] = {"grad mode": torch.is_grad_enabled()}
    state["random state of torch"] = bytes(torch.get_rng_state().tolist())
    state["random state of numpy"] = repr(np.random.get_state())
    state["random state of python"] = random.getstate()
    for name, module in model.named_modules():
        state[f"mode of {name or 'model'}"] = module.training
        state[f"hooks of {name or 'model'}"] = _hooks(vars(module))
    for name, parameter in model.named_parameters():
        state[f"requires_grad of {name}"] = parameter.requires_grad
        state[f"gradient of {name}"] = None if parameter.grad is None else parameter.grad.tolist()
    for name, value in model.state_dict().items():
        state[f"value of {name}"] = value.tolist()
    return state


def _hooks(attributes: Mapping[str, object]) -> dict[str, int]:
    """Number of hooks of each kind: torch keeps them in dicts whose names end so."""
    return {
        name: len(value) for name, value in attributes.items() if name.endswith("_hooks") and isinstance(value, dict)
    }


class QuitterError(RuntimeError):
    """What a `Quitter` raises."""


class Quitter(nn.Module):
    """A model that raises `error` at its second pass."""

    def __init__(self, model: nn.Module, error: type[BaseException] = QuitterError) -> None:
        super().__init__()
        self.model, self.error, self.passes = model, error, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        if self.passes == 2:
            raise self.error("the model raised, as it was meant to")
        logits: Tensor = self.model(x)
        return logits


class Dead(nn.Module):
    """Logits that do not depend on x: the gradient is zero."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("logits", torch.arange(classes, 0, -1).float())
        self.logits: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return self.logits + 0.0 * x.flatten(1).sum(1, keepdim=True)


class NotANumber(nn.Module):
    """The logits of `model` with a gradient that is not a number (the slope of a root at 0, times 0)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits + (0.0 * x.flatten(1)).sum(1, keepdim=True).sqrt()


class Untouchable(nn.Module):
    """A victim that must not be asked at all."""

    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("the victim was called")


class _Wall(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, logits: Tensor) -> Tensor:
        return logits.clone()

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        raise AssertionError("the victim's gradient was taken")


class Gradientless(nn.Module):
    """The logits of `model`; whoever differentiates them gets an AssertionError."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = _Wall.apply(self.model(x))
        return logits


class Decisions(nn.Module):
    """Only the class that `model` predicts, one-hot: what a decision-based attack may use."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(x.dtype)

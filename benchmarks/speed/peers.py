"""The same PGD by the libraries that happen to be installed: linf, sign steps, no random start, cross entropy."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor, nn

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]  # (model, x, y) -> x_adv


def installed(*, eps: float, step_size: float, steps: int) -> dict[str, Attack]:
    """name -> attack for each of foolbox, torchattacks and ART that can be imported."""
    makers = {"foolbox": _foolbox, "torchattacks": _torchattacks, "art": _art}
    return {
        name: make(eps, step_size, steps) for name, make in makers.items() if importlib.util.find_spec(name) is not None
    }


def in_batches(attack: Attack, model: nn.Module, x: Tensor, y: Tensor, *, batch: int) -> Tensor:
    """x_adv (B, ...) of a peer that is handed `batch` samples at a time."""
    parts = zip(torch.split(x, batch), torch.split(y, batch), strict=True)
    return torch.cat([attack(model, part, labels) for part, labels in parts])


def _foolbox(eps: float, step_size: float, steps: int) -> Attack:
    import foolbox

    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        victim = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
        pgd = foolbox.attacks.LinfPGD(abs_stepsize=step_size, steps=steps, random_start=False)
        return pgd(victim, x, y, epsilons=eps)[1]

    return attack


def _torchattacks(eps: float, step_size: float, steps: int) -> Attack:
    import torchattacks

    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return torchattacks.PGD(model, eps=eps, alpha=step_size, steps=steps, random_start=False)(x, y)

    return attack


def _art(eps: float, step_size: float, steps: int) -> Attack:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        victim = PyTorchClassifier(
            model, loss=nn.CrossEntropyLoss(), input_shape=tuple(x.shape[1:]), nb_classes=10, clip_values=(0.0, 1.0)
        )
        pgd = ProjectedGradientDescentPyTorch(
            victim, eps=eps, eps_step=step_size, max_iter=steps, batch_size=len(x), verbose=False
        )
        return torch.from_numpy(pgd.generate(x.cpu().numpy(), y.cpu().numpy())).to(x.device)

    return attack

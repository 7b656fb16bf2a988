"""The same attacks by other libraries, each with its own defaults unless a duel says otherwise.

Every maker imports its library when it is called: none of them is needed by advbench.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from advbench.core.norms import lengths

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]  # (model, x, y) -> x_adv


def foolbox(name: str, eps: float | None = None, **settings: object) -> Attack:
    """`foolbox.attacks.NAME`; without eps it is asked for the nearest example."""

    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        import foolbox as library

        victim = library.PyTorchModel(model, bounds=(0, 1), device=x.device)
        raw, clipped, _ = getattr(library.attacks, name)(**settings)(victim, x, y, epsilons=eps)
        found: Tensor = raw if eps is None else clipped
        return found

    return attack


def torchattacks(name: str, **settings: object) -> Attack:
    """`torchattacks.NAME`."""

    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        import torchattacks as library

        found: Tensor = getattr(library, name)(model, **settings)(x, y)
        return found

    return attack


def adv_lib(name: str, **settings: object) -> Attack:
    """`adv_lib.attacks.NAME`."""

    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        import adv_lib.attacks as library

        found: Tensor = getattr(library, name)(model, x, y, **settings)
        return found

    return attack


def autoattack(parts: tuple[str, ...], norm: float, eps: float) -> Attack:
    """The published code of AutoAttack with these of its parts, or its standard set if there are none."""

    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        from autoattack import AutoAttack

        name = {1.0: "L1", 2.0: "L2", math.inf: "Linf"}[norm]
        version = "custom" if parts else "standard"
        judge = AutoAttack(
            model,
            norm=name,
            eps=eps,
            version=version,
            attacks_to_run=list(parts),
            device=x.device,
            verbose=False,
            seed=torch.initial_seed(),  # that of the run: it sets its own before each part
        )
        judge.apgd.n_restarts = judge.apgd_targeted.n_restarts = 1  # as in the standard set
        found: Tensor = judge.run_standard_evaluation(x, y, bs=len(x))
        return found

    return attack


def fab_of_autoattack(norm: float, targeted: bool, steps: int = 100) -> Attack:
    """The published code of FAB, asked for the nearest example.

    Its own loop over target classes leaves an image alone once it is fooled within eps. Here every image meets all
    nine of them, as it must where the nearest is asked for.
    """

    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        from autoattack.fab_pt import FABAttack_PT

        name = {1.0: "L1", 2.0: "L2", math.inf: "Linf"}[norm]
        fab = FABAttack_PT(
            model, norm=name, n_iter=steps, eps=1e9, seed=0, targeted=targeted, device=x.device, n_target_classes=9
        )
        if not targeted:
            found: Tensor = fab.perturb(x, y)
            return found
        best, distance = x.clone(), torch.full((len(x),), math.inf)
        torch.manual_seed(0)
        for fab.target_class in range(2, 11):  # the second most likely class and so on
            with torch.no_grad():
                z = fab.attack_single_run(x.clone(), y.clone(), is_targeted=True)
                length = torch.where(model(z).argmax(1) != y, lengths(z - x, norm), math.inf)
            nearer = length < distance
            best[nearer], distance = z[nearer], torch.minimum(length, distance)
        return best

    return attack


def art(name: str, *, probabilities: bool = False, **settings: object) -> Attack:
    """`art.attacks.evasion.NAME` on a PyTorchClassifier; of probabilities, for those that refuse logits."""

    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        import art.attacks.evasion as library
        from art.estimators.classification import PyTorchClassifier

        shape, loss = tuple(x.shape[1:]), nn.CrossEntropyLoss()
        scores = nn.Sequential(_InFloat32(model), nn.Softmax(1)) if probabilities else _InFloat32(model)
        victim = PyTorchClassifier(scores, loss=loss, input_shape=shape, nb_classes=10, clip_values=(0.0, 1.0))
        labels = np.eye(10, dtype=np.float32)[y.cpu().numpy()]
        found = getattr(library, name)(victim, **settings).generate(x.cpu().numpy(), labels)
        return torch.from_numpy(found).to(x.device)

    return attack


class _InFloat32(nn.Module):
    """The model for a library that asks in float64 now and then."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x.float())
        return logits

"""Which of our attacks meets which rival, in which norm, with which settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.peers.rivals import (
    Attack,
    adv_lib,
    art,
    autoattack,
    fab_of_autoattack,
    foolbox,
    torchattacks,
)

L0, L1, L2, LINF = 0.0, 1.0, 2.0, math.inf


@dataclass(frozen=True)
class Duel:
    """Our attack with its parameters against rivals, in a norm, at a radius or (eps None) for the nearest example."""

    attack: str
    norm: float
    rivals: Mapping[str, Attack]
    eps: float | None = None
    params: Mapping[str, object] = field(default_factory=dict)
    slow: bool = False  # left out unless asked for


def duels(radii: Mapping[float, float]) -> list[Duel]:
    """All duels; radii: norm -> the eps at which attacks with a fixed radius meet."""
    return [
        *_gradient(radii),
        *_momentum(radii[LINF]),
        *_nearest(),
        *_sparse(),
        *_slow(),
        *_black_box(radii),
        *_decisions(),
    ]


def _gradient(radii: Mapping[float, float]) -> list[Duel]:
    found = []
    for norm in (LINF, L2, L1):
        eps = radii[norm]
        ours = {"ce": {"loss": "ce"}, "dlr": {"loss": "dlr"}}
        for loss, params in ours.items():
            rivals = {
                "autoattack": autoattack((f"apgd-{loss}",), norm, eps),
                "adv_lib": adv_lib("apgd", eps=eps, norm=norm, loss_function=loss, use_large_reps=norm == L1),
            }
            found.append(Duel("apgd", norm, rivals, eps, params))
        found.append(Duel("apgd_t", norm, {"autoattack": autoattack(("apgd-t",), norm, eps)}, eps))
    linf = {"foolbox": foolbox("FGSM", radii[LINF]), "torchattacks": torchattacks("FGSM", eps=radii[LINF])}
    found.append(Duel("fgsm", LINF, linf, radii[LINF]))
    step = radii[LINF] / 10
    bim = {"torchattacks": torchattacks("BIM", eps=radii[LINF], alpha=step, steps=10)}
    found.append(Duel("pgd", LINF, bim, radii[LINF], {"steps": 10, "step_size": step, "random_start": False}))
    vat = {"foolbox": foolbox("VirtualAdversarialAttack", radii[L2], steps=10)}
    found.append(Duel("vat", L2, vat, radii[L2]))
    return found


def _momentum(eps: float) -> list[Duel]:
    """The transfer family against the net itself, with the same parts: no shrinking in TI, momentum in all."""
    step = eps / 10
    rivals = {
        "rfgsm": torchattacks("RFGSM", eps=eps, alpha=eps / 2, steps=1),
        "mi_fgsm": torchattacks("MIFGSM", eps=eps, alpha=step),
        "di_fgsm": torchattacks("DIFGSM", eps=eps, alpha=step, decay=1.0),
        "ni_fgsm": torchattacks("NIFGSM", eps=eps, alpha=step),
        "si_fgsm": torchattacks("SINIFGSM", eps=eps, alpha=step),
        "ti_fgsm": torchattacks("TIFGSM", eps=eps, alpha=step, decay=1.0, diversity_prob=0.0),
        "vmi_fgsm": torchattacks("VMIFGSM", eps=eps, alpha=step, N=20),
    }
    return [Duel(name, LINF, {"torchattacks": rival}, eps) for name, rival in rivals.items()]


def _nearest() -> list[Duel]:
    found = []
    for norm in (LINF, L2, L1):
        for name, targeted in (("fab", False), ("fab_t", True)):
            rivals = {"autoattack": fab_of_autoattack(norm, targeted)}
            if not targeted:
                rivals["adv_lib"] = adv_lib("fab", norm=norm)
            found.append(Duel(name, norm, rivals))
        fmn = {"adv_lib": adv_lib("fmn", norm=norm, steps=100)}
        fmn["foolbox"] = foolbox({LINF: "LInfFMNAttack", L2: "L2FMNAttack", L1: "L1FMNAttack"}[norm])
        found.append(Duel("fmn", norm, fmn))
        found.append(Duel("pdpgd", norm, {"adv_lib": adv_lib("pdpgd", norm=norm)}))
    ddn = {"adv_lib": adv_lib("ddn", levels=None), "foolbox": foolbox("DDNAttack")}
    found.append(Duel("ddn", L2, ddn))
    found.append(Duel("alma", L2, {"adv_lib": adv_lib("alma")}))
    found.append(
        Duel(
            "alma", L1, {"adv_lib": adv_lib("alma", distance="l1", init_lr_distance=0.5)}, None, {"first_distance": 0.5}
        )
    )
    deepfool = {"adv_lib": adv_lib("df", steps=50), "foolbox": foolbox("L2DeepFoolAttack")}
    found.append(Duel("deepfool", L2, deepfool))
    linf = {"adv_lib": adv_lib("df", norm=math.inf, steps=50), "foolbox": foolbox("LinfDeepFoolAttack")}
    found.append(Duel("deepfool", LINF, linf))
    found.append(Duel("superdeepfool", L2, {"adv_lib": adv_lib("sdf")}))
    found.append(
        Duel("newton_fool", L2, {"foolbox": foolbox("NewtonFoolAttack"), "art": art("NewtonFool", verbose=False)})
    )
    return found


def _sparse() -> list[Duel]:
    fmn = {"adv_lib": adv_lib("fmn", norm=0, steps=100), "foolbox": foolbox("L0FMNAttack")}
    return [
        Duel("sigma_zero", L0, {"adv_lib": adv_lib("sigma_zero")}),
        Duel("fmn", L0, fmn),
        Duel("sparse_fool", L1, {"torchattacks": torchattacks("SparseFool")}, slow=True),
        Duel(
            "jsma",
            L0,
            {"torchattacks": torchattacks("JSMA"), "art": art("SaliencyMapMethod", theta=1.0, verbose=False)},
            slow=True,
        ),
    ]


def _slow() -> list[Duel]:
    cw = {"steps": 1000}
    return [
        Duel(
            "carlini_wagner",
            L2,
            {
                "adv_lib": adv_lib("carlini_wagner_l2", max_iterations=1000),
                "foolbox": foolbox("L2CarliniWagnerAttack", steps=1000),
            },
            None,
            cw,
            slow=True,
        ),
        Duel("carlini_wagner", LINF, {"adv_lib": adv_lib("carlini_wagner_linf")}, None, {}, slow=True),
        Duel(
            "ead",
            L1,
            {"foolbox": foolbox("EADAttack", steps=1000, decision_rule="L1", regularization=0.01)},
            None,
            cw,
            slow=True,
        ),
        *(
            Duel("brendel_bethge", norm, {"foolbox": foolbox(name)}, slow=True)
            for norm, name in {
                L0: "L0BrendelBethgeAttack",
                L1: "L1BrendelBethgeAttack",
                L2: "L2BrendelBethgeAttack",
                LINF: "LinfinityBrendelBethgeAttack",
            }.items()
        ),
    ]


def _black_box(radii: Mapping[float, float]) -> list[Duel]:
    found = []
    for norm in (LINF, L2, L1):
        eps = radii[norm]
        found.append(Duel("square", norm, {"autoattack": autoattack(("square",), norm, eps)}, eps, slow=True))
        found.append(Duel("auto", norm, {"autoattack": autoattack((), norm, eps)}, eps, slow=True))
    spsa = torchattacks("SPSA", eps=radii[LINF], nb_iter=19)  # of 256 queries each: our 5,000
    zoo = art("ZooAttack", max_iter=100, use_resize=False, use_importance=False, verbose=False)
    steps = {"epsilon": 0.2, "max_iter": 2500}  # of two queries each
    pixels = art("SimBA", probabilities=True, attack="px", verbose=False, **steps)
    return [
        *found,
        Duel("spsa", LINF, {"torchattacks": spsa}, radii[LINF], slow=True),
        Duel("one_pixel", L0, {"torchattacks": torchattacks("OnePixel", steps=100, popsize=400)}, 1.0, slow=True),
        Duel("simba", L2, {"art": pixels}, None, slow=True),
        Duel("zoo", L2, {"art": zoo}, None, slow=True),
    ]


def _decisions() -> list[Duel]:
    few = {"queries": 1000}
    as_many = {"queries": 1700}  # as ART's, which spends 1,745 on a net for MNIST
    steps = {"max_iter": 8, "max_eval": 1000, "verbose": False}
    return [
        Duel(
            "hop_skip_jump",
            L2,
            {"art": art("HopSkipJump", norm=2, **steps), "foolbox": foolbox("HopSkipJumpAttack", steps=6)},
            None,
            as_many,
            slow=True,
        ),
        Duel(
            "sign_opt",
            L2,
            {"art": art("SignOPTAttack", targeted=False, query_limit=1000, verbose=False)},
            None,
            few,
            slow=True,
        ),
        Duel("geoda", L2, {"art": art("GeoDA", norm=2, max_iter=1000, verbose=False)}, None, few, slow=True),
        Duel("boundary", L2, {"foolbox": foolbox("BoundaryAttack", steps=1000)}, None, few, slow=True),
    ]

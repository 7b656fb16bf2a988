"""All parts of the transfer family at once, in one loop: VT-SI-DI-TI-NI-MI-FGSM, or any of them. arXiv:2103.15571."""

from __future__ import annotations

from math import inf

from torch import Tensor, nn

from advbench.attacks.arguments import at_least_one, at_least_zero
from advbench.attacks.transfer.ascent import Parts, as_it_is, ascend
from advbench.attacks.transfer.copies import admixed, chained, darkened, resized
from advbench.attacks.transfer.smoothing import gaussian
from advbench.core.draws import Draws
from advbench.core.view_gradient import Look
from advbench.registry import attack
from advbench.types import ConfigError, ThreatModel


@attack(norms=(2, inf), access="gradient", paper="arXiv:2103.15571", cost=(40, 30))
def momentum_ascent(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    draws: Draws,
    targeted: bool = False,
    steps: int = 10,
    decay: float = 1.0,
    nesterov: bool = False,
    scales: int = 1,
    mixes: int = 3,
    diversity: float = 0.5,
    smallest: float = 0.9,
    translation: int = 1,
    variance: int = 0,
    reach: float = 1.5,
    early_stop: bool = True,
) -> Tensor:
    """x_adv after `steps` steps along the momentum of a gradient that is steadied by all parts that are switched on.

    nesterov: look ahead (ni_fgsm). scales: copies divided by 1, 2, 4, ... (si_fgsm; 1: off). mixes: other images mixed
    in, each at all scales (admix; 0: off). diversity: probability of a shrunk copy (di_fgsm; 0: off), of at least
    `smallest` of its sides. translation: side of the kernel that blurs the gradient (ti_fgsm; 1: off). variance:
    neighbours within reach * eps (vmi_fgsm; 0: off). With all off it is mi_fgsm. The defaults were picked
    from eleven settings on one pair of small nets each for MNIST and CIFAR-10; they are no optimum. A step costs
    scales * max(mixes, 1) * (1 + variance) gradients. steps, decay, early_stop: as in ni_fgsm.
    Raises ConfigError if threat.eps is None or a part has a value without meaning.
    """
    at_least_one("scales", scales), at_least_zero("mixes", mixes), at_least_zero("variance", variance)
    if not (0 <= diversity <= 1 and 0 < smallest <= 1):
        raise ConfigError(f"need diversity in [0, 1] and smallest in (0, 1], got {diversity} and {smallest}")
    looks: list[Look] = [resized(diversity, smallest)] if diversity else []
    if mixes:
        looks.append(admixed(scales, 0.2, None))
    elif scales > 1:
        looks.append(darkened(scales))
    parts = Parts(
        steps,
        decay,
        early_stop,
        nesterov=nesterov,
        look=chained(*looks) if looks else None,
        looks=scales * max(mixes, 1),
        smooth=gaussian(translation) if translation != 1 else as_it_is,
        neighbours=variance,
        reach=reach,
    )
    return ascend(model, x, y, threat, parts, draws=draws, targeted=targeted)

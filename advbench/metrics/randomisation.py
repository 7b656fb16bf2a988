"""Weight randomisation: a map that stays when the network forgets does not explain it.

Cascading from the top layer down. Adebayo et al. 2018, arXiv:1810.03292, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.copying import copy_of
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.metrics.map_similarity import rank_correlation, structural_similarity, varies

Explainer = Callable[[nn.Module], Tensor]  # a model -> its maps (B, C, H, W) of the same images and targets

# Mean rank correlation above which the map is said not to follow the weights. SqueezeNet 1.1 on photos: gradient 0.4,
# Grad-CAM 0.1, guided backprop 0.7, deconvnet 0.9 (docs/faithfulness.md).
THRESHOLD = 0.5


class Cascade(NamedTuple):
    """The maps after each stage against those of the trained model.

    layers: names, in the order in which they forgot (stage s: layers[: s + 1]). correlation, similarity: (S, B) rank
    correlation and SSIM. score: mean correlation over the samples and the stages in which at most half of the layers
    forgot (the first one if none), for that is where the paper finds guided backprop unchanged (figure 2); further down
    all maps lose their likeness. badge: "passes" if score is at most the threshold. threshold: that number. blank: how
    many of the pairs behind the score were left out because one map is level, as where a ReLU leaves nothing; their
    correlation and similarity are nan. If all are, score is nan and the badge says so.
    """

    layers: tuple[str, ...]
    correlation: Tensor
    similarity: Tensor
    score: float
    badge: Literal["passes", "fails", "blank"]
    threshold: float
    blank: int


def randomisation(
    model: nn.Module,
    x: Tensor,
    explain: Explainer,
    *,
    seed: int = 0,
    stages: int | None = None,
    threshold: float = THRESHOLD,
) -> Cascade:
    """How much the maps that `explain` gives keep of themselves while the layers forget, from the last to the first.

    explain: from a model to the maps (B, C, H, W) for the images x (B, C, H, W) and one choice of targets; those of the
    trained model at every stage. Compared are the absolute values, summed over the channels: signs flip at random in a
    random network, so signed maps would pass too easily. SSIM is that of the maps divided by their largest values.
    stages: in how many steps (each about as many layers; None: one layer per step). A layer that forgets gets Gaussian
    weights of the variance 2 / fan-in (He et al. 2015), biases 0, a norm or a PReLU its first state, from `seed`. All
    happens in a copy; the model is not touched. Raises ValueError if the model has no weights or stages < 1.
    """
    if stages is not None and stages < 1:
        raise ValueError(f"randomisation: stages must be at least 1, got {stages}")
    layers = layers_from_the_top(model, x)
    if not layers:
        raise ValueError("randomisation: the model has no weights that could be forgotten")
    count = min(stages or len(layers), len(layers))
    ends = [round(len(layers) * (i + 1) / count) for i in range(count)]
    original = strength(explain(model))
    forgetful = copy_of(model)
    modules, done = dict(forgetful.named_modules()), 0
    correlation, similarity = [], []
    for end in ends:
        for i in range(done, end):
            forget(modules[layers[i]], Draws(seed, torch.tensor([i])))
        done = end
        heat = strength(explain(forgetful))
        correlation.append(rank_correlation(original, heat))
        similarity.append(structural_similarity(original, heat).where(varies(original) & varies(heat), torch.nan))
    kept = torch.stack(correlation)  # (S, B)
    upper = max(1, sum(2 * end <= len(layers) for end in ends))
    score, blank = float(kept[:upper].nanmean()), int(kept[:upper].isnan().sum())
    badge: Literal["passes", "fails", "blank"] = "passes" if score <= threshold else "fails"
    if math.isnan(score):
        badge = "blank"
    return Cascade(tuple(layers), kept, torch.stack(similarity), score, badge, threshold, blank)


def strength(heat: Tensor) -> Tensor:
    """(B, 1, H, W): absolute values of heat (B, C, H, W) summed over the channels, over their largest."""
    total = heat.detach().abs().sum(1, keepdim=True)
    largest = total.amax((1, 2, 3), keepdim=True) if total.numel() else total
    return total / torch.where(largest > 0, largest, 1.0)


def layers_from_the_top(model: nn.Module, x: Tensor) -> list[str]:
    """Names of the modules with weights or running statistics of their own, the last called in a forward pass first.

    One that is never called, because the module around it reads its weights itself (an attention's `out_proj`), stands
    in front of that module.
    """
    called: list[str] = []
    able = {name: module for name, module in model.named_modules() if [*_own(module), *_seen(module)]}
    handles = [
        # A hook before the call: a module that raises has still been called.
        module.register_forward_pre_hook(lambda module, inputs, name=name: called.append(name))
        for name, module in able.items()
    ]
    try:
        with frozen(model), torch.no_grad():
            model(x[:1])
    finally:
        for handle in handles:
            handle.remove()
    order = list(dict.fromkeys(reversed(called)))
    around = {name: _around(name, order) for name in reversed(able) if name not in called}
    return [each for name in order for each in (*(inner for inner in around if around[inner] == name), name)]


def _around(inner: str, names: Sequence[str]) -> str | None:
    """The innermost of the modules `names` that holds the module `inner`; None if none does."""
    outer = [name for name in names if not name or inner.startswith(f"{name}.")]
    return max(outer, key=len, default=None)


def forget(module: nn.Module, draws: Draws) -> None:
    """Overwrites the module's own weights with random ones and its norm statistics with those of a new layer."""
    with torch.no_grad():
        for name, weight in _own(module):
            if weight.dim() > 1:
                fan_in = weight[0].numel()
                noise = draws.normal(tuple(weight.shape), f"forget {name}")[0]
                weight.copy_(noise * (2.0 / fan_in) ** 0.5)
            elif isinstance(module, nn.PReLU):
                weight.fill_(module.init)
            else:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)
        for name, buffer in _seen(module):
            buffer.fill_(0.0 if name == "running_mean" else 1.0)


def _own(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return module.named_parameters(recurse=False)


def _seen(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What a norm remembers of the images that it has seen."""
    return (each for each in module.named_buffers(recurse=False) if each[0] in ("running_mean", "running_var"))

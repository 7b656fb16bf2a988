"""What a step of each picture method costs, as a multiple of its own forward and backward passes: at most 1.15.

Processor time on a CPU, the median of rounds in which the bare passes and the method take turns.

OMP_NUM_THREADS=1 python benchmarks/speed/pictures.py --model SPEC --weights FILE --size 224
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from advbench.core.activations import Partial
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.targets import parse_target
from advbench.models.load import load_model
from advbench.synthesis.dream.dream import dream
from advbench.synthesis.dream.dream_target import dream_layer
from advbench.synthesis.inversion.inversion import inversion
from advbench.synthesis.visualize.recipes import RECIPES
from advbench.synthesis.visualize.visualize import visualize


def bare_steps(model: nn.Module, x: Tensor, layer: str | None, steps: int) -> None:
    """`steps` forward and backward passes to x (B, C, H, W), of the whole network or up to a layer."""
    with frozen(model):
        partial = None if layer is None else Partial(model, [layer], x[:1])
        for _ in range(steps):
            z = x.detach().requires_grad_(True)
            value = model(z)[:, 0] if partial is None else partial(z)[str(layer)].flatten(1).square().sum(1)
            torch.autograd.grad(value.sum(), z)


def seconds_per_step(work: Callable[[int], object], steps: int) -> float:
    """Of the steps after the sixteenth: what is done at the start, such as waking dead units, does not count."""
    return (processor_seconds(work, 17 + steps) - processor_seconds(work, 17)) / steps


def processor_seconds(work: Callable[[int], object], steps: int) -> float:
    """Of this process: what else the machine does is not counted."""
    start = time.process_time()
    work(steps)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="torchvision:squeezenet1_1")
    parser.add_argument("--weights", default=None)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    shape, draws = (3, asked.size, asked.size), Draws(0, torch.arange(asked.batch))
    model = load_model(asked.model, shape=shape, classes=asked.classes, weights=asked.weights)
    x = draws.uniform(shape, "image")
    layer = dream_layer(model, x[:1])

    def visualized(preset: str) -> Callable[[int], object]:
        return lambda steps: visualize(
            model, parse_target("class:0"), draws=draws, shape=shape, preset=preset, steps=steps
        )

    methods: dict[str, tuple[Callable[[int], object], str | None]] = {
        **{f"visualize, {preset}": (visualized(preset), None) for preset in RECIPES},
        f"inversion of {layer}": (
            lambda steps: inversion(model, x, draws=draws, layer=layer, restarts=1, steps=steps),
            layer,
        ),
        f"dream of {layer}": (
            lambda steps: dream(model, x, draws=draws, layers=layer, octaves=1, steps=steps),
            layer,
        ),
    }
    for name, (work, until) in methods.items():
        # In turn, so that a machine that slows down slows both.
        ratios = []
        for _ in range(asked.rounds):
            floor = seconds_per_step(partial(bare_steps, model, x, until), asked.steps)
            mine = seconds_per_step(work, asked.steps)
            ratios.append((mine / floor, 1e3 * mine, 1e3 * floor))
        ratio, mine, floor = sorted(ratios)[len(ratios) // 2]
        print(f"{name:32s} {mine:8.1f} ms a step, floor {floor:8.1f} ms, {ratio:.3f} x", flush=True)


if __name__ == "__main__":
    main()

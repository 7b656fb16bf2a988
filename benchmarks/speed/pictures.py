"""What a step of each picture method costs, as a multiple of its own forward and backward passes: at most 1.15.

Processor time on a CPU, the median of rounds in which the bare passes and the method take turns. Of textures and styles
a second multiple counts the Gram matrices in, formed and differentiated by plain products: they belong to the loss, but
of a small network they cost as much as the passes.

OMP_NUM_THREADS=1 python benchmarks/speed/pictures.py --model SPEC --weights FILE --size 224

With --painting: images per second of the networks that paint in one pass.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from advbench.core.activations import Partial
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.targets import parse_target
from advbench.models.load import load_model
from advbench.synthesis.dream.dream import dream
from advbench.synthesis.dream.dream_target import dream_layer
from advbench.synthesis.feed_forward.networks import TransformNet
from advbench.synthesis.feed_forward.train_style import paint
from advbench.synthesis.inversion.inversion import inversion
from advbench.synthesis.stages import content_layer, texture_layers
from advbench.synthesis.style.style import style
from advbench.synthesis.texture.texture import texture
from advbench.synthesis.visualize.recipes import RECIPES
from advbench.synthesis.visualize.visualize import visualize

Work = Callable[[int], object]  # does that many steps


class Method(NamedTuple):
    """A picture method and what its passes read: layers (none: the whole network), some by their Gram matrices."""

    work: Work
    layers: Sequence[str] = ()
    grams: Sequence[str] = ()


def bare_steps(model: nn.Module, x: Tensor, layers: Sequence[str], steps: int) -> None:
    """`steps` forward and backward passes to x (B, C, H, W), of the whole network or up to the last of the layers."""
    with frozen(model):
        part = Partial(model, layers, x[:1]) if layers else None
        for _ in range(steps):
            z = x.detach().requires_grad_(True)
            last = model(z) if part is None else list(part(z).values())[-1]
            torch.autograd.grad(last.sum(), z)


def gram_steps(model: nn.Module, x: Tensor, method: Method, steps: int) -> None:
    """The same, from squared differences of Gram matrices (of maps at the other layers), nothing made clever."""
    with frozen(model):
        part = Partial(model, method.layers, x[:1])
        with torch.no_grad():
            wanted = _looks(part(x.flip(-1)), method.grams)
        for _ in range(steps):
            z = x.detach().requires_grad_(True)
            seen = _looks(part(z), method.grams)
            apart = [(look - wanted[layer]).square().sum() for layer, look in seen.items()]
            torch.autograd.grad(torch.stack(apart).sum(), z)


def _looks(maps: dict[str, Tensor], grams: Sequence[str]) -> dict[str, Tensor]:
    flat = {layer: maps[layer].flatten(2) for layer in grams}
    return {**maps, **{layer: each @ each.transpose(1, 2) / each.shape[2] for layer, each in flat.items()}}


def seconds_per_step(work: Work, steps: int) -> float:
    """Of the steps after the sixteenth: what is done at the start, such as waking dead units, does not count."""
    return (processor_seconds(work, 17 + steps) - processor_seconds(work, 17)) / steps


def processor_seconds(work: Work, steps: int) -> float:
    """Of this process: what else the machine does is not counted."""
    start = time.process_time()
    work(steps)
    return time.process_time() - start


def print_painting_rates(side: int, rounds: int) -> None:
    """Images per second of side x side pixels through the networks that paint in one pass.

    By the clock and per second of processor time, the best of the rounds: what else the machine does can only slow one
    down. Untrained weights: the work is the same.
    """
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for name, widths, blocks in (("default", (16, 32, 64), 3), ("as in the paper", (32, 64, 128), 5)):
            network = TransformNet(widths=widths, blocks=blocks).eval()
            for batch in (1, 8):
                x = torch.rand(batch, 3, side, side)
                paint(network, x)
                spent = [seconds(partial(paint, network, x)) for _ in range(rounds)]
                clock, processor = (batch / min(each) for each in zip(*spent, strict=True))
                print(
                    f"painting, network {name}, {threads} threads, batch {batch}: {clock:.1f} images / s, "
                    f"{processor:.1f} per second of processor time",
                    flush=True,
                )
    torch.set_num_threads(before)


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Of the clock and of this process."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="torchvision:squeezenet1_1")
    parser.add_argument("--weights", default=None)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--painting", action="store_true", help="only images per second of the painting networks")
    asked = parser.parse_args()
    if asked.painting:
        print_painting_rates(asked.size, asked.rounds)
        return
    shape, draws = (3, asked.size, asked.size), Draws(0, torch.arange(asked.batch))
    model = load_model(asked.model, shape=shape, classes=asked.classes, weights=asked.weights)
    x = draws.uniform(shape, "image")
    for name, method in methods(model, x, draws, shape).items():
        # In turn, so that a machine that slows down slows all.
        rounds = []
        for _ in range(asked.rounds):
            mine = seconds_per_step(method.work, asked.steps)
            floors = [seconds_per_step(partial(bare_steps, model, x, method.layers), asked.steps)]
            if method.grams:
                floors.append(seconds_per_step(partial(gram_steps, model, x, method), asked.steps))
            rounds.append((mine / floors[0], mine, *floors))
        _, mine, floor, *more = sorted(rounds)[len(rounds) // 2]
        line = f"{name:32s} {1e3 * mine:8.1f} ms a step, floor {1e3 * floor:8.1f} ms, {mine / floor:.3f} x"
        print(line + "".join(f"; with Grams {1e3 * each:8.1f} ms, {mine / each:.3f} x" for each in more), flush=True)


def methods(model: nn.Module, x: Tensor, draws: Draws, shape: tuple[int, int, int]) -> dict[str, Method]:
    """Each method as it is called, at images of `shape` like x (B, C, H, W)."""
    layer, spatial, textured = dream_layer(model, x[:1]), content_layer(model, x), texture_layers(model, x)
    sample, target = x[..., : shape[1] // 2, : shape[2] // 2], parse_target("class:0")

    def visualized(preset: str) -> Work:
        return lambda steps: visualize(model, target, draws=draws, shape=shape, preset=preset, steps=steps)

    def textured_by(rule: str) -> Work:
        return lambda steps: texture(model, sample, draws=draws, size=shape[1:], scales=1, steps=steps, optimiser=rule)

    def styled_by(rule: str) -> Work:
        return lambda steps: style(model, x, x[:1].flip(-1), draws=draws, steps=(steps,), optimiser=rule)

    return {
        **{f"visualize, {preset}": Method(visualized(preset)) for preset in RECIPES},
        f"inversion of {layer}": Method(
            lambda steps: inversion(model, x, draws=draws, layer=layer, restarts=1, steps=steps), (layer,)
        ),
        f"dream of {layer}": Method(
            lambda steps: dream(model, x, draws=draws, layers=layer, octaves=1, steps=steps), (layer,)
        ),
        **{f"texture, {rule}": Method(textured_by(rule), textured, textured) for rule in ("lbfgs", "adam")},
        **{f"style, {rule}": Method(styled_by(rule), [*textured, spatial], textured) for rule in ("lbfgs", "adam")},
    }


if __name__ == "__main__":
    main()

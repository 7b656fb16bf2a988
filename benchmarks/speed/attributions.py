"""Seconds of heat map methods beside their floor and beside captum and grad-cam, where these are installed.

The floor of a method is the bare passes that it cannot do without (so many forward, so many backward, per image), at
the batch size that is fastest for them. Each round times the floor, ours and every peer once, one after the other;
ratios are taken within a round, and their median is shown.

    python -m benchmarks.speed.attributions --out attributions.csv
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click
import pandas as pd
import torch
import torchvision
from torch import Tensor, nn
from tqdm import tqdm

from advbench.attributions.explain import explain
from advbench.models.seeding import seeded
from benchmarks.speed.allocator import as_it_comes

NETS = {"squeezenet1_1": "features.12", "resnet18": "layer4"}  # net: the layer of its class activation maps
FLOOR_BATCHES = (8, 32)
NODES, SAMPLES, WINDOW, STRIDE = 8, 8, 64, 64

Peer = Callable[[nn.Module, Tensor, Tensor, str], object]  # (model, x, y, layer)


@dataclass(frozen=True)
class Contest:
    """A method, its parameters, the passes (forward, backward) per image of its floor, and who else can do it."""

    method: str
    passes: tuple[int, int]
    params: Mapping[str, object] = field(default_factory=dict)
    peers: Mapping[str, Peer] = field(default_factory=dict)


def contests() -> list[Contest]:
    captum, cams = _captum(), _grad_cams()
    windows = _window_count(224)
    return [
        Contest("gradient", (1, 1), peers=captum["gradient"]),
        Contest("input_x_gradient", (1, 1), peers=captum["input_x_gradient"]),
        Contest("guided_backprop", (1, 1), peers=captum["guided_backprop"]),
        Contest("deconvnet", (1, 1), peers=captum["deconvnet"]),
        Contest(
            "integrated_gradients", (NODES, NODES), {"nodes": NODES, "most": NODES}, captum["integrated_gradients"]
        ),
        Contest("smooth_grad", (SAMPLES, SAMPLES), {"samples": SAMPLES}, captum["smooth_grad"]),
        Contest("occlusion", (windows, 0), {"window": WINDOW, "stride": STRIDE}, captum["occlusion"]),
        Contest("grad_cam", (1, 0), peers={**captum["grad_cam"], **cams["grad_cam"]}),
        Contest("grad_cam_pp", (1, 0), peers=cams["grad_cam_pp"]),
        Contest("hires_cam", (1, 0), peers=cams["hires_cam"]),
        Contest("layer_cam", (1, 0), peers=cams["layer_cam"]),
        Contest("guided_grad_cam", (1, 1), peers=captum["guided_grad_cam"]),
    ]


def _captum() -> Mapping[str, Mapping[str, Peer]]:
    """captum's methods, each at the internal batch sizes worth trying."""
    try:
        from captum import attr
    except ImportError:
        return _Nothing()

    def plain(kind: str) -> dict[str, Peer]:
        return {"captum": lambda model, x, y, layer: getattr(attr, kind)(model).attribute(x, target=y)}

    def gradients(size: int) -> Peer:
        return lambda model, x, y, layer: attr.IntegratedGradients(model).attribute(
            x, target=y, n_steps=NODES, internal_batch_size=size
        )

    def smooth(size: int) -> Peer:
        return lambda model, x, y, layer: attr.NoiseTunnel(attr.Saliency(model)).attribute(
            x, nt_samples=SAMPLES, nt_samples_batch_size=size, stdevs=0.15, target=y, abs=False
        )

    def hidden(size: int) -> Peer:
        return lambda model, x, y, layer: attr.Occlusion(model).attribute(
            x, (3, WINDOW, WINDOW), (3, STRIDE, STRIDE), target=y, perturbations_per_eval=size
        )

    def class_map(model: nn.Module, x: Tensor, y: Tensor, layer: str) -> object:
        found = attr.LayerGradCam(model, model.get_submodule(layer)).attribute(x, target=y)
        return attr.LayerAttribution.interpolate(found, x.shape[2:], "bilinear")

    def guided_map(model: nn.Module, x: Tensor, y: Tensor, layer: str) -> object:
        return attr.GuidedGradCam(model, model.get_submodule(layer)).attribute(x, target=y)

    return {
        "gradient": {"captum": lambda m, x, y, layer: attr.Saliency(m).attribute(x, target=y, abs=False)},
        "input_x_gradient": plain("InputXGradient"),
        "guided_backprop": plain("GuidedBackprop"),
        "deconvnet": plain("Deconvolution"),
        "integrated_gradients": {f"captum, {size} at a time": gradients(size) for size in (8, 32)},
        "smooth_grad": {f"captum, {size} at a time": smooth(size) for size in (1, 4)},
        "occlusion": {f"captum, {size} at a time": hidden(size) for size in (1, 4)},
        "grad_cam": {"captum": class_map},
        "guided_grad_cam": {"captum": guided_map},
    }


def _grad_cams() -> Mapping[str, Mapping[str, Peer]]:
    try:
        import pytorch_grad_cam as cams
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    except ImportError:
        return _Nothing()

    def peer(kind: str) -> dict[str, Peer]:
        def run(model: nn.Module, x: Tensor, y: Tensor, layer: str) -> object:
            with getattr(cams, kind)(model=model, target_layers=[model.get_submodule(layer)]) as cam:
                return cam(input_tensor=x.requires_grad_(True), targets=[ClassifierOutputTarget(int(k)) for k in y])

        return {"grad-cam": run}

    kinds = {"grad_cam": "GradCAM", "grad_cam_pp": "GradCAMPlusPlus", "hires_cam": "HiResCAM", "layer_cam": "LayerCAM"}
    return {name: peer(kind) for name, kind in kinds.items()}


class _Nothing(dict[str, Mapping[str, Peer]]):
    """A library that is not installed: no method of it."""

    def __missing__(self, key: str) -> Mapping[str, Peer]:
        return {}


def _window_count(side: int) -> int:
    across = -(-max(side - WINDOW, 0) // STRIDE) + 1
    return across * across


def bare(model: nn.Module, x: Tensor, y: Tensor, passes: tuple[int, int], batch: int) -> None:
    """So many forward and backward passes per image, nothing else."""
    forwards, backwards = passes
    for part, classes in zip(torch.split(x, batch), torch.split(y, batch), strict=True):
        for _ in range(backwards):
            z = part.detach().requires_grad_(True)
            torch.autograd.grad(model(z).gather(1, classes[:, None]).sum(), z)
        with torch.no_grad():
            for _ in range(forwards - backwards):
                model(part)


def plain_net(name: str) -> nn.Module:
    """torchvision's architecture with random weights; ReLUs do not overwrite, or captum's ReLU rules would fail."""
    with seeded(0):
        model = torchvision.models.get_model(name, weights=None).eval()
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model.requires_grad_(False)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(contest: Contest, name: str, count: int, rounds: int) -> list[dict[str, object]]:
    """A row per contender: median seconds and medians of the ratios to the floor and to ours, within a round."""
    model, layer = plain_net(name), NETS[name]
    x = torch.rand(count, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    y = torch.arange(count)
    own = {**contest.params, **({"layer": layer} if contest.method.endswith(("cam", "cam_pp")) else {})}
    work: dict[str, Callable[[], object]] = {
        f"floor, batch {b}": (lambda b=b: bare(model, x, y, contest.passes, b)) for b in FLOOR_BATCHES
    }
    work["advbench"] = lambda: explain(contest.method, model, x, y, **own)
    for peer, run in contest.peers.items():
        work[peer] = as_it_comes()(lambda run=run: run(model, x.clone(), y, layer))
    for act in work.values():
        act()  # memory and kernels are chosen at the first call
    times = pd.DataFrame([{label: seconds(act) for label, act in work.items()} for _ in range(rounds)])
    floor = times[[label for label in times if label.startswith("floor")]].median().idxmin()
    shown = [floor, "advbench", *contest.peers]
    return [
        {
            "net": name,
            "method": contest.method,
            "contender": label,
            "seconds": times[label].median(),
            "times the floor": (times[label] / times[floor]).median(),
            "times ours": (times[label] / times["advbench"]).median(),
        }
        for label in shown
    ]


@click.command()
@click.option("--samples", default=32, show_default=True, type=click.IntRange(1))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--only", multiple=True, help="A method; repeatable.")
@click.option("--net", "nets", multiple=True, type=click.Choice(list(NETS)), help="Repeatable.  [default: all]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="FILE.csv")
def main(
    *, samples: int, rounds: int, threads: int, only: tuple[str, ...], nets: tuple[str, ...], out: Path | None
) -> None:
    """Print the table; NODES nodes for integrated gradients, SAMPLES samples for SmoothGrad."""
    torch.set_num_threads(threads)
    rows = []
    chosen = [(net, c) for net in nets or NETS for c in contests() if not only or c.method in only]
    for net, contest in tqdm(chosen):
        found = measure(contest, net, samples, rounds)
        rows += found
        tqdm.write(pd.DataFrame(found).to_string(index=False, header=len(rows) == len(found), float_format="%.2f"))
        if out is not None:
            pd.DataFrame(rows).to_csv(out, index=False)


if __name__ == "__main__":
    main()

"""Are class images of convolutions, a transformer and an MLP recognised by networks that had no part in them?

    python -m benchmarks.class_images --train npz:digits.npz --judge small_cnn@judge.safetensors --out images.png

Trains three small networks unlike each other (a CNN, torchvision's VisionTransformer and a mixer of patches), makes
images of every class with `plug_in_inversion` as it is, and asks the judges what they see. The control takes as many
steps and passes to the same score, from the same kind of noise, on the whole image at once and without looks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import click
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import VisionTransformer

from advbench.core.draws import Draws
from advbench.core.projections import into_box
from advbench.core.step_rules import adam, cosine
from advbench.core.targets import Target, log_probability
from advbench.datasets.load import load_dataset
from advbench.defenses.settings import Training
from advbench.defenses.train import train
from advbench.models.load import load_model
from advbench.models.predict import predict
from advbench.models.seeding import seeded
from advbench.synthesis.inversion.plug_in_inversion import STAGES, plug_in_inversion
from advbench.synthesis.render import render

_PATCHES = 4  # along a side: more would double the time of a training
_WIDTH = 64
_DEPTH = 4
_PASSES = 4  # looks of a step


class Vit(nn.Module):
    """torchvision's transformer for images (B, C, S, S) in [0, 1], with 4 x 4 patches."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        patch = shape[1] // _PATCHES
        self.net = VisionTransformer(shape[1], patch, _DEPTH, 4, _WIDTH, 2 * _WIDTH, num_classes=classes)
        self.net.conv_proj = nn.Conv2d(shape[0], _WIDTH, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(2.0 * x - 1.0)
        return logits


class Mixer(nn.Module):
    """Linear layers alone: along the places, then along the channels of patches. Tolstikhin 2021, arXiv:2105.01601."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        patch = shape[1] // _PATCHES
        self.stem, self.head = nn.Conv2d(shape[0], _WIDTH, patch, patch), nn.Linear(_WIDTH, classes)
        self.places = nn.ModuleList(_two_layers(_PATCHES**2) for _ in range(_DEPTH))
        self.channels = nn.ModuleList(_two_layers(_WIDTH) for _ in range(_DEPTH))
        self.norms = nn.ModuleList(nn.LayerNorm(_WIDTH) for _ in range(2 * _DEPTH + 1))

    def forward(self, x: Tensor) -> Tensor:
        patches = self.stem(2.0 * x - 1.0).flatten(2).transpose(1, 2)  # (B, places, width)
        for i, (places, channels) in enumerate(zip(self.places, self.channels, strict=True)):
            patches = patches + places(self.norms[2 * i](patches).transpose(1, 2)).transpose(1, 2)
            patches = patches + channels(self.norms[2 * i + 1](patches))
        logits: Tensor = self.head(self.norms[-1](patches).mean(1))
        return logits


def _two_layers(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


def _small_cnn(shape: tuple[int, int, int], classes: int) -> nn.Module:
    return load_model("small_cnn", shape=shape, classes=classes)


NETWORKS: Mapping[str, Callable[[tuple[int, int, int], int], nn.Module]] = {
    "cnn": _small_cnn,
    "vit": Vit,
    "mixer": Mixer,
}


def control(model: nn.Module, target: Target, *, draws: Draws, shape: tuple[int, int, int]) -> Tensor:
    """Images (B, C, H, W): the same steps and passes to the same score, with nothing of the method."""
    rule = adam(0.1, decay=(0.5, 0.99), schedule=cosine(1.0, 0.0))
    steps = 40 * STAGES * _PASSES
    start = draws.uniform(shape, "control")
    return render(model, target, start, draws=draws, step=rule, steps=steps, project=into_box())


def write_sheet(file: Path, rows: list[Tensor], zoom: int = 2) -> None:
    """Images (K, C, H, W) in [0, 1] per row, `zoom` times as large, with a white line between them."""
    padded = [functional.pad(row, (1, 1, 1, 1), value=1.0) for row in rows]
    sheet = torch.cat([torch.cat(list(row), 2) for row in padded], 1)
    pixels = (255.0 * sheet.expand(3, -1, -1)).round().byte().repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, optimize=True)


@click.command()
@click.option("--train", "data", required=True, help="Data set to train on (its train split is asked for).")
@click.option("--judge", "judges", multiple=True, required=True, help="Model spec; repeatable.")
@click.option("--nets", default=",".join(NETWORKS), show_default=True, help="With commas.")
@click.option("--epochs", default=2, show_default=True, type=click.IntRange(1))
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Images of each class.")
@click.option("--seed", default=0, show_default=True, help="Of the first image and of the trainings.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Folder of trained weights to reuse.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="PNG.")
def main(
    *,
    data: str,
    judges: tuple[str, ...],
    nets: str,
    epochs: int,
    seeds: int,
    seed: int,
    keep: Path | None,
    out: Path,
) -> None:
    """Print the share of class images that each judge puts into their class, as Markdown; the picture has two rows for
    each network, the method's and the control's.
    """
    dataset = load_dataset(data, "train")
    known = {spec: load_model(spec, shape=dataset.shape, classes=len(dataset.classes)) for spec in judges}
    wanted = torch.arange(len(dataset.classes)).repeat_interleave(seeds)
    draws, rows = Draws(seed, torch.arange(len(wanted))), []
    print("| network | images | " + " | ".join(spec.rpartition("#")[2] for spec in judges) + " |", flush=True)
    for name in nets.split(","):
        with seeded(seed):
            model = NETWORKS[name](dataset.shape, len(dataset.classes))
        trained(model, data, epochs=epochs, seed=seed, file=keep and keep / f"{name}.pt")
        for kind in ("plug_in_inversion", "control"):
            make = plug_in_inversion if kind == "plug_in_inversion" else control
            images = make(model, log_probability(wanted), draws=draws, shape=dataset.shape)
            right = [float((predict(judge, images).argmax(1) == wanted).float().mean()) for judge in known.values()]
            print(f"| {name} | {kind} | " + " | ".join(f"{100 * share:.0f} %" for share in right) + " |", flush=True)
            rows.append(images[::seeds])
    write_sheet(out, rows)


def trained(model: nn.Module, data: str, *, epochs: int, seed: int, file: Path | None) -> None:
    """Fit `model` to the data set in place, or give it the weights in `file`, which is written after a training."""
    if file is not None and file.exists():
        model.load_state_dict(torch.load(file))
    else:
        dataset = load_dataset(data, "train")
        train(
            model,
            dataset.images,
            dataset.labels,
            training=Training(epochs=epochs, lr=1e-3, precision="bfloat16"),
            seed=seed,
            progress=False,
        )
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.save(model.state_dict(), file)
    model.eval()


if __name__ == "__main__":
    main()

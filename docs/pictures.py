"""Draw the pictures of docs/attacks.md: `python docs/pictures.py --weights squeezenet.safetensors`.

SqueezeNet 1.1 (weights: a file, or a name such as IMAGENET1K_V1) on photographs that come with scikit-image, all in the
public domain or CC0. The attacks start from the class that the network sees in a photograph, right or wrong.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import cast

import click
import skimage.data
import torch
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image, ImageOps
from torch import Tensor, nn

from advbench import load_model
from advbench.attacks.physical.corruption.kinds import KINDS
from advbench.bench.grid import AMPLIFIED, pixels
from advbench.core.draws import Draws
from advbench.core.views import photographed
from advbench.datasets.class_names import class_names
from advbench.datasets.images import as_tensor
from advbench.models.predict import predict
from advbench.registry import ATTACKS
from advbench.types import ThreatModel

PHOTOS = ("chelsea", "coffee", "rocket", "astronaut")
SIDE = 224
WIDTH, DPI = 7.2, 100  # inches: 720 pixels
COLOURS = 256  # a quarter of the bytes of all colours
NEARLY_WHITE = 243  # of 255; lighter ones would tint the margins
VIEWS = 5
SMALL, LARGE = 8 / 255, 16 / 255
NOTHING = ThreatModel(inf, None)
CLASSES = class_names("imagenet")
NOISES = ("gorilla", "goldfish", "school bus", "starfish")  # what the noise is to be taken for


@dataclass(frozen=True)
class Tile:
    """An image (3, H, W) and the lines above it."""

    image: Tensor
    caption: str


Sheet = list[list[Tile]]


@dataclass(frozen=True)
class Studio:
    """The network, the photographs x (B, 3, H, W) and the classes y (B,) that the network sees in them."""

    model: nn.Module
    x: Tensor
    y: Tensor

    def attacked(self, name: str, threat: ThreatModel, photos: slice = slice(None), **params: object) -> Tensor:
        """x_adv of the photographs under the registered attack `name`; `params` are its own."""
        x = self.x[photos]
        draws = Draws(0, torch.arange(len(x)))
        return cast("Tensor", ATTACKS[name].function(self.model, x, self.y[photos], threat, draws=draws, **params))

    def seen(self, images: Tensor, title: str = "") -> list[Tile]:
        """A tile per image (N, 3, H, W), under `title` and the class that the network sees, with its probability."""
        shares, best = predict(self.model, images).softmax(1).max(1)
        names = [f"{short(CLASSES[k])} {share:.0%}" for k, share in zip(best.tolist(), shares.tolist(), strict=True)]
        heads = [f"{title}\n{name}" if title else name for name in names]
        return [Tile(image, head) for image, head in zip(images, heads, strict=True)]


def short(name: str) -> str:
    """At most 18 characters of a class name."""
    return name if len(name) <= 18 else name[:16].rstrip() + ".."


def pairs(studio: Studio, x_adv: Tensor) -> Sheet:
    """A row of x, a row of x_adv."""
    return [studio.seen(studio.x, "x"), studio.seen(x_adv, "x_adv")]


def differences(studio: Studio, x_adv: Tensor) -> Sheet:
    """A row of x, one of x_adv, one of their difference, amplified."""
    amplified = (0.5 + AMPLIFIED * (x_adv - studio.x)).clamp(0, 1)
    return [*pairs(studio, x_adv), [Tile(image, f"{AMPLIFIED} x difference") for image in amplified]]


def patch(studio: Studio) -> Sheet:
    """A square on each photograph, at a drawn place."""
    return pairs(studio, studio.attacked("patch", ThreatModel(0, None)))


def universal_patch(studio: Studio) -> Sheet:
    """One disc, learned on these photographs."""
    return pairs(studio, studio.attacked("universal_patch", ThreatModel(0, None)))


def spatial(studio: Studio) -> Sheet:
    """Turned and moved, the worst of a coarse grid."""
    return pairs(studio, studio.attacked("spatial", NOTHING, angles=15, shifts=3))


def flow(studio: Studio) -> Sheet:
    """Pixels moved by a smooth field."""
    return differences(studio, studio.attacked("flow", NOTHING))


def universal(studio: Studio) -> Sheet:
    """One perturbation for all photographs, learned on them."""
    return differences(studio, studio.attacked("universal", ThreatModel(inf, LARGE)))


def semantic(studio: Studio) -> Sheet:
    """Other colours."""
    return pairs(studio, studio.attacked("semantic", NOTHING))


def common_corruptions(studio: Studio) -> Sheet:
    """One photograph and its 15 corruptions."""
    one = slice(1, 2)
    tiles = studio.seen(studio.x[one], "x")
    for kind in KINDS:
        tiles += studio.seen(studio.attacked("common_corruptions", NOTHING, one, kind=kind), kind)
    return [tiles[i : i + 4] for i in range(0, len(tiles), 4)]


def fooling_noise(studio: Studio) -> Sheet:
    """A noise for each of four classes; the photographs play no part."""
    wanted = torch.tensor([CLASSES.index(name) for name in NOISES])
    aim = Studio(studio.model, studio.x, wanted)
    return [studio.seen(aim.attacked("fooling_noise", ThreatModel(0, None), targeted=True))]


def expectation_over_transformation(studio: Studio) -> Sheet:
    """One photograph, its PGD example and its EOT example, each as it is and in the same simulated views."""
    one, threat = slice(1, 2), ThreatModel(inf, SMALL)
    rows = {
        "x": studio.x[one],
        "PGD": studio.attacked("pgd", threat, one),
        "EOT": studio.attacked("expectation_over_transformation", threat, one),
    }
    view, draws = photographed(), Draws(0, torch.arange(1)).branch("fresh views")
    looks = {name: torch.cat([view(image, draws, i) for i in range(VIEWS)]) for name, image in rows.items()}
    return [studio.seen(rows[name], name) + studio.seen(looks[name], "in a view") for name in rows]


SHEETS: tuple[Callable[[Studio], Sheet], ...] = (
    patch,
    universal_patch,
    spatial,
    flow,
    universal,
    semantic,
    common_corruptions,
    fooling_noise,
    expectation_over_transformation,
)


@click.command()
@click.option("--weights", default="IMAGENET1K_V1", show_default=True, help="Of SqueezeNet 1.1: a file or a name.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).parent / "pictures")
@click.argument("names", nargs=-1, type=click.Choice([sheet.__name__ for sheet in SHEETS]))
def main(*, weights: str, out: Path, names: tuple[str, ...]) -> None:
    """Write OUT/<attack>.png for the attacks NAMES (default: all)."""
    model = load_model("torchvision:squeezenet1_1", dataset="imagenet", weights=weights)
    x = torch.stack([photograph(name) for name in PHOTOS])
    studio = Studio(model, x, predict(model, x).argmax(1))
    out.mkdir(exist_ok=True)
    for sheet in SHEETS:
        if not names or sheet.__name__ in names:
            draw(sheet(studio), out / f"{sheet.__name__}.png")


def photograph(name: str) -> Tensor:
    """(3, SIDE, SIDE): the middle square of one of scikit-image's photographs."""
    picture = Image.fromarray(getattr(skimage.data, name)())
    return as_tensor(ImageOps.fit(picture, (SIDE, SIDE), Image.Resampling.BILINEAR))


def draw(sheet: Sequence[Sequence[Tile]], path: Path) -> None:
    """The tiles in their rows, dithered in few colours."""
    lines = [max(tile.caption.count("\n") + 1 for tile in row) for row in sheet]
    columns = max(len(row) for row in sheet)
    height = sum(WIDTH / columns + 0.14 * count for count in lines)
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.04, wspace=0.0, hspace=0.0)
    figure = Figure(figsize=(WIDTH, height), layout=layout)
    axes = figure.subplots(len(sheet), columns, squeeze=False)
    for places, row in zip(axes, sheet, strict=True):
        for place, tile in zip(places, row, strict=True):
            place.imshow(pixels(tile.image), vmin=0, vmax=1, interpolation="antialiased")
            place.set_title(tile.caption, fontsize=8 if columns <= 4 else 7, pad=3, parse_math=False)
            place.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    with Image.open(buffer) as picture:
        reduced(picture.convert("RGB")).save(path, optimize=True)


def reduced(picture: Image.Image) -> Image.Image:
    """`picture` in COLOURS colours, dithered; its white stays white."""
    few = picture.resize((picture.width // 3, picture.height // 3), Image.Resampling.NEAREST)
    best = torch.tensor(few.quantize(COLOURS - 1, kmeans=1).getpalette()).reshape(-1, 3)
    darker = best[best.amin(1) < NEARLY_WHITE][: COLOURS - 1]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*darker.flatten().tolist(), 255, 255, 255])
    return picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)


if __name__ == "__main__":
    main()

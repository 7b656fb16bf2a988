"""Write the photographs of docs/gallery.md: `python docs/photographs.py photos`.

From scikit-image, all in the public domain or CC0; nothing is downloaded. FOLDER/*.png are whole pictures, one of them
put together from two; FOLDER/cuttings/*.jpg are pieces of twelve, for views that need many images; FOLDER/pieces.npz
holds smaller ones with the photograph as their class, for a network that is trained in seconds; FOLDER/styles/*.png
are pictures whose colours and strokes others may take over, FOLDER/textures/*.png smaller samples of textures, and
FOLDER/frames/*.png a slow look across one of them.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import skimage.data
from PIL import Image, ImageOps

SIDE = 224
WHOLE = ("astronaut", "camera", "chelsea", "coffee", "rocket")
CUT = (*WHOLE, "brick", "coins", "grass", "gravel", "horse", "hubble_deep_field", "retina")
PIECES = 20  # of each photograph
SMALLEST, LARGEST = 0.35, 0.8  # of its shorter side
TEXTURES = ("brick", "grass", "gravel")
STYLES = (*TEXTURES, "hubble_deep_field", "immunohistochemistry", "retina")
SMALL, SAMPLE = 64, 96  # pixels of a piece for training, of a sample of a texture
FRAMES, PAN = 8, 5  # of the look across, and how many pixels of the photograph each is further to the right


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Write the photographs into FOLDER."""
    pieces = folder / "cuttings"
    pieces.mkdir(parents=True, exist_ok=True)
    for name in WHOLE:
        ImageOps.fit(photograph(name), (SIDE, SIDE), Image.Resampling.BILINEAR).save(folder / f"{name}.png")
    cat_and_coffee().save(folder / "cat_and_coffee.png")
    rng = np.random.default_rng(0)
    small: list[Image.Image] = []
    for name in CUT:
        for number, piece in enumerate(cuttings(photograph(name), rng)):
            piece.save(pieces / f"{name}_{number:02}.jpg", quality=92)
            small.append(piece.resize((SMALL, SMALL), Image.Resampling.BILINEAR))
    labels = np.repeat(np.arange(len(CUT)), PIECES)
    np.savez_compressed(folder / "pieces.npz", images=np.stack(small), labels=labels, classes=np.array(CUT))
    for name in STYLES:
        share = 1.0 if name in TEXTURES else 0.5  # strokes as large as a painting's
        _save(middle(photograph(name), share, SIDE), folder / "styles" / f"{name}.png")
    for name in TEXTURES:
        _save(middle(photograph(name), 0.4, SAMPLE), folder / "textures" / f"{name}.png")
    for number in range(FRAMES):
        view = photograph("chelsea").crop((100 + PAN * number, 20, 340 + PAN * number, 260))
        _save(view.resize((160, 160), Image.Resampling.BILINEAR), folder / "frames" / f"{number}.png")
    click.echo(f"wrote {len(WHOLE) + 1} photographs and {len(CUT) * PIECES} cuttings into {folder}")


def photograph(name: str) -> Image.Image:
    """One of scikit-image's pictures; a silhouette is black on white."""
    values = getattr(skimage.data, name)()
    return Image.fromarray(values.astype(np.uint8) * 255 if values.dtype == bool else values).convert("RGB")


def middle(picture: Image.Image, share: float, size: int) -> Image.Image:
    """The square in the middle with that share of the shorter side, as `size` pixels."""
    side = round(share * min(picture.size))
    left, top = ((length - side) // 2 for length in picture.size)
    return picture.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)


def cat_and_coffee() -> Image.Image:
    """Two objects of different classes in one picture: the head of a cat on a table, with a cup in front of it."""
    cat, table = photograph("chelsea"), photograph("coffee")
    picture = table.crop((0, 0, 60, 400)).resize((2 * SIDE, 2 * SIDE))
    picture.paste(cat.crop((60, 0, 360, 300)).resize((340, 340)), (0, 0))
    picture.paste(table.crop((100, 20, 480, 400)).resize((220, 220)), (2 * SIDE - 220, 2 * SIDE - 220))
    return picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def cuttings(picture: Image.Image, rng: np.random.Generator) -> list[Image.Image]:
    """PIECES squares of drawn size and place."""
    found = []
    for _ in range(PIECES):
        side = round(min(picture.size) * rng.uniform(SMALLEST, LARGEST))
        left, top = (int(rng.integers(0, length - side + 1)) for length in picture.size)
        piece = picture.crop((left, top, left + side, top + side))
        found.append(piece.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return found


def _save(picture: Image.Image, file: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    picture.save(file)


if __name__ == "__main__":
    main()

"""Write the photographs of docs/gallery.md: `python docs/photographs.py photos`.

From scikit-image, all in the public domain or CC0; nothing is downloaded. FOLDER/*.png are whole pictures, one of them
put together from two; FOLDER/cuttings/*.jpg are pieces of twelve, for views that need many images.
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
    for name in CUT:
        for number, piece in enumerate(cuttings(photograph(name), rng)):
            piece.save(pieces / f"{name}_{number:02}.jpg", quality=92)
    click.echo(f"wrote {len(WHOLE) + 1} photographs and {len(CUT) * PIECES} cuttings into {folder}")


def photograph(name: str) -> Image.Image:
    """One of scikit-image's pictures; a silhouette is black on white."""
    values = getattr(skimage.data, name)()
    return Image.fromarray(values.astype(np.uint8) * 255 if values.dtype == bool else values).convert("RGB")


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


if __name__ == "__main__":
    main()

"""Draw the pictures of docs/gallery.md by running the commands that stand in it: `python docs/gallery_pictures.py`.

With --weights and --vgg files stand in for the weights that the commands name, so that nothing is downloaded.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import click
import matplotlib as mpl
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from advbench.report.map_drawing import SIGNED, UNSIGNED

DOCS = Path(__file__).resolve().parent
TARGET = DOCS / "gallery"
NET = "torchvision:squeezenet1_1@IMAGENET1K_V1"
VGG = "torchvision:vgg19@IMAGENET1K_V1"
TRIED = "\n## On a fresh machine"  # from this line on the commands are for trying, their pictures are not shown
COLOURS = 256
NEARLY_WHITE = 243  # of 255: lighter colours would tint the margins
LEVELS = 32  # of each of the two colour maps
FRAME_COLOURS = 48  # of a film
LARGEST = 145_000  # bytes
WIDTHS = (1080, 960, 840, 760, 680, 600, 540)  # pixels
RUN = "from advbench.cli import main; main()"


def shown(text: str) -> str:
    """The part of the document whose commands make the pictures that stand in it."""
    return text.partition(TRIED)[0]


def tried(text: str) -> str:
    """The part whose commands need neither a network connection nor these pictures."""
    return text.partition(TRIED)[2]


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command in the bash blocks of a document."""
    for block in re.findall(r"```bash\n(.*?)```", text, re.S):
        for line in block.replace("\\\n", "").splitlines():
            if line.strip() and not line.startswith("#"):
                yield shlex.split(line, comments=True)


@click.command()
@click.option("--weights", type=click.Path(exists=True, path_type=Path), help="A file instead of IMAGENET1K_V1.")
@click.option("--vgg", type=click.Path(exists=True, path_type=Path), help="A file for vgg19_distilled, for VGG-19.")
@click.option("--folder", type=click.Path(path_type=Path), help="Work there; what is there is not made again.")
@click.argument("names", nargs=-1)
def main(*, weights: Path | None, vgg: Path | None, folder: Path | None, names: tuple[str, ...]) -> None:
    """Draw docs/gallery/NAME.png for each of NAMES (default: all)."""
    TARGET.mkdir(exist_ok=True)
    files = {NET: (NET.partition("@")[0], weights), VGG: ("vgg19_distilled", vgg)}
    with tempfile.TemporaryDirectory() if folder is None else nullcontext(folder) as at:
        place = Path(at)
        subprocess.run([sys.executable, DOCS / "photographs.py", place / "photos"], check=True)
        for words in commands(shown((DOCS / "gallery.md").read_text())):
            made = Path(words[-1])  # of every command in the document, what it writes stands last
            if words[0] != "advbench" or (names and made.stem not in names):
                continue
            if not (place / made).exists():
                subprocess.run([sys.executable, "-c", RUN, *_with(words[1:], files)], check=True, cwd=place)
            if made.suffix == ".png":
                _keep(place / made, shlex.join(words))
            elif made.suffix == ".gif":
                _keep_film(place / made, shlex.join(words))


def _with(words: list[str], files: Mapping[str, tuple[str, Path | None]]) -> list[str]:
    """The words with files of weights in place of named ones: {spec: (spec without weights, file)}."""
    found: list[str] = []
    for word in words:
        spec, file = files.get(word, ("", None))
        found += [word] if file is None else [spec, "--weights", str(file.resolve())]
    return found


def _keep_film(drawn: Path, command: str) -> None:
    """Store the frames with few colours, and what they say about themselves."""
    target = TARGET / drawn.name
    with Image.open(drawn) as film:
        duration = film.info.get("duration", 80)
        frames = []
        for number in range(getattr(film, "n_frames", 1)):
            film.seek(number)
            frames.append(film.convert("RGB").quantize(FRAME_COLOURS, dither=Image.Dither.NONE))
    rest = {"append_images": frames[1:], "duration": duration, "loop": 0, "comment": f"Command: {command}".encode()}
    frames[0].save(target, "GIF", save_all=True, optimize=True, **rest)
    click.echo(f"{target.name}: {len(frames)} frames, {target.stat().st_size / 1000:.0f} kB")


def _keep(drawn: Path, command: str) -> None:
    """Store the picture, as large as LARGEST allows, with what it says about itself."""
    target = TARGET / drawn.name
    with Image.open(drawn) as picture:
        facts = PngInfo()
        for key, value in {**picture.info, "Command": command}.items():
            if isinstance(value, str):
                facts.add_text(key, value)
        pictures = command.startswith("advbench picture")  # colours of photographs, without a legend
        palette = picture.convert("RGB").quantize(COLOURS) if pictures else _palette(picture)
        dither = Image.Dither.FLOYDSTEINBERG if pictures else Image.Dither.NONE
        for width in WIDTHS:
            few = _smaller(picture, width).quantize(palette=palette, dither=dither)
            few.save(target, optimize=True, pnginfo=facts)
            if target.stat().st_size < LARGEST:
                break
    click.echo(f"{target.name}: {few.width} x {few.height}, {target.stat().st_size / 1000:.0f} kB")


def _palette(picture: Image.Image) -> Image.Image:
    """The colours of a picture, and enough of the heat maps' for the strips of its legend."""
    # Chosen on a ninth of the pixels: on all of them it takes longer than drawing most of the figures.
    sampled = picture.convert("RGB").resize((picture.width // 3, picture.height // 3), Image.Resampling.NEAREST)
    best = sampled.quantize(COLOURS - 2 * LEVELS, kmeans=1).getpalette() or []
    triples = [best[start : start + 3] for start in range(0, 3 * (COLOURS - 2 * LEVELS), 3)]
    colours = [[255] * 3 if min(one) >= NEARLY_WHITE else one for one in triples if one]
    for name in (SIGNED, UNSIGNED):
        colours += [[round(255 * part) for part in mpl.colormaps[name](i / (LEVELS - 1))[:3]] for i in range(LEVELS)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([level for one in colours for level in one])
    return palette


def _smaller(picture: Image.Image, width: int) -> Image.Image:
    height = round(picture.height * width / picture.width)
    shown = picture.convert("RGB")
    return shown if width >= picture.width else shown.resize((width, height), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()

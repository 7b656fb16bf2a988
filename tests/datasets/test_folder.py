"""Image folders and image files: order of classes, resizing as torchvision, and hostile files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.models import SqueezeNet1_1_Weights
from torchvision.transforms import functional

from advbench.datasets.images import MAX_BYTES, read_image
from advbench.datasets.load import load_dataset, load_samples
from advbench.types import ConfigError


def picture(seed: int, width: int = 40, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def tree(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(root / name)
    return root


def test_a_folder_per_class_reads_as_torchvision_reads_it(tmp_path: Path) -> None:
    place = tree(tmp_path, "10/a.png", "9/b.jpg", "9/c/d.PNG", "cat/e.bmp", "cat/f.webp")
    (place / "cat" / "notes.txt").write_text("not an image")
    (place / ".hidden").mkdir()
    data, theirs = load_dataset(f"folder:{place}", size=16), ImageFolder(str(place), allow_empty=True)
    (names := list(data.classes)).sort()
    assert data.classes == ("10", "9", "cat")
    assert names == [name for name in theirs.classes if not name.startswith(".")]
    assert data.labels.tolist() == [0, 1, 1, 2, 2]
    assert "first '10', last 'cat'" in data.note
    for i, (image, _) in enumerate(theirs):
        expected = functional.center_crop(functional.resize(image, 18), [16, 16])
        assert torch.equal(data.images(torch.tensor([i]))[0], functional.to_tensor(expected))


def test_resizing_is_that_of_published_weights(tmp_path: Path) -> None:
    picture(0, 500, 375).save(tmp_path / "a.png")
    preset = SqueezeNet1_1_Weights.DEFAULT.transforms()
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (preset.mean, preset.std))
    theirs = preset(Image.open(tmp_path / "a.png")) * std + mean
    torch.testing.assert_close(read_image(tmp_path / "a.png", size=224), theirs, atol=1e-6, rtol=0)


def test_an_image_of_the_right_size_is_not_touched(tmp_path: Path) -> None:
    picture(0, 24, 24).save(tmp_path / "a.png")
    expected = functional.to_tensor(Image.open(tmp_path / "a.png"))
    assert torch.equal(read_image(tmp_path / "a.png", size=24), expected)
    assert torch.equal(read_image(tmp_path / "a.png"), expected)


def test_classes_txt_decides_the_order(tmp_path: Path) -> None:
    place = tree(tmp_path, "a/x.png", "b/y.png")
    (place / "classes.txt").write_text("b\na\n")
    data = load_dataset(f"folder:{place}", size=8)
    assert data.classes == ("b", "a")
    assert "in the order of classes.txt" in data.note
    (place / "classes.txt").write_text("b\nc\n")
    with pytest.raises(ConfigError, match="must name each sub-folder once; check a, c"):
        load_dataset(f"folder:{place}", size=8)


def test_numbered_classes_in_string_order_are_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_dataset(f"folder:{tree(tmp_path, '1/a.png', '2/b.png', '10/c.png')}", size=8)
    assert "classes are in string order (1, 10, 2, ...)" in caplog.text


def test_a_split_that_there_is_not_is_refused(tmp_path: Path) -> None:
    place = tree(tmp_path / "photos", "cat/1.png", "dog/1.png")
    with pytest.raises(ConfigError, match="has no folder 'foo'; without one it stands for train, val, test, got 'foo'"):
        load_dataset(f"folder:{place}", "foo", size=8)


def test_a_split_is_a_sub_folder_where_there_is_one(tmp_path: Path) -> None:
    place = tree(tmp_path, "train/a/1.png", "train/a/2.png", "test/a/3.png")
    assert (len(load_dataset(f"folder:{place}", "train")), len(load_dataset(f"folder:{place}", "test"))) == (2, 1)


def table(place: Path, text: str) -> Path:
    tree(place, "a.png", "b.png")
    (place / "labels.csv").write_text(text)
    return place


def test_a_table_gives_order_and_labels(tmp_path: Path) -> None:
    place = table(tmp_path, "file,label,author\nb.png,3,x\na.png,1,y\n")
    data = load_dataset(f"folder:{place}", size=8)
    assert (data.labels.tolist(), data.classes) == ([3, 1], ("0", "1", "2", "3"))
    assert torch.equal(data.images(torch.tensor([1]))[0], read_image(place / "a.png", size=8))
    assert load_dataset(f"folder:{place}#cifar10", size=8).classes[3] == "cat"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na.png,1\n", "needs the columns file and label"),
        ("file,label\na.png,dog\n", "labels as whole numbers"),
        ("file,label\na.png\n", "needs the columns"),
        ("file,label\n", "lists no images"),
        ("file,label\na.png,-1\n", r"got -1\.\.-1"),
        ("file,label\na.png,1\ngone.png,2\n", "lists 'gone.png', which is not there"),
        ("file,label\n../secret.png,1\n", "lies outside the folder"),
        ("file,label\n/etc/passwd,1\n", "lies outside the folder"),
    ],
)
def test_an_unsound_table_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_dataset(f"folder:{table(tmp_path / 'place', text)}")


def test_labels_beyond_the_named_dataset_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"labels must be in 0\.\.9, got 1\.\.12"):
        load_dataset(f"folder:{table(tmp_path, 'file,label' + chr(10) + 'a.png,1' + chr(10) + 'b.png,12')}#mnist")


def test_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}: empty"):
        load_dataset(f"folder:{tmp_path}")
    tree(tmp_path, "full/a.png")
    (tmp_path / "hollow").mkdir()
    with pytest.raises(ConfigError, match="hollow: no images in this class"):
        load_dataset(f"folder:{tmp_path}")


def test_a_size_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 1 pixel, got 0"):
        load_dataset(f"folder:{tree(tmp_path, 'a/x.png')}", size=0)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises width x height pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


def encoded(image: Image.Image, form: str) -> bytes:
    content = io.BytesIO()
    image.save(content, form)
    return content.getvalue()


HOSTILE: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "above the cap": ("a.png", lambda: png_claiming(10_000, 6_000), "10000 x 6000; at most 50 megapixels"),
    "warned about": ("a.png", lambda: png_claiming(10_000, 12_000), "at most 50 megapixels"),
    "bomb": ("a.png", lambda: png_claiming(50_000, 50_000), "at most 50 megapixels"),
    "truncated png": ("a.png", lambda: encoded(picture(0), "PNG")[:900], "damaged or truncated"),
    "truncated jpeg": ("a.jpg", lambda: encoded(picture(0), "JPEG")[:700], "damaged or truncated"),
    "empty": ("a.png", lambda: b"", "no image in one of the formats PNG, JPEG, WEBP, BMP"),
    "html": ("a.jpg", lambda: b"<!DOCTYPE html><html></html>", "no image in one of the formats"),
    "other format": ("a.png", lambda: encoded(picture(0), "TIFF"), "no image in one of the formats"),
    "deep": ("a.png", lambda: encoded(Image.new("I;16", (4, 4)), "PNG"), "8 bits per channel are needed"),
}


@pytest.mark.parametrize(("name", "content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_image_is_refused_by_name(
    name: str, content: Callable[[], bytes], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "class" / name
    path.parent.mkdir()
    path.write_bytes(content())
    with pytest.raises(ConfigError, match=message) as caught:
        load_samples(load_dataset(f"folder:{tmp_path}"))
    assert str(path) in str(caught.value)


def test_a_giant_or_missing_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(MAX_BYTES + 2**20)
    with pytest.raises(ConfigError, match="65 MB; at most 64"):
        read_image(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="no such file"):
        read_image(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("mode", "white"),
    [("1", 1), ("L", 255), ("LA", (255, 255)), ("P", "white"), ("RGBA", "white"), ("CMYK", (0, 0, 0, 0))],
)
def test_other_colour_modes_become_rgb(mode: str, white: str | int | tuple[int, ...], tmp_path: Path) -> None:
    form = "JPEG" if mode == "CMYK" else "PNG"
    Image.new(mode, (4, 3), white).save(tmp_path / "a.png", form)
    x = read_image(tmp_path / "a.png")
    assert x.shape == (3, 3, 4)
    assert x.min() > 0.99


def test_other_pixels_make_another_dataset_even_in_files_of_one_size(tmp_path: Path) -> None:
    place = tree(tmp_path, "0/a.bmp", "1/b.bmp")
    before = load_dataset(f"folder:{place}").name
    assert load_dataset(f"folder:{place}").name == before
    picture(7).save(place / "0" / "a.bmp")
    assert load_dataset(f"folder:{place}").name != before

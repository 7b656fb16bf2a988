"""Arrays of the user's own: every layout, and what is refused."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from advbench.datasets.load import load_dataset, load_samples
from advbench.types import ConfigError

BYTES = np.random.default_rng(0).integers(0, 256, (6, 3, 5, 7), dtype=np.uint8)  # (N, C, H, W)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def write(path: Path, **arrays: object) -> str:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return f"npz:{path}"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (BYTES, BYTES),
        (BYTES.transpose(0, 2, 3, 1), BYTES),
        (BYTES[:, 0], BYTES[:, :1]),
        (BYTES[:, :1], BYTES[:, :1]),
        (BYTES[:, :1].transpose(0, 2, 3, 1), BYTES[:, :1]),
    ],
    ids=["NCHW", "NHWC", "NHW", "N1HW", "NHW1"],
)
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_each_layout_gives_the_same_images(
    stored: np.ndarray, expected: np.ndarray, kind: type, tmp_path: Path
) -> None:
    images = stored if kind is np.uint8 else (stored / np.float32(255)).astype(kind)
    data = load_dataset(write(tmp_path / "a.npz", images=images, labels=LABELS))
    x = data.images(torch.tensor([4, 0]))
    assert x.dtype == torch.float32
    assert data.shape == x.shape[1:]
    torch.testing.assert_close(x, torch.from_numpy(expected[[4, 0]]).float() / 255)


def test_names_come_from_the_file_or_from_a_known_dataset(tmp_path: Path) -> None:
    spec = write(tmp_path / "a.npz", images=BYTES, labels=LABELS)
    assert load_dataset(spec).classes == ("0", "1", "2")
    assert load_dataset(f"{spec}#cifar10").classes[:3] == ("airplane", "automobile", "bird")
    named = write(tmp_path / "b.npz", images=BYTES, labels=LABELS, classes=np.array(["x", "y", "z", "unused"]))
    assert load_dataset(named).classes == ("x", "y", "z", "unused")


def test_the_name_follows_the_content_not_the_place(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    here = write(tmp_path / "a.npz", images=BYTES, labels=LABELS)
    (tmp_path / "there" / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes())
    other = write(tmp_path / "there" / "b.npz", images=255 - BYTES, labels=LABELS)
    assert load_dataset(here).name == load_dataset(f"npz:{tmp_path / 'there' / 'a.npz'}").name
    assert load_dataset(here).name.startswith("npz:a-")
    assert load_dataset(here).name.removeprefix("npz:a") != load_dataset(other).name.removeprefix("npz:b")


def test_a_path_may_hold_the_split(tmp_path: Path) -> None:
    write(tmp_path / "d_train.npz", images=BYTES, labels=LABELS)
    write(tmp_path / "d_test.npz", images=BYTES[:2], labels=LABELS[:2])
    spec = f"npz:{tmp_path}/d_{{split}}.npz"
    assert (len(load_dataset(spec, "train")), len(load_dataset(spec, "test"))) == (6, 2)


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "normalised": ({"images": BYTES / 127.5 - 1, "labels": LABELS}, r"must lie in \[0, 1\].*undo a normalisation"),
    "float bytes": ({"images": BYTES.astype(np.float32), "labels": LABELS}, "divide by 255"),
    "nan": ({"images": BYTES * np.nan, "labels": LABELS}, "must lie in"),
    "int64": ({"images": BYTES.astype(np.int64), "labels": LABELS}, "must be uint8 or floats"),
    "channels": ({"images": BYTES.reshape(6, 5, 7, 3)[..., :2], "labels": LABELS}, "with 1 or 3 channels"),
    "flat": ({"images": BYTES.reshape(6, -1), "labels": LABELS}, r"must be \(N, H, W\)"),
    "no labels": ({"images": BYTES}, "has no array 'labels'; it has images"),
    "no images": ({"labels": LABELS}, "has neither 'images' nor"),
    "fewer labels": ({"images": BYTES, "labels": LABELS[:5]}, "got 5 and 6"),
    "none at all": ({"images": BYTES[:0], "labels": LABELS[:0]}, "at least one"),
    "float labels": ({"images": BYTES, "labels": LABELS / 2}, "labels must be integers"),
    "one-hot": ({"images": BYTES, "labels": np.eye(3, dtype=int)[LABELS]}, r"labels must be integers \(N,\)"),
    "negative": ({"images": BYTES, "labels": LABELS - 1}, r"got -1\.\.1"),
    "beyond": ({"images": BYTES, "labels": LABELS, "classes": np.array(["a"])}, r"labels must be in 0\.\.0"),
    "objects": ({"images": BYTES, "labels": np.array([None] * 6)}, r"no plain \.npz"),
}


@pytest.mark.parametrize(("arrays", "message"), REFUSED.values(), ids=REFUSED)
def test_arrays_that_make_no_sense_are_refused(arrays: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_dataset(write(tmp_path / "a.npz", **arrays))


class Trap:
    """Unpickling this makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_a_pickle_inside_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for path, content in (("raw.npz", None), ("inside.npz", np.array([Trap(marker)], dtype=object))):
        if content is None:
            (tmp_path / path).write_bytes(pickle.dumps(Trap(marker)))
        else:
            write(tmp_path / path, images=content, labels=LABELS)
        with pytest.raises(ConfigError, match=r"no plain \.npz"):
            load_dataset(f"npz:{tmp_path / path}")
    assert not marker.exists()


@given(share=st.floats(0.0, 0.99))
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    write(path, images=BYTES, labels=LABELS)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ConfigError, match=r"truncated or no plain \.npz"):
        load_dataset(f"npz:{path}")


def packed(pictures: list[Image.Image]) -> dict[str, np.ndarray]:
    """Pictures as JPEG files with what they share at the start stored once."""
    files = []
    for picture in pictures:
        content = io.BytesIO()
        picture.save(content, "JPEG")
        files.append(content.getvalue())
    shared = next(i for i in range(len(files[0])) if len({file[i] for file in files}) > 1)
    bodies = [file[shared:] for file in files]
    return {
        "prefix": np.frombuffer(files[0][:shared], dtype=np.uint8),
        "body": np.frombuffer(b"".join(bodies), dtype=np.uint8),
        "offsets": np.cumsum([0, *map(len, bodies)]),
    }


def test_packed_jpeg_files_are_unpacked(tmp_path: Path) -> None:
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    arrays = packed([Image.new("RGB", (16, 8), colour) for colour in colours])
    data = load_dataset(write(tmp_path / "a.npz", **arrays, labels=np.array([2, 0, 1], dtype=np.uint8)))
    assert (data.shape, data.labels.tolist()) == ((3, 8, 16), [2, 0, 1])
    means = data.images(torch.tensor([2, 0])).mean((2, 3)) * 255
    torch.testing.assert_close(means, torch.tensor([colours[2], colours[0]]).float(), atol=3, rtol=0)


@pytest.mark.parametrize("offsets", [[0, 5, 3, 9], [0, 1, 2, 10**6], [-1, 2, 3, 4]])
def test_packed_files_with_wrong_offsets_are_refused(offsets: list[int], tmp_path: Path) -> None:
    arrays = packed([Image.new("RGB", (8, 8))] * 2 + [Image.new("RGB", (8, 8), "red")]) | {"offsets": np.array(offsets)}
    with pytest.raises(ConfigError, match="offsets must increase"):
        load_dataset(write(tmp_path / "a.npz", **arrays, labels=LABELS[:3]))


def test_the_packed_cifar10_shows_the_same_pictures_as_the_lossless_ones(shared_data: Path) -> None:
    folder = shared_data / "cifar10"
    lossless = np.load(folder / "cifar10_lossless_test_subset.npz")
    data = load_dataset(f"npz:{folder / 'cifar10_jpeg_test.npz'}#cifar10")
    x = data.images(torch.from_numpy(lossless["index"][:50].astype(np.int64)))
    exact, y = load_samples(load_dataset(f"npz:{folder / 'cifar10_lossless_test_subset.npz'}#cifar10"))
    difference = (x - exact[:50]).abs().mean().item() * 255
    assert 2 < difference < 9  # data/README.md: 5.9 grey levels on average
    assert torch.equal(y, data.labels[torch.from_numpy(lossless["index"].astype(np.int64))])


def test_a_split_that_there_is_not_is_refused_and_the_others_are_the_file(tmp_path: Path) -> None:
    spec = write(tmp_path / "d.npz", images=BYTES, labels=LABELS)
    assert {load_dataset(spec, split).split for split in ("train", "val", "test")} == {"train", "val", "test"}
    with pytest.raises(
        ConfigError, match=r"d\.npz: the one file stands for train, val, test, got 'foo'; write {split}"
    ):
        load_samples(spec, split="foo")
    with pytest.raises(ConfigError, match=r"d_foo\.npz: there is no such file"):
        load_samples(f"npz:{tmp_path}/d_{{split}}.npz", split="foo")

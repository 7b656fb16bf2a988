"""The readers on top of torchvision, on small files of its layouts, and what they say without any."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torchvision import datasets as zoo

from advbench.datasets.load import load_dataset, load_samples
from advbench.types import ConfigError

IMAGES = np.arange(3 * 28 * 28, dtype=np.int64).reshape(3, 28, 28).astype(np.uint8)
COLOUR = np.arange(3 * 3 * 32 * 32, dtype=np.int64).reshape(3, 3, 32, 32).astype(np.uint8)
LABELS = [7, 0, 2]


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")]
)
def test_idx_files_are_read(name: str, folder: str, tmp_path: Path) -> None:
    raw = tmp_path / folder / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        write_idx(raw / f"{part}-images-idx3-ubyte", IMAGES)
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.array(LABELS, dtype=np.uint8))
    data = load_dataset(name, root=tmp_path, download=False)
    assert data.labels.tolist() == LABELS
    assert len(data.classes) == 10
    torch.testing.assert_close(data.images(torch.arange(3)), torch.from_numpy(IMAGES)[:, None] / 255)
    x, y = load_samples(name, root=str(tmp_path))
    assert torch.equal(x, data.images(torch.arange(3)))
    assert y.tolist() == LABELS


@pytest.mark.parametrize(
    ("name", "owner", "place", "key"),
    [
        ("cifar10", zoo.CIFAR10, "cifar-10-batches-py", "labels"),
        ("cifar100", zoo.CIFAR100, "cifar-100-python", "fine_labels"),
    ],
)
def test_cifar_batches_are_read(
    name: str,
    owner: type,
    place: str,
    key: str,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / place).mkdir()

    def write(file: str, content: dict[str, object]) -> list[str]:
        data = pickle.dumps(content)
        (tmp_path / place / file).write_bytes(data)
        return [file, hashlib.md5(data).hexdigest()]

    meta = write("meta", {"names": ["a"]})
    monkeypatch.setattr(owner, "meta", {"filename": meta[0], "key": "names", "md5": meta[1]})
    monkeypatch.setattr(owner, "train_list", [])
    monkeypatch.setattr(owner, "test_list", [write("test", {"data": COLOUR.reshape(3, -1), key: LABELS})])
    data = load_dataset(name, root=tmp_path, download=False)
    assert data.labels.tolist() == LABELS
    torch.testing.assert_close(data.images(torch.arange(3)), torch.from_numpy(COLOUR) / 255)


def test_svhn_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "test_32x32.mat"
    savemat(file, {"X": COLOUR.transpose(2, 3, 1, 0), "y": np.array([[7], [10], [2]])})  # 10 stands for zero
    entry = ["http://localhost", file.name, hashlib.md5(file.read_bytes()).hexdigest()]
    monkeypatch.setattr(zoo.SVHN, "split_list", {"test": entry})
    data = load_dataset("svhn", root=tmp_path, download=False)
    assert data.labels.tolist() == LABELS
    torch.testing.assert_close(data.images(torch.arange(3)), torch.from_numpy(COLOUR) / 255)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100", "svhn"])
def test_missing_files_say_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{name} is not complete .* in {tmp_path}.*by hand.*npz:FILE"):
        load_dataset(name, root=tmp_path, download=False)


def test_a_download_that_fails_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(files: zoo.MNIST) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(zoo.MNIST, "download", unreachable)
    with pytest.raises(ConfigError, match=r"mnist could not be downloaded to .*no route to host.*another root"):
        load_dataset("mnist", root=tmp_path)


def test_imagenet_wants_its_thousand_folders(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"imagenet is not in .* cannot be downloaded"):
        load_dataset("imagenet", root=tmp_path)
    (tmp_path / "val" / "n01440764").mkdir(parents=True)
    zoo.folder.Image.new("RGB", (4, 4)).save(tmp_path / "val" / "n01440764" / "a.JPEG")
    with pytest.raises(ConfigError, match="has 1000 class folders, found 1"):
        load_dataset("imagenet", root=tmp_path)


@pytest.mark.slow
def test_imagenet_folders_in_string_order_are_the_labels(tmp_path: Path) -> None:
    for number in range(1000):
        place = tmp_path / "imagenet" / "val" / f"n{number:08d}"
        place.mkdir(parents=True)
        zoo.folder.Image.new("RGB", (8, 8), (number % 256, 0, 0)).save(place / "a.png")
    data = load_dataset("imagenet", root=tmp_path, size=8)
    assert (data.name, data.split, data.shape) == ("imagenet", "val", (3, 8, 8))
    assert (data.classes[0], data.classes[258], data.classes[-1]) == ("tench", "Samoyed", "toilet tissue")
    assert data.labels.tolist() == list(range(1000))
    assert data.images(torch.tensor([258]))[0, 0, 0, 0] == pytest.approx(2 / 255)

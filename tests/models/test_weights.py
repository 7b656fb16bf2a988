"""Weights: what goes in comes out, every bit counts, and no file is trusted."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from advbench.models.load import load_model
from advbench.models.normalize import Normalize
from advbench.models.weights import load_weights, weights_hash
from advbench.types import ConfigError


def net(seed: int = 0) -> nn.Module:
    return load_model("preact_resnet18", shape=(3, 8, 8), classes=4, seed=seed, params={"width": 2})


def save(model: nn.Module, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_weights_survive_a_round_trip(suffix: str, tmp_path: Path) -> None:
    donor, model = net(1), net(2)
    assert weights_hash(model) != weights_hash(donor)
    load_weights(model, save(donor, tmp_path / f"w{suffix}"))
    assert weights_hash(model) == weights_hash(donor)


@given(st.data())
def test_the_hash_changes_with_any_bit_and_only_then(data: st.DataObject) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    before = weights_hash(model)
    tensors = model.state_dict()
    tensor = tensors[data.draw(st.sampled_from(sorted(tensors)))]
    flat = tensor.reshape(-1).view(torch.uint8)
    place, bit = data.draw(st.integers(0, len(flat) - 1)), 1 << data.draw(st.integers(0, 7))
    flat[place] ^= bit
    assert weights_hash(model) != before
    flat[place] ^= bit
    assert weights_hash(model) == before


def test_the_hash_covers_names_shapes_and_constants_but_no_memory_layout() -> None:
    weight = torch.arange(16.0).reshape(2, 2, 2, 2)
    plain, strided = nn.Conv2d(2, 2, 2, bias=False), nn.Conv2d(2, 2, 2, bias=False)
    plain.weight.data, strided.weight.data = weight, weight.clone(memory_format=torch.channels_last)
    assert weights_hash(plain) == weights_hash(strided)
    assert weights_hash(plain) != weights_hash(nn.Sequential(plain))
    assert weights_hash(Normalize([0.5], [0.5])) != weights_hash(Normalize([0.5], [0.25]))


WRAPPED: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "module.": lambda state: {f"module.{key}": value for key, value in state.items()},
    "_orig_mod.module.": lambda state: {f"_orig_mod.module.{key}": value for key, value in state.items()},
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
    "model": lambda state: {"model": state},
    "ema": lambda state: {"ema": {f"module.{key}": value for key, value in state.items()}},
    "without its own prefix": lambda state: {key.removeprefix("net."): value for key, value in state.items()},
    "old, no counters": lambda state: {key: value for key, value in state.items() if "num_batches" not in key},
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_usual_wrappers_are_taken_off(wrap: Callable[[dict[str, torch.Tensor]], object], tmp_path: Path) -> None:
    donor, model = net(1), net(2)
    torch.save(wrap(donor.state_dict()), tmp_path / "w.pt")
    load_weights(model, tmp_path / "w.pt")
    assert weights_hash(model) == weights_hash(donor)


def test_a_model_whose_own_keys_look_wrapped_is_loaded(tmp_path: Path) -> None:
    donor, model = (nn.Sequential(OrderedDict(model=nn.Linear(2, 2))) for _ in range(2))
    load_weights(model, save(donor, tmp_path / "w.pt"))
    assert weights_hash(model) == weights_hash(donor)


class Trap:
    """Unpickling this makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_pickle_that_runs_code_does_not_run(write: Callable[[object, Path], object], tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "w.pt"
    write({**net().state_dict(), "trap": Trap(marker)}, path)
    with pytest.raises(ConfigError, match="could run code"):
        load_weights(net(), path)
    assert not marker.exists()


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(17 * 2**30)


BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("w.pt", lambda path: None, "no such file"),
    "a folder": ("w.pt", lambda path: path.mkdir(), "no such file"),
    "empty": ("w.pt", lambda path: path.write_bytes(b""), "is empty"),
    "giant": ("w.safetensors", _sparse, "at most 16 GiB"),
    "other suffix": ("w.bin", lambda path: path.write_bytes(b"a"), "must end in .safetensors, .pt, .pth"),
    "html": ("w.pt", lambda path: path.write_text("\n<!DOCTYPE html><html>no quota</html>"), "an HTML page"),
    "html safetensors": ("w.safetensors", lambda path: path.write_text("<html></html>"), "an HTML page"),
    "lfs": ("w.pt", lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
    "noise": ("w.pt", lambda path: path.write_bytes(bytes(range(256)) * 9), "truncated or not a PyTorch file"),
    "noise safetensors": ("w.safetensors", lambda path: path.write_bytes(bytes(range(256))), "not a safetensors file"),
    "header larger than file": (
        "w.safetensors",
        lambda path: path.write_bytes((2**40).to_bytes(8, "little") + b"{}"),
        "not a safetensors file",
    ),
    "a tensor": ("w.pt", lambda path: torch.save(torch.zeros(3), path), "no state dict in it, but Tensor"),
    "empty dict": ("w.pt", lambda path: torch.save({}, path), "no state dict"),
}


@pytest.mark.parametrize(("name", "write", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named(name: str, write: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(ConfigError, match=message) as caught:
        load_weights(net(), path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@settings(max_examples=25)
@given(share=st.floats(0.01, 0.99))
def test_a_truncated_file_is_refused_wherever_it_ends(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, share: float
) -> None:
    whole = save(net(), tmp_path_factory.mktemp("whole") / f"w{suffix}").read_bytes()
    part = tmp_path_factory.mktemp("part") / f"w{suffix}"
    part.write_bytes(whole[: max(1, int(share * len(whole)))])
    with pytest.raises(ConfigError, match="truncated"):
        load_weights(net(), part)


def test_weights_of_another_net_are_refused_by_key_and_shape_and_change_nothing(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    before = weights_hash(model)
    cases = {
        "0.bias": {"0.weight": torch.zeros(3, 4)},
        "has unknown 1.weight": {**model.state_dict(), "1.weight": torch.zeros(1)},
        r"0.weight has shape \(3, 5\), the model wants \(3, 4\)": {
            "0.weight": torch.zeros(3, 5),
            "0.bias": torch.zeros(3),
        },
        "0.bias holds torch.int64": {"0.weight": torch.zeros(3, 4), "0.bias": torch.zeros(3, dtype=torch.int64)},
        "0.bias is no tensor but int": {"0.weight": torch.zeros(3, 4), "0.bias": 3},
    }
    for message, content in cases.items():
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(ConfigError, match=message):
            load_weights(model, tmp_path / "w.pt")
        assert weights_hash(model) == before

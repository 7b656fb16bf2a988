"""Weights in and out: files are read as data, never run, and must fit the model exactly; content has a hash."""

from __future__ import annotations

import hashlib
import logging
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from advbench.models.normalize import Normalized
from advbench.types import ConfigError

log = logging.getLogger(__name__)

MAX_BYTES = 16 * 2**30  # far above any classifier: a larger file is a mistake or a trap
NESTED = ("state_dict", "model_state_dict", "model", "net", "ema")  # where trainers put the state dict, in this order
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")  # of DataParallel, torch.compile, wrappers; ours is "net."
COUNTER = "num_batches_tracked"  # older checkpoints lack it, and inference does not use it


class WeightShapeError(ConfigError):
    """The names are the model's, a shape is not: it may have been built for other images or classes."""


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Fill `model` in place from a .safetensors, .pt or .pth file, strictly: every key, every shape.

    A state dict nested under one of NESTED, and keys that all start with one of PREFIXES, are unwrapped (logged).
    Pickled files are read by torch's weights-only unpickler; there is no way around it. Raises ConfigError, with the
    model untouched, if the file is missing, empty, truncated, giant, an HTML page, would run code, or does not fit.
    """
    path = Path(path)
    read = _reader(path)
    _check_file(path)
    target = model.net if isinstance(model, Normalized) else model
    own = target.state_dict()
    given = _unwrap(read(path), own, path)
    _check_fit(given, own, path)
    target.load_state_dict({**own, **given})


def weights_hash(model: nn.Module) -> str:
    """SHA-256 (hex) over name, dtype, shape and bytes of each tensor of the model, in order of the names.

    Covers the state dict and the constants kept out of it (normalisation), on whatever device they are.
    """
    tensors = {**dict(model.named_buffers()), **model.state_dict()}
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _reader(path: Path) -> Callable[[Path], object]:
    readers: Mapping[str, Callable[[Path], object]] = {
        ".safetensors": _read_safetensors,
        ".pt": _read_pickled,
        ".pth": _read_pickled,
    }
    if path.suffix not in readers:
        raise ConfigError(f"weights {path}: the name must end in {', '.join(readers)}")
    return readers[path.suffix]


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"weights {path}: there is no such file")
    size = path.stat().st_size
    if size == 0:
        raise ConfigError(f"weights {path}: the file is empty; download it again")
    if size > MAX_BYTES:
        raise ConfigError(f"weights {path}: {size / 2**30:.1f} GiB; at most {MAX_BYTES // 2**30} GiB are read")
    with path.open("rb") as file:
        head = file.read(256).lstrip()
    if head.startswith(b"<"):
        raise ConfigError(f"weights {path}: this is an HTML page, not weights; the download went wrong")
    if head.startswith(b"version https://git-lfs"):
        raise ConfigError(f"weights {path}: this is a Git LFS pointer, not weights; fetch the file with git lfs pull")


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ConfigError(f"weights {path}: truncated or not a safetensors file ({error})") from None


def _read_pickled(path: Path) -> object:
    try:
        if zipfile.is_zipfile(path):
            _check_unpacked_size(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's on unusual pickles: they end as an error here or load well
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" in str(error).lower():
            raise ConfigError(
                f"weights {path}: the file holds Python objects beyond tensors and could run code when read, so it was "
                f"not read. Save the state dict alone, best as .safetensors ({_first_line(error)})"
            ) from None
        raise ConfigError(
            f"weights {path}: truncated or not a PyTorch file; a plain pickle is not read, it could run code "
            f"({_first_line(error)})"
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(f"weights {path}: truncated or not a PyTorch file ({_first_line(error)})") from None


def _check_unpacked_size(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > MAX_BYTES:
        raise ConfigError(f"weights {path}: unpacks to {unpacked / 2**30:.1f} GiB; at most {MAX_BYTES // 2**30} GiB")


def _first_line(error: Exception) -> str:
    """The line of torch's long messages that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Unsupported" in line]
    return (telling or lines or [type(error).__name__])[0][:200]


def _unwrap(content: object, own: Mapping[str, Tensor], path: Path) -> dict[str, object]:
    """The state dict inside `content`, its keys without wrappers' prefixes."""
    while isinstance(content, Mapping) and (key := next((key for key in NESTED if _is_nested(content, key)), None)):
        log.info("weights %s: taken from its part %r", path, key)
        content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise ConfigError(f"weights {path}: no state dict in it, but {type(content).__name__}")
    given = {str(key): value for key, value in content.items()}
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in given)), None):
        if all(key.startswith(prefix) for key in own):  # the model's own keys start so: no wrapper
            break
        log.info("weights %s: prefix %r removed from its keys", path, prefix)
        given = {key.removeprefix(prefix): value for key, value in given.items()}
    return given


def _is_nested(content: Mapping[object, object], key: str) -> bool:
    return isinstance(content.get(key), Mapping)


def _check_fit(given: Mapping[str, object], own: Mapping[str, Tensor], path: Path) -> None:
    missing = [key for key in own if key not in given and not key.endswith(COUNTER)]
    unexpected = [key for key in given if key not in own]
    if missing or unexpected:
        parts = [f"{what} {_some(keys)}" for what, keys in (("lacks", missing), ("has unknown", unexpected)) if keys]
        raise ConfigError(f"weights {path}: does not fit the model: {'; '.join(parts)}")
    for key, value in given.items():
        if not isinstance(value, Tensor):
            raise ConfigError(f"weights {path}: {key} is no tensor but {type(value).__name__}")
        if value.shape != own[key].shape:
            raise WeightShapeError(
                f"weights {path}: {key} has shape {tuple(value.shape)}, the model wants {tuple(own[key].shape)}"
            )
        if value.is_floating_point() != own[key].is_floating_point():
            raise ConfigError(f"weights {path}: {key} holds {value.dtype}, the model wants {own[key].dtype}")


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")

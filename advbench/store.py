"""Files that are whole or absent: whatever is stored goes through `atomic_write`."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import filelock

from advbench.types import ConfigError, Json

if TYPE_CHECKING:
    import pandas as pd
    import torch

_TEMPORARY = ".tmp"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room: the disk, the quota, the limit of a file's size
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_PROBE = 1 << 16  # bytes: more than a file system keeps in a folder's entry


class StoreError(OSError):
    """A file could not be stored. What stood under its name before still stands there, whole."""

    def __str__(self) -> str:
        return str(self.strerror)


class UnreadableError(ValueError):
    """A stored file is damaged: truncated, empty, or something else than its name says."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, " ".join(str(reason).split())

    def __str__(self) -> str:
        return f"{self.path} cannot be read: {self.reason}"


def atomic_write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a new file beside `path`, then put it in the place of `path` in one step.

    After a crash at any moment, `path` holds the old content or the new one, never a part of it; the bytes are on
    the disk when this returns. The folder is made if it is missing. Raises StoreError if the disk or the quota is
    full or may not be written, and whatever `write` raises; the temporary file is removed in each case.
    """
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
        try:
            with _created(temporary) as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Inside, what a full, read-only or forbidden disk answers becomes a StoreError that names `path`."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StoreError) or error.errno not in (*_FULL, *_CLOSED):
            raise
        problem = "disk full while writing" if error.errno in _FULL else f"{os.strerror(error.errno)}: cannot write"
        advice = "free space" if error.errno in _FULL else "allow that"
        message = f"{problem} {path}; nothing half-written: {advice} and run again to resume"
        raise StoreError(error.errno, message) from error


def check_room(folder: Path, needed: int = 0) -> None:
    """Raise ConfigError unless a file can be written into `folder` and `needed` more bytes are free there.

    Asked before any work. A file of 64 KiB is written and removed, in `folder` or in the nearest folder above it that
    exists: nothing is left behind, and no folder is made.
    """
    place = folder.absolute()
    try:
        there = next(each for each in (place, *place.parents) if each.exists())
        free = _free(there)
        if free is not None and free < max(needed, _PROBE):
            raise ConfigError(f"no room in {folder}: {_size(free)} free, {_size(max(needed, _PROBE))} needed")
        _probe(there)
    except OSError as error:
        room = f": {_size(max(needed, _PROBE))} needed" if error.errno in _FULL else ""
        # /proc says "No such file" of a file that is to be made in it.
        reason = "no file can be made there" if error.errno == errno.ENOENT else error.strerror
        raise ConfigError(f"cannot write into {folder}: {reason}{room}") from None


def _free(folder: Path) -> int | None:
    """Bytes that this user may still write there; None where the file system does not say."""
    usage = shutil.disk_usage(folder)
    return usage.free if usage.total else None


def _probe(folder: Path) -> None:
    # Quotas and limits do not show in the free space: only writing tells. Without a name, a kill leaves nothing behind.
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"\x55" * _PROBE)
        file.flush()
        os.fsync(file.fileno())


def _created(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb")


def _size(count: int) -> str:
    """ "12.3 MB": bytes for reading, in powers of 1000 as disks are sold."""
    number, unit = float(count), 0
    while number >= 1000 and unit < 4:
        number, unit = number / 1000, unit + 1
    return f"{number:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[unit]}"


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Wait until no other process writes into `folder`, and clear away what killed writers left there."""
    lock = filelock.FileLock(folder / ".lock")
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        remove_temporaries(folder)
        yield
    finally:
        lock.release()


def remove_temporaries(folder: Path) -> None:
    """Delete what killed writers left in `folder`. Only for who holds the folder's lock."""
    for path in folder.glob(f".*{_TEMPORARY}"):
        path.unlink(missing_ok=True)


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Store `text` as UTF-8."""
    atomic_write(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Json) -> None:
    """Store `value`, indented, keys in the given order. Raises ValueError on nan and infinity: not JSON."""
    text = json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path) -> Json:
    """What `write_json` stored. Raises UnreadableError if it is no JSON."""
    try:
        value: Json = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnreadableError(path, f"it is not JSON: {error}") from None
    return value


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Store `table` as parquet, without its index. The bytes depend on the content only."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), buffer, compression="zstd")
    atomic_write(path, lambda file: file.write(buffer.getbuffer()))


def read_table(path: Path) -> pd.DataFrame:
    """What `write_table` stored. Raises UnreadableError if it is no parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Through an open file: a name with special characters is a path here, never a URL or a data set.
    with path.open("rb") as file:
        try:
            table: pd.DataFrame = pq.read_table(file).to_pandas()
        except (pa.ArrowException, ValueError, OSError) as error:  # of damage inside the file, Arrow raises any
            raise UnreadableError(path, f"it is no whole parquet file: {error}") from None
    return table


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Store named tensors as safetensors."""
    from safetensors.torch import save

    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    atomic_write(path, lambda file: file.write(content))


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """What `write_tensors` stored, on the CPU. Raises UnreadableError if it is no safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors: dict[str, torch.Tensor] = load(path.read_bytes())
    except SafetensorError as error:
        raise UnreadableError(path, f"it is no whole safetensors file: {error}") from None
    return tensors


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut. Systems that cannot open folders (Windows) do it themselves."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

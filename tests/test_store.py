"""A stored file is whole or absent, whatever goes wrong while it is written."""

from __future__ import annotations

import errno
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.store import (
    StoreError,
    UnreadableError,
    atomic_write,
    check_room,
    file_hash,
    read_json,
    read_table,
    read_tensors,
    remove_temporaries,
    sole_writer,
    write_json,
    write_table,
    write_tensors,
    write_text,
)
from advbench.types import ConfigError

WRITERS: dict[str, Callable[[Path], None]] = {
    "json": lambda path: write_json(path, {"a": [1, 2, 3]}),
    "parquet": lambda path: write_table(path, pd.DataFrame({"a": [1, 2]})),
    "safetensors": lambda path: write_tensors(path, {"a": torch.arange(5)}),
    "text": lambda path: write_text(path, "words"),
    "pieces": lambda path: atomic_write(path, lambda file: [file.write(b"x" * 100_000) for _ in range(5)]),
}
CALLS = ("open", "write", "fsync", "replace")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_json_comes_back_as_it_went(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_table_comes_back_with_its_types(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"id": [3, 1], "eps": [0.1, float("nan")], "fooled": [True, False], "status": ["held", "fooled"]}
    )
    write_table(tmp_path / "t.parquet", table)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet"), table)


def test_tensors_come_back_with_types_and_strides_undone(tmp_path: Path) -> None:
    tensors = {"x": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last), "row": torch.tensor([5, 7])}
    write_tensors(tmp_path / "t.safetensors", tensors)
    read = read_tensors(tmp_path / "t.safetensors")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) and read[name].dtype == tensors[name].dtype for name in tensors)


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    for kind, writer in WRITERS.items():
        writer(tmp_path / f"one.{kind}")
        writer(tmp_path / f"two.{kind}")
        assert file_hash(tmp_path / f"one.{kind}") == file_hash(tmp_path / f"two.{kind}")


@pytest.mark.parametrize(("call", "code"), list(itertools.product(CALLS, [errno.ENOSPC, errno.EDQUOT])))
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("before", [None, b"old"])
def test_full_disk_leaves_what_was_there(
    tmp_path_factory: pytest.TempPathFactory, call: str, code: int, writer: str, before: bytes | None
) -> None:
    folder = tmp_path_factory.mktemp("full")
    path = folder / "file"
    if before is not None:
        path.write_bytes(before)
    full = OSError(code, os.strerror(code))
    with _failing(call, full), pytest.raises(StoreError, match=r"disk full while writing .*file; nothing half"):
        WRITERS[writer](path)
    assert [entry.name for entry in folder.iterdir()] == ([] if before is None else ["file"])
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_closed_disk_is_said_to_be_closed(tmp_path: Path, code: int) -> None:
    with _failing("open", OSError(code, "no")), pytest.raises(StoreError, match=r"cannot write .*file; nothing half"):
        write_json(tmp_path / "file", 1)
    assert list(tmp_path.iterdir()) == []


def test_what_a_worker_could_not_store_arrives_with_its_words() -> None:
    problem = StoreError(errno.ENOSPC, "disk full while writing file")
    arrived = pickle.loads(pickle.dumps(problem))
    assert isinstance(arrived, StoreError)
    assert (arrived.errno, str(arrived)) == (errno.ENOSPC, "disk full while writing file")


def test_looking_for_room_leaves_nothing_and_makes_no_folder(tmp_path: Path) -> None:
    check_room(tmp_path, 1)
    check_room(tmp_path / "a" / "b", 1)
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_said_in_numbers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"no room in {tmp_path}: .* free, 1e\+06 TB needed"):
        check_room(tmp_path, 10**18)


@pytest.mark.parametrize(("call", "code"), list(itertools.product(["write", "fsync"], [errno.ENOSPC, errno.EROFS])))
def test_a_disk_that_takes_no_byte_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    error, real = OSError(code, os.strerror(code)), tempfile.TemporaryFile
    if call == "write":
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **place: _FullFile(real(**place), error))
    with (
        _failing("fsync", error),
        pytest.raises(ConfigError, match=f"cannot write into {tmp_path}"),
    ):
        check_room(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_the_file_that_looks_for_room_has_no_name(tmp_path: Path) -> None:
    """A kill in the middle leaves nothing behind."""
    names: list[Path] = []
    real = os.fsync
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: (names.extend(tmp_path.iterdir()), real(number)))
        check_room(tmp_path)
    assert names == []


def test_below_a_file_there_is_no_room(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="Not a directory"):
        check_room(tmp_path / "file" / "folder")


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken disk"), KeyboardInterrupt(), ValueError("bad")])
def test_other_errors_pass_through_and_leave_nothing(tmp_path: Path, error: BaseException) -> None:
    def write(file: object) -> None:
        raise error

    with pytest.raises(type(error)):
        atomic_write(tmp_path / "file", write)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_the_old_file_and_its_rest_can_be_removed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    program = (
        "import os, signal, sys; from pathlib import Path; from advbench.store import atomic_write\n"
        "def write(file): file.write(b'new'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "atomic_write(Path(sys.argv[1]), write)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    remove_temporaries(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("name", "read"), [("a.json", read_json), ("a.parquet", read_table), ("a.safetensors", read_tensors)]
)
@pytest.mark.parametrize("content", [b"", b"<html>", b"{" * 40])
def test_reading_something_else_names_the_file(
    tmp_path: Path, name: str, read: Callable[[Path], object], content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableError, match=f"{name} cannot be read: ") as raised:
        read(tmp_path / name)
    assert "\n" not in str(raised.value)
    arrived = pickle.loads(pickle.dumps(raised.value))
    assert (type(arrived), str(arrived)) == (UnreadableError, str(raised.value))


@pytest.mark.parametrize("place", range(0, 700, 7))
def test_a_table_with_a_wrong_byte_is_read_or_refused_by_one_error(tmp_path: Path, place: int) -> None:
    """Arrow has an error of its own for each part of a file that may be damaged."""
    path = tmp_path / "t.parquet"
    write_table(path, pd.DataFrame({"a": range(40), "b": [f"x{i}" for i in range(40)]}))
    content = bytearray(path.read_bytes())
    content[-(place % len(content)) - 1] ^= 0xB2
    path.write_bytes(content)
    with suppress(UnreadableError):
        read_table(path)


def test_json_is_plain_ascii_text(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "\u00e9"})
    assert (tmp_path / "a.json").read_bytes().isascii()
    assert json.loads((tmp_path / "a.json").read_text()) == {"name": "\u00e9"}


@contextmanager
def _failing(call: str, error: OSError) -> Iterator[None]:
    """One system call of `atomic_write` fails."""

    def fail(*_: object, **__: object) -> None:
        raise error

    real = os.fdopen
    fault = {"fdopen": lambda *place: _FullFile(real(*place), error)} if call == "write" else {call: fail}
    with pytest.MonkeyPatch.context() as patch:
        for name, replacement in fault.items():
            patch.setattr(os, name, replacement)
        yield


class _FullFile:
    """A file on a disk that is full: everything works but writing."""

    def __init__(self, file: object, error: OSError) -> None:
        self.file, self.error = file, error

    def __enter__(self) -> _FullFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()  # type: ignore[attr-defined]

    def write(self, _: bytes) -> int:
        raise self.error


def test_a_sole_writer_clears_away_what_killed_writers_left(tmp_path: Path) -> None:
    (tmp_path / ".matrix.json.0123456789abcdef.tmp").write_text("half")
    (tmp_path / "matrix.json").write_text("whole")
    with sole_writer(tmp_path):
        assert [path.name for path in sorted(tmp_path.iterdir()) if path.name != ".lock"] == ["matrix.json"]

"""Under which circumstances a result was made: versions, machine, switches. Never the environment."""

from __future__ import annotations

import functools
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from advbench.types import Json

PACKAGE = Path(__file__).resolve().parents[1]


def provenance(device: str, *, started: datetime) -> dict[str, Json]:
    """What `cell.json` keeps beside the result. `device`: "cpu" or "cuda"; `started`: aware, in UTC."""
    return {
        "advbench": _version(),
        "git": _git_state(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu_name(),
        "gpu": torch.cuda.get_device_name() if device.startswith("cuda") else None,
        "device": device,
        "threads": torch.get_num_threads(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "tf32": {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32},
        "deterministic": {
            "algorithms": torch.are_deterministic_algorithms_enabled(),
            "cudnn": torch.backends.cudnn.deterministic,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        },
        "command": without_home(shlex.join(sys.argv)),
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def without_home(text: str) -> str:
    """`text` with the home folder written as ~: results are shared, user names need not be."""
    try:
        home = str(Path.home())
    except RuntimeError:
        return text
    return text if home == Path(home).anchor else text.replace(home, "~")


def _version() -> str:
    try:
        return version("advbench")
    except PackageNotFoundError:
        return "not installed"


@functools.cache
def _git_state() -> dict[str, Json] | None:
    """Commit of the checkout that this package runs from and whether it was changed; None outside a checkout."""
    root = PACKAGE.parent
    top = _git("rev-parse", "--show-toplevel")
    # An installed package may lie inside somebody else's repository: that commit says nothing about this code.
    if top is None or Path(top) != root:
        return None
    commit = _git("rev-parse", "HEAD")
    return None if commit is None else {"commit": commit, "dirty": _git("status", "--porcelain", "advbench") != ""}


def _git(*arguments: str) -> str | None:
    """What git prints, or None if there is no git, no repository or no answer."""
    command = ["git", "-C", str(PACKAGE.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"

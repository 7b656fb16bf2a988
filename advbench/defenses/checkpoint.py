"""The state between two epochs: everything else follows from (seed, epoch, sample)."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from advbench.defenses.curve import Curve
from advbench.store import atomic_write
from advbench.types import ConfigError


def save_checkpoint(path: Path, model: nn.Module, optimizer: Optimizer, curve: Curve, run: str) -> None:
    """Replace `path` by the state after the epochs of `curve`, in one step. run: which training this is."""
    state = {"run": run, "curve": curve.to_json(), "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    buffer = io.BytesIO()  # torch turns the error of a full disk into another one
    torch.save(state, buffer)
    atomic_write(path, lambda file: file.write(buffer.getbuffer()))


def load_checkpoint(path: Path, model: nn.Module, optimizer: Optimizer, run: str) -> Curve:
    """Put the state at `path` into the model and the optimizer; the epochs done, none if there is no file.

    Raises ConfigError if the file belongs to another training.
    """
    if not path.exists():
        return Curve()
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["run"] != run:
        raise ConfigError(f"{path} is the checkpoint of another training; remove it or name another file")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return Curve.from_json(state["curve"])

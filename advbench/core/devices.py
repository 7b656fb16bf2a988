"""The devices that a name may mean on this machine."""

from __future__ import annotations

import torch

from advbench.types import ConfigError


def choose_device(name: str) -> str:
    """ "cpu" or "cuda"; "auto" is the GPU if there is one. Raises ConfigError on anything else."""
    there = torch.cuda.is_available()
    devices = {"cpu": "cpu", "auto": "cuda" if there else "cpu"}
    if there:
        devices |= {"cuda": "cuda"} | {f"cuda:{k}": f"cuda:{k}" for k in range(torch.cuda.device_count())}
    if name not in devices:
        raise ConfigError(f"no device {name!r} here; there are: {', '.join(devices)}")
    return devices[name]

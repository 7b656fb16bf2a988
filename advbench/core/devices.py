"""The devices that a name may mean on this machine, and how often a loop may make one of them wait."""

from __future__ import annotations

import torch
from torch import Tensor

from advbench.types import ConfigError

# Asking which samples are done makes a GPU wait for its queue; a few steps too many are cheaper than that.
_STEPS_BETWEEN_CHECKS = {"cuda": 5}


def choose_device(name: str) -> str:
    """ "cpu" or "cuda"; "auto" is the GPU if there is one. Raises ConfigError on anything else."""
    there = torch.cuda.is_available()
    devices = {"cpu": "cpu", "auto": "cuda" if there else "cpu"}
    if there:
        devices |= {"cuda": "cuda"} | {f"cuda:{k}": f"cuda:{k}" for k in range(torch.cuda.device_count())}
    if name not in devices:
        raise ConfigError(f"no device {name!r} here; there are: {', '.join(devices)}")
    return devices[name]


def steps_between_checks(z: Tensor) -> int:
    """How many steps a loop over images z takes before it asks again which of its samples are done."""
    return _STEPS_BETWEEN_CHECKS.get(z.device.type, 1)


def time_to_check(step: int, z: Tensor) -> bool:
    """Is this one of the steps at which a loop over images z asks?"""
    return step % steps_between_checks(z) == 0

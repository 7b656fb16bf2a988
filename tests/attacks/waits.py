"""A witness of the operations for which a GPU has to finish its queue before the next one can be prepared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# Their result, or its size, has to be known on the host.
_WAITING = ("aten.nonzero", "aten._local_scalar_dense", "aten.linalg_inv_ex", "aten.masked_select")


class _Witness(TorchDispatchMode):
    def __init__(self, found: Counter[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = str(func)
        places = args[1] if name.startswith("aten.index") and isinstance(args[1], list | tuple) else ()
        masked = any(isinstance(place, Tensor) and place.dtype == torch.bool for place in places)
        if name.startswith(_WAITING) or masked:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def waits() -> Iterator[Counter[str]]:
    """Counts the operations inside that would make a GPU wait, by name; copies to the GPU are not seen on a CPU."""
    found: Counter[str] = Counter()
    with _Witness(found):
        yield found

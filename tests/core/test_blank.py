"""What hides an image: colours, and that a sample's own is taken."""

from __future__ import annotations

import pytest
import torch

from advbench.core.blank import blank
from advbench.types import ConfigError


def test_grey_and_mean_and_blur() -> None:
    x = torch.rand(3, 2, 9, 7, generator=torch.Generator().manual_seed(0)).double()
    assert torch.equal(blank(x, 0.25, 1.0), torch.full_like(x, 0.25))
    mean = blank(x, "mean", 1.0)
    assert torch.allclose(mean[1, 1], x[1, 1].mean().expand(9, 7))
    soft = blank(x, "blur", 2.0)
    assert torch.allclose(soft[1:2], blank(x[1:2], "blur", 2.0))
    assert bool((soft.std((2, 3)) < x.std((2, 3))).all())
    plain = torch.full((1, 1, 8, 8), 0.3)
    assert torch.allclose(blank(plain, "blur", 50.0), plain)


def test_anything_else_is_refused() -> None:
    for kind in ("grey", float("inf")):
        with pytest.raises(ConfigError, match="'mean' or 'blur'"):
            blank(torch.zeros(1, 1, 2, 2), kind, 1.0)

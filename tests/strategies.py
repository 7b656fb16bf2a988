"""Hypothesis strategies for the nouns of the package: images, perturbations, radii, norms, threats.

Tensors are filled from a drawn seed (fast, and large enough to matter) in one of a few flavours that have broken
projections before: ties, zeros, a single large component, values that fit together exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from hypothesis import strategies as st
from torch import Tensor

from advbench.types import ThreatModel

_DELTAS: dict[str, Callable[[Tensor], Tensor]] = {
    "gaussian": lambda g: g,
    "ties": lambda g: (2.0 * g).round() / 4.0,
    "sparse": lambda g: torch.where(g.abs() > 1.5, g, torch.zeros_like(g)),
    "zero": torch.zeros_like,
    "one large": lambda g: g / 100.0 + 5.0 * (torch.arange(g[0].numel()).reshape(g[0].shape) == 0),
    "tiny": lambda g: 1e-6 * g,
    "large": lambda g: 1e4 * g,
}

_IMAGES: dict[str, Callable[[Tensor], Tensor]] = {
    "uniform": lambda u: u,
    "bytes": lambda u: (255.0 * u).round() / 255.0,
    "black and white": lambda u: u.round(),
    "grey": lambda u: torch.full_like(u, 0.5),
    "black": torch.zeros_like,
}


def seeds() -> st.SearchStrategy[int]:
    """Seeds of torch generators and of Draws."""
    return st.integers(0, 2**31 - 1)


def shapes(*, largest: int = 6) -> st.SearchStrategy[tuple[int, int, int]]:
    """(C, H, W), not square as a rule."""
    side = st.integers(1, largest)
    return st.tuples(st.sampled_from((1, 3)), side, side)


@st.composite
def deltas(
    draw: st.DrawFn,
    *,
    batch: st.SearchStrategy[int] = st.integers(1, 4),  # noqa: B008
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Perturbations (B, C, H, W) of any size, not bounded by any ball or box."""
    shape = (draw(batch), *draw(shapes()))
    g = torch.randn(shape, generator=_generator(draw), dtype=torch.float64)
    return _DELTAS[draw(st.sampled_from(sorted(_DELTAS)))](g).to(dtype) if len(g) else g.to(dtype)


@st.composite
def images(
    draw: st.DrawFn,
    *,
    batch: st.SearchStrategy[int] = st.integers(1, 4),  # noqa: B008
    shape: st.SearchStrategy[tuple[int, int, int]] = shapes(),  # noqa: B008
) -> Tensor:
    """Images (B, C, H, W) float32 in [0, 1]."""
    u = torch.rand(draw(batch), *draw(shape), generator=_generator(draw))
    return _IMAGES[draw(st.sampled_from(sorted(_IMAGES)))](u)


@st.composite
def deltas_like(draw: st.DrawFn, x: Tensor) -> Tensor:
    """A perturbation of x (B, ...): small, large, or nothing; it may leave the box."""
    g = torch.randn(x.shape, generator=_generator(draw), dtype=torch.float64)
    return _DELTAS[draw(st.sampled_from(sorted(_DELTAS)))](g).to(x.dtype)


@st.composite
def logits_and_labels(
    draw: st.DrawFn,
    *,
    classes: st.SearchStrategy[int] = st.integers(2, 8),  # noqa: B008
    batch: int = 4,
) -> tuple[Tensor, Tensor]:
    """Logits (B, K) float64 without ties, of any scale, and labels (B,)."""
    generator, count = _generator(draw), draw(classes)
    scale = draw(st.sampled_from((0.01, 1.0, 30.0)))
    logits = scale * torch.randn(batch, count, generator=generator, dtype=torch.float64)
    return logits, torch.randint(count, (batch,), generator=generator)


def norms(*allowed: float) -> st.SearchStrategy[float]:
    """One of the norms; all four unless some are named."""
    return st.sampled_from(allowed or (0.0, 1.0, 2.0, math.inf))


def radii(*, largest: float = 8.0) -> st.SearchStrategy[float]:
    """Radii from 0, exact and odd ones among them."""
    return st.sampled_from((0.0, 8 / 255, 0.5, 1.0, 3.0)) | st.floats(0.0, largest, allow_subnormal=False)


@st.composite
def threats(draw: st.DrawFn, *, allowed: tuple[float, ...] = (0.0, 1.0, 2.0, math.inf)) -> ThreatModel:
    """A threat with a radius that fits its norm, in the box [0, 1]."""
    norm = draw(norms(*allowed))
    return ThreatModel(norm, draw(radii(largest=1.0 if norm == math.inf else 8.0).filter(norm_allows(norm))))


def norm_allows(norm: float) -> Callable[[float], bool]:
    """Is this radius one that ThreatModel accepts for `norm` in [0, 1]?"""
    return lambda eps: norm != math.inf or eps <= 1.0


def _generator(draw: st.DrawFn) -> torch.Generator:
    return torch.Generator().manual_seed(draw(seeds()))

"""How alike two sets of features are. Kornblith et al. 2019, arXiv:1905.00414, section 3."""

from __future__ import annotations

from torch import Tensor

from advbench.types import ConfigError


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Linear centred kernel alignment of features (N, D) and (N, E) of the same N images: in [0, 1], 1 for equal ones.

    Unchanged by a rotation of the features, a common factor and a shift; 0 if one side does not vary. Raises
    ConfigError if the numbers of images differ.
    """
    if len(first) != len(second):
        raise ConfigError(f"CKA compares features of the same images, got {len(first)} and {len(second)}")
    one, two = (_centred_gram(side) for side in (first, second))
    lengths = float(one.norm() * two.norm())
    return float((one * two).sum()) / lengths if lengths > 0 else 0.0


def _centred_gram(features: Tensor) -> Tensor:
    data = features.flatten(1).double()
    data = data - data.mean(0)
    return data @ data.T

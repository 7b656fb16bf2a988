"""An object cut out by its saliency. Simonyan et al. 2014, arXiv:1312.6034, section 3.2; Rother et al. 2004."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from advbench.models.extras import import_extra
from advbench.types import ConfigError

_BACKGROUND, _FOREGROUND, _UNDECIDED = 0, 1, 3  # OpenCV's codes; 3 is its "probably foreground"


def grabcut(image: Tensor, saliency: Tensor, *, iterations: int = 5) -> Tensor:
    """The object in image (3, H, W) in [0, 1], as a mask (H, W) bool: the largest connected piece of the foreground.

    saliency: (H, W) or (1, H, W), not negative; where it comes from is the caller's choice, SmoothGrad's magnitude is
    steadier than a plain gradient's. GrabCut of OpenCV, with 5 Gaussians per side, starts from the colours of the
    seeds, which keep their side. Raises ConfigError without OpenCV, for an image without colours, and where the
    saliency gives no seeds.
    """
    if image.dim() != 3 or image.shape[0] != 3 or image.shape[1:] != saliency.shape[-2:]:
        raise ConfigError(f"grabcut needs a colour image (3, H, W) and its saliency, got {tuple(image.shape)}")
    marks = saliency_seeds(saliency)
    cv2 = import_extra("cv2", "opencv")
    picture = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).flip(2).contiguous().cpu().numpy()
    mask = marks.numpy().copy()
    cv2.setRNGSeed(0)
    cv2.grabCut(picture, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), iterations, cv2.GC_INIT_WITH_MASK)
    return largest_component(torch.from_numpy(np.isin(mask, (_FOREGROUND, _UNDECIDED))))


def saliency_seeds(saliency: Tensor, *, foreground: float = 0.95, background: float = 0.30) -> Tensor:
    """Marks (H, W) uint8 in OpenCV's codes: 1 above the `foreground` quantile of saliency, 0 below the `background`
    one, 3 (probably foreground) between. Quantiles as in the paper.

    Raises ConfigError if the saliency is nothing, constant or not finite, or no pixel stands out.
    """
    flat = saliency.reshape(saliency.shape[-2:]).double()
    if not bool(torch.isfinite(flat).all()) or float(flat.max()) <= float(flat.min()):
        raise ConfigError(
            "the saliency is the same everywhere or not finite: it says nothing about where the object is"
        )
    high, low = (float(np.quantile(flat.cpu().numpy(), share)) for share in (foreground, background))
    # Were they probably background, the object's own colours would count as the background's.
    marks = torch.full(flat.shape, _UNDECIDED, dtype=torch.uint8)
    marks[flat.cpu() < low] = _BACKGROUND
    marks[flat.cpu() > high] = _FOREGROUND
    if not bool((marks == _FOREGROUND).any()) or not bool((marks == _BACKGROUND).any()):
        raise ConfigError(
            "the saliency gives no seeds: no pixel lies above its 95 % quantile or none below its 30 % one; smooth it"
        )
    return marks


def largest_component(mask: Tensor) -> Tensor:
    """The largest piece of mask (H, W) bool whose pixels touch along edges; nothing of an empty mask."""
    from scipy.ndimage import label

    pieces, count = label(mask.cpu().numpy())
    if not count:
        return torch.zeros_like(mask, dtype=torch.bool)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return torch.from_numpy(pieces == sizes.argmax())

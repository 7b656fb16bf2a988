"""The view of `advbench features` that cuts objects out: GrabCut started from the saliency of the predicted class."""

from __future__ import annotations

import torch

from advbench.attributions.explain import explain
from advbench.cli.feature_sources import Request, both
from advbench.core.draws import Draws
from advbench.core.transforms import blur
from advbench.features.grabcut import grabcut
from advbench.models.extras import import_extra
from advbench.models.predict import predict
from advbench.report.feature_sheets import Words
from advbench.report.feature_strips import write_cutouts
from advbench.types import ConfigError

_IMAGES = 4
_SPREAD = 0.01  # of the image's side: standard deviation of the blur


def cutouts_view(request: Request) -> None:
    """The images of --queries (the first four), their saliency, and the object that GrabCut finds from it."""
    import_extra("cv2", "opencv")  # told before the images are explained
    source, model = both(request)
    if source.shape[0] != 3:
        raise ConfigError(f"features grabcut needs colours to tell an object by, {source.name} is grey")
    ids = torch.tensor(request.queries or range(min(_IMAGES, len(source.ids))))
    x = source.read(ids)
    chances, best = predict(model, x).softmax(1).max(1)
    heat = explain("smooth_grad", model, x, best, seed=request.seed, sample_ids=ids).abs().sum(1, keepdim=True)
    # Pixels that happen to be quiet inside of the object would be seeds of the background.
    spread = _SPREAD * max(source.shape[1:])
    saliency = blur(spread)(heat, Draws(request.seed, ids), 0)[:, 0]  # (B, H, W)
    objects = [grabcut(image, heat) for image, heat in zip(x, saliency, strict=True)]
    names = [
        f"{source.title_of(i)}: {source.classes[kind]} {chance:.0%}"
        for i, kind, chance in zip(ids.tolist(), best.tolist(), chances.tolist(), strict=True)
    ]
    words = Words(
        f"What the prediction hangs on, cut out, {request.called}",
        f"Images of {source.name}, each with the class seen in it. Saliency: magnitude of SmoothGrad for that class, "
        f"channels summed, blurred by {spread:.1f} pixels. GrabCut starts from the colours of the pixels above its 95 "
        "% quantile (object) and below its 30 % quantile (background); the largest connected piece is kept.",
    )
    write_cutouts(request.out, list(x), list(saliency), objects, names=names, words=words)

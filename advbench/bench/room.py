"""How much a run is going to store, guessed before it begins."""

from __future__ import annotations

import math
from collections.abc import Sequence

from advbench.bench.jobs import Job

ROW = 250  # bytes of a row of samples.parquet: 23 columns of at most 8 bytes, and what stands around them
PIXEL = 4  # float32
MEANWHILE = 2  # copies more of the images of the cell in work: its chunks, at most two rows of a sample keep an image


def bytes_needed(jobs: Sequence[Job], workers: int = 1) -> int:
    """Bytes that the cells of `jobs` take: their rows, an example of each sample that an attack is after, and what the
    largest cells in work hold meanwhile.

    A guess: not every sample falls, controls fool few and count as none; galleries, explanations and the weights of
    trained models come on top.
    """
    images = [job.count * math.prod(job.recipe.shape) * PIXEL for job in jobs]
    rows = sum(ROW * job.count * len(job.threat.eps or (None,)) for job in jobs)
    stored = sum(size for job, size in zip(jobs, images, strict=True) if job.kind == "attack")
    return rows + stored + MEANWHILE * sum(sorted(images)[-workers:])

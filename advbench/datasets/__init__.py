"""Labelled images: one reader per file, how samples are chosen, and how an image file becomes a tensor.

Every reader shares one signature, registered by `@dataset(shape=, classes=)`:

    name(split: str, *, root: Path, download: bool, ...) -> Dataset

Images come out float32 (C, H, W) in [0, 1], unnormalised; labels are int64 from 0. A required parameter of a reader
stands behind the colon of a spec (`npz:PATH`), `labels_of` behind the hash (`folder:PATH#imagenet`).

`load_dataset` turns a spec into a Dataset, `select` picks samples by a seed, `load_samples` does both.

Not here: augmentation (defenses/), normalisation (models/), anything that needs a model.
"""

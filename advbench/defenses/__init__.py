"""What makes a model harder to fool, and the one loop that trains.

What lives here: `training/`, losses `(model, x, y, threat, *, draws, ...) -> scalar` registered with
`@defense(stage="training")`; `train.py`, the only training loop, with its settings, schedules, augmentations,
checkpoint and curve; `substitute.py`, a stand-in trained from the labels that a victim answers. A later `inference/`
holds wrappers `(model, ...) -> model`. What does not belong: how models are named, cached or found
(`bench/recipes.py`).
"""

"""Training defenses: one loss per file, `(model, x, y, threat, *, draws, ...) -> scalar`.

The model comes in train mode, x (B, C, H, W) in [0, 1], y (B,); `threat` carries the norm and the radius of this moment
of the training. A loss leaves the model's mode and parameters as they are; the loop in `defenses/train.py` steps.
"""

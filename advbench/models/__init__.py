"""Networks under test: one architecture per file, how they are found, loaded, hashed and checked.

Every architecture shares one signature, registered by `@model()`:

    name(shape: (C, H, W), classes: int, *, seed: int, ...) -> nn.Module

The module maps images (B, C, H, W) in [0, 1] to logits (B, K); normalisation is its first layer. Weights are drawn
from `seed` without touching torch's own generator. Where `shape` and `classes` have defaults, no dataset is needed.
A parameter `weights` names weights the architecture can get by itself. A required parameter is what stands behind
the colon in a spec such as `torchvision:resnet18`.

`load_model` turns a spec into a model, `load_weights` fills it from a file, `weights_hash` names its content,
`check_model` refuses what is no classifier of [0, 1] images.

Not here: training (defenses/), gradients (core/), anything that wraps a model to defend it (defenses/inference/).
"""

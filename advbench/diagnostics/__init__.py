"""Diagnostics: what an attack does to a model's reasons, features and gradients. Numbers and maps, no drawing.

Each file answers one question about a model and images (B, C, H, W) in [0, 1], often in pairs x, x_adv, and returns a
frozen dataclass with one entry per sample. The model is left as it came; nothing is random unless draws are given. What
does not belong: verdicts on attacks (the judge), maps by themselves (`advbench.attributions`), numbers on two maps
(`advbench.metrics.map_similarity`), figures (`advbench.report`).
"""

"""The one core: optimise an input under constraints. Everything else hands it different parts.

What lives here: mathematics on tensors (norms, projections, sampling, losses), the parts of a loop (objectives, step
rules, gradients, keep) and the two loops themselves (`descent.descend` with a gradient, `search.search` without).
Shared shape: free variables z (A, ...) and `rows` (A,), the positions in the batch that are still being worked on.
Everything is minimised; the sign is chosen in one place, the objective. What does not belong: names of methods, models,
datasets, files.
"""

"""What a network has learned, looked at through its own layers and through data.

What lives here: functions that return tensors or frozen dataclasses about a model's insides: the list of its layers,
filters, activations, the patches that excite a unit, projections of units back to pixels, neighbours and embeddings
in feature space, how features evolve in training, how architectures compare. What does not belong: maps that explain
one prediction (`attributions/`), images made by optimisation (`synthesis/`), drawing (`report/feature_*.py`).
"""

"""Attributions: which parts of an image a score hangs on. One file each, found by the registry.

    @attribution(paper="arXiv:1312.6034")
    def gradient(model, x, y, *, draws=None, ...) -> heat

x (B, C, H, W); y: the classes (B,) to explain, meaning their raw scores, or a `core.targets.Target` (a log-probability,
a difference, a unit inside the network, any function of the output). heat is (B, C, H, W) or (B, 1, H, W), finite, in
the units of the method and not scaled to a range, so that maps of different images and models can be compared; signed
unless the method's own formula takes an absolute value or a ReLU. Raw scores, since a softmax mixes in the evidence
against the other classes. The model is left as it came, also on exceptions.

A method that has no meaning for a model (guided backprop with GELU, CAM without global pooling) raises ConfigError and
names one that has. What does not belong: colours, scaling, clipping at a percentile: drawing is elsewhere.
"""

"""Attributions: which parts of an image a class score hangs on. One file each, found by the registry.

    @attribution(paper="arXiv:1312.6034")
    def saliency(model, x, y, *, draws=None, ...) -> heat

x (B, C, H, W); y (B,) the class to explain; heat is signed, (B, C, H, W) or (B, 1, H, W), finite, in the units of the
method and not scaled to a range, so that maps of different images and models can be compared. Scores are raw logits:
a softmax mixes in the evidence against the other classes. The model is left as it came, also on exceptions.

What does not belong: colours, absolute values, maxima over channels, clipping at a percentile: drawing is elsewhere.
"""

"""Syntheses: images by optimisation, or by a network that was trained to make them. One file each, in the registry.

    @synthesis(paper="doi:10.23915/distill.00007")
    def visualize(model, target, *, draws, ...) -> images (B, C, H, W) in [0, 1]

What a network saw (features, Gram matrices, a class) is a `core.targets.Target`; how the image is written down a
`core.parameterisations.Parameterisation`; what it should be like a `core.priors.Prior`; what it must survive a
`core.transforms.View`. `render.render` puts them into `core.descent.descend`, the one loop of the package, which also
tells previews and notes down where an interrupted run goes on (`core.journal`). The model is left as it came.

What does not belong: files, progress bars, captions (the command's matter), a loop of its own.
"""

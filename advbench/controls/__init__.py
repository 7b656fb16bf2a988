"""Controls: perturbations of the same size without direction. What they achieve, size alone achieves.

    @control(norms=(1, 2, inf))
    def random_sphere(model, x, y, threat, *, draws, targeted=False, tries=1000, ...) -> x_adv

The signature is that of an attack. A control looks at `tries` random points per sample and returns the best of them by
the victim's own margin, one that changes the label first (`best_draw`); it learns nothing from what it saw.

Clipping to the box shortens a random perturbation: on MNIST, where most pixels are 0 and half the noise points below,
a clipped l2 draw keeps about three quarters of its length. The judge measures what was achieved; `rescale` lengthens
each draw until it has its length inside the box. What does not belong: anything that adapts, which is an attack.
"""

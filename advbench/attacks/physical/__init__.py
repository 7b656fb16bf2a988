"""Changes that a camera could see: patches, turns, colours, weather; most know no lp ball. See advbench.attacks.

Where the perturbation is no ball, the threat says what is measured: the patch and the fooling image count changed
components (l0), turns, flows, colours and corruptions are measured in linf. Without a radius only the box binds and the
method's own limits (degrees, pixels, shares of the image) say how far it may go; with one, the result is projected.
"""

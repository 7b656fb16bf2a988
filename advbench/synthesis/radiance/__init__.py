"""Radiance fields: a scene in space, fitted to views of it, painted in the style of pictures, seen from all around.

`cameras` has the rays, `field` the grid of voxels, `rendering` how the light along a ray is gathered, `scene` views
with their cameras (and solids of our own), `fit` the way from views to a field, `recolour` the colours of one given to
the other, `arf` the painting. All of it is torch. What does not belong: reading cameras from files.
"""

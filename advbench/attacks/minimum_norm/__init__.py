"""Attacks that look for the nearest example instead of the strongest in a ball; see advbench.attacks.

Without a radius they return the nearest example found, x itself if there is none: one run serves a whole grid of radii.
With a radius they leave a sample alone as soon as its example lies in the ball. What does not belong: attacks that need
a radius to start.
"""

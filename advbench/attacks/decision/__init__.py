"""Attacks that need the victim's label and nothing else, look for the nearest example and count what they ask.

`inquiry` counts; `starting_point` finds where they begin; see advbench.attacks.
"""

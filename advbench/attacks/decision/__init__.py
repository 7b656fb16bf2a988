"""Attacks that need the victim's label and nothing else. All of them look for the nearest example and count what they
ask (`inquiry`); `starting_point` finds where they begin; see advbench.attacks.
"""

"""Attacks that need the victim's gradient. Each hands `core.descent.descend` its own parts; see advbench.attacks."""

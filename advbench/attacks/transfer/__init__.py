"""Attacks that need nothing of the victim: examples are made elsewhere and handed over. See advbench.attacks."""

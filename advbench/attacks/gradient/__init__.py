"""Attacks that need the victim's gradient. Most hand `core.descent.descend` their own parts; see advbench.attacks."""

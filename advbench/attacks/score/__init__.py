"""Attacks that see the victim's scores and not its gradient. One query is one forward pass; see advbench.attacks.

The loop that most share is in `random_search`; randomness for many steps at once comes from `core.draws_ahead`.
"""

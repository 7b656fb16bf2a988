"""Several attacks as one: a sample is done as soon as one of them fools it. See advbench.attacks for the signature.

What belongs here: an order of attacks and a rule for when to stop. What does not: a loop of its own.
"""

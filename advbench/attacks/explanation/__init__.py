"""Attacks on the explanation: the class stays, the gradient map says something else. See advbench.attacks.

They declare `keeps_label`: the class that the model predicts at x is also its class at x_adv, so no robust accuracy
falls; what falls is the likeness of the two maps, which `explain:` in a matrix measures. y is not used: what is
explained is the predicted class. Each hands `shift_map.shift_map` its own aim. What does not belong: the attributions
themselves (`advbench.attributions`); the map that is attacked is `core.gradient_map`.
"""

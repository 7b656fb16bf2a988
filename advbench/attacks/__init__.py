"""Attacks: x_adv near x on which the model errs, or says what it is told to. One file each, found by the registry.

    @attack(norms=(1, 2, inf), access="gradient", paper="arXiv:1706.06083")
    def pgd(model, x, y, threat, *, draws, targeted=False, ...) -> x_adv

x (B, C, H, W) in the box of `threat`; y (B,) is what to leave, or to reach if `targeted`; x_adv like x, in the ball and
in the box. With `threat.eps` None (minimum-norm attacks only) there is no ball. All randomness comes from `draws`; x
and the model are left as they came, also on exceptions. The caller turns goals ("least likely") into y and `targeted`.

Sub-folders say what is needed of the victim: gradient/ its gradient, transfer/ nothing. What does not belong: deciding
success (the judge does), loading models, files, restating the loop of `core.descent`.
"""

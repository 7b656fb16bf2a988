"""Checks for attacks, ours and those of third parties: `check_attack(fn)` raises AssertionError if a law is broken.

Laws hold on any model (`laws`), promises on linear models whose nearest adversarial example is known in closed form
(`promises`, `oracles`). Needs neither pytest nor Hypothesis; call it from any test. What does not belong: tests of one
method, which stand beside the other tests of this repository.
"""

from advbench.testing.check_attack import check_attack
from advbench.testing.oracles import Linear, LinearProblem, linear_problem

__all__ = ["Linear", "LinearProblem", "check_attack", "linear_problem"]

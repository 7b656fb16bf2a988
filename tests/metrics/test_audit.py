"""The bound on what a stopping rule overlooked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from advbench.metrics.audit import audit


def rows(run: int, decided: int, audited: int, overturned: int) -> pd.DataFrame:
    evidence = ["run"] * run + ["decided"] * decided + ["audited"] * audited
    fooled = [True] * run + [False] * decided + [True] * overturned + [False] * (audited - overturned)
    return pd.DataFrame({"evidence": evidence, "fooled": fooled})


@given(st.integers(0, 20), st.integers(0, 200), st.integers(0, 60), st.data())
def test_the_bound_is_where_so_few_would_fall_once_in_twenty(
    run: int, decided: int, audited: int, data: st.DataObject
) -> None:
    overturned = data.draw(st.integers(0, audited))
    found = audit(rows(run, decided, audited, overturned))
    if decided + audited == 0:
        assert found is None
        return
    assert found is not None
    assert found[1:4] == (decided, audited, overturned)
    share = found.bound * found.n / decided if decided else 1.0
    if overturned < audited and decided:
        assert binom.cdf(overturned, audited, share) == pytest.approx(0.05, rel=1e-6)
    assert 0.0 <= found.bound <= decided / found.n


def test_it_covers_what_happened_in_most_audits() -> None:
    """100 robust claims of which 10 are wrong, each audited with chance 0.3: the bound holds in 95 % of the cases."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        wrong, chosen = np.arange(100) < 10, generator.random(100) < 0.3
        found = audit(rows(0, int((~chosen).sum()), int(chosen.sum()), int((wrong & chosen).sum())))
        assert found is not None
        covered += bool((wrong & ~chosen).sum() / 100 <= found.bound)
    assert covered / 400 >= 0.93


def test_an_example_by_hand() -> None:
    found = audit(rows(10, 60, 30, 0))
    assert found is not None
    assert found.bound == pytest.approx(0.6 * (1 - 0.05 ** (1 / 30)))
    assert str(found) == "60 of 100 decided early; of 30 audited, 0 fell: at most 5.70 points too robust (95 %)"

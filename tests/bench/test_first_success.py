"""When an attack first succeeded: counted where an example counts, in the ball and on the image itself."""

from __future__ import annotations

import math

import pytest
import torch

from advbench.bench.evaluate import evaluate
from advbench.metrics.budget import passes_to_error, robust_after
from advbench.registry import ATTACKS, AttackInfo, Entry
from advbench.testing.check_attack import no_params
from advbench.types import ThreatModel
from tests.attacks.small_nets import conv_net, images
from tests.contracts.test_attacks import PARAMETERS

EPS = {math.inf: 0.03, 2.0: 0.15, 1.0: 0.5, 0.0: 1.0}


@pytest.mark.parametrize("method", list(ATTACKS), ids=[entry.name for entry in ATTACKS])
def test_what_was_found_in_the_ball_is_an_example(method: Entry[AttackInfo]) -> None:
    model = conv_net()
    x, y, _ = images(model, 24)
    for norm in method.info.norms:
        params = PARAMETERS.get(method.name, no_params)(model)
        rows = evaluate(model, x, y, attack=method.name, threat=ThreatModel(norm, EPS[norm]), **params)
        # What is learned for all samples together may give one up for others.
        if not (method.info.together or method.info.keeps_label):
            assert not (rows.robust & (rows.first_success_step >= 0)).any()


@pytest.mark.parametrize(
    ("name", "norm", "budget"), [("apgd", 1.0, 20), ("apgd_t", 1.0, 40), ("sia", math.inf, 12), ("pgd", 2.0, 10)]
)
def test_the_curve_against_passes_claims_no_more_than_a_run_with_that_budget(
    name: str, norm: float, budget: int
) -> None:
    """It may claim less: what a run that is cut off returns was often never shown to the model."""
    model = conv_net()
    x, y, _ = images(model, 60)
    params = {"steps": 30} if name.startswith("apgd") else {}
    threat = ThreatModel(norm, 2 * EPS[norm])
    whole = evaluate(model, x, y, attack=name, threat=threat, **params)
    cut = evaluate(model, x, y, attack=name, threat=threat, budget=budget, **params)
    told = robust_after(passes_to_error(whole.to_pandas(), norm, threat.radius), budget)
    assert told.value >= float(cut.robust.float().mean()) - 1e-6


def test_a_target_is_not_reached_by_a_number_that_is_none() -> None:
    class Torn(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = torch.stack([x.flatten(1).sum(1), -x.flatten(1).sum(1), 0 * x.flatten(1).sum(1) - 9], 1)
            logits[x.flatten(1)[:, 0] > 0.5, 2] = math.nan
            return logits

    x, y = torch.full((4, 1, 2, 2), 0.49), torch.zeros(4, dtype=torch.int64)
    rows = evaluate(Torn(), x, y, attack="square", threat=ThreatModel(math.inf, 0.1), goal=2, queries=20)
    assert not rows.fooled.any()
    assert evaluate(Torn(), x, y, attack="square", threat=ThreatModel(math.inf, 0.1), queries=20).fooled.all()

"""Where label-only attacks begin: at the images that the caller gives for the samples attacked; or they say so."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from advbench.bench.evaluate import evaluate
from advbench.bench.summary import summarise
from advbench.types import ThreatModel

LABELS = {"model": "m", "defense": "none", "attack": "a", "goal": "random", "norm": "l2"}


class Corner(nn.Module):
    """Class 1 in one corner of the box, where no random image is; else class 0."""

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1).sum(1) - 0.97 * x[0].numel()
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.mark.parametrize("name", ["boundary", "hop_skip_jump", "rays", "sign_opt", "geoda", "evolutionary"])
def test_given_images_are_those_of_the_samples_that_are_attacked(name: str) -> None:
    x, y = torch.full((5, 1, 6, 6), 0.9), torch.tensor([0, 1, 0, 1, 0])  # two clean errors in between
    starts = torch.ones_like(x)
    norm = math.inf if name == "rays" else 2.0
    rows = evaluate(Corner(), x, y, attack=name, threat=ThreatModel(norm, None), starts=starts, queries=200)
    assert rows.fooled[y == 0].all()
    assert not rows.clean_correct[y == 1].any()


class Half(nn.Module):
    """Class 1 where the image is bright on the whole, as half of all random images are; else class 0."""

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1).mean(1) - 0.5
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.mark.parametrize("name", ["boundary", "hop_skip_jump", "rays", "sign_opt", "geoda", "evolutionary"])
def test_given_images_that_do_not_meet_the_goal_are_told_once(name: str) -> None:
    x, y = torch.full((5, 1, 6, 6), 0.4), torch.tensor([0, 1, 0, 0, 0])  # one clean error, which is not attacked
    starts = torch.stack([torch.full_like(x[0], value) for value in (0.1, 0.1, 1.0, 0.2, 1.0)])
    threat = ThreatModel(math.inf if name == "rays" else 2.0, None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = evaluate(Half(), x, y, attack=name, threat=threat, starts=starts, queries=200)
    which = "corners that the images in starts lie towards" if name == "rays" else "images in starts"
    assert [str(warning.message) for warning in caught] == [
        f"2 of the 4 {which} do not meet the goal: random ones are tried in their place"
    ]
    assert rows.fooled.all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(Half(), x, y, attack=name, threat=threat, starts=torch.ones_like(x), queries=200)


def test_samples_for_which_there_was_no_start_are_told() -> None:
    x, y = torch.full((4, 1, 6, 6), 0.5), torch.tensor([0, 1, 0, 0])
    threat = ThreatModel(2.0, 1.0)
    with pytest.warns(UserWarning, match="hop_skip_jump: for 3 of 4 samples no example was found to begin with"):
        rows = evaluate(Corner(), x, y, attack="hop_skip_jump", threat=threat, queries=150)
    assert rows.robust.tolist() == [True, False, True, True]
    (row,) = summarise(rows.to_pandas(), labels=LABELS, eps=["1"], seconds=0.0)
    assert "for 3 of 4 samples" in str(row["unstarted"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(Corner(), x, y, attack="hop_skip_jump", threat=threat, queries=150, starts=torch.ones_like(x))

"""Normalisation is a layer that takes the channels it has constants for, and no others."""

from __future__ import annotations

from math import inf

import pytest
import torch
from torch import nn

from advbench.bench.evaluate import evaluate
from advbench.models.normalize import Normalize
from advbench.models.rewrite import rewritten
from advbench.types import ConfigError, ThreatModel


def test_a_pixel_by_hand() -> None:
    pixel = torch.tensor([0.5, 0.7]).reshape(1, 2, 1, 1)
    assert Normalize([0.5, 0.5], [0.1, 0.2])(pixel).flatten().tolist() == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (2, 4, 4, 4), (3, 4, 4)])
def test_images_of_another_number_of_channels_are_refused(shape: tuple[int, ...]) -> None:
    """A grey image would become three channels by broadcasting, and be judged by a network for colours."""
    with pytest.raises(ConfigError, match="normalisation takes 3 channels"):
        Normalize([0.5] * 3, [0.5] * 3)(torch.rand(shape))


def test_a_network_for_colours_is_not_evaluated_on_grey_images() -> None:
    net = nn.Sequential(Normalize([0.5] * 3, [0.5] * 3), nn.Flatten(), nn.Linear(48, 3)).eval()
    with pytest.raises(ConfigError, match="3 channels"):
        evaluate(net, torch.rand(2, 1, 4, 4), torch.tensor([0, 1]), attack="fgsm", threat=ThreatModel(inf, 0.1))


def test_a_network_with_it_is_still_made_cheaper() -> None:
    net = nn.Sequential(Normalize([0.5], [0.5]), nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten())
    assert isinstance(rewritten(net.eval(), torch.rand(2, 1, 5, 5)).get_submodule("2"), nn.Identity)

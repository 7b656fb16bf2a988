"""cue_conflict with networks that see one thing only."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.datasets.stimuli import Stimuli
from advbench.diagnostics.cue_conflict import cue_conflict
from advbench.types import ConfigError


def stimuli() -> Stimuli:
    """The shape is in the red channel, the texture in the green one, as a number of thirds."""
    shape, texture = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([1, 2, 0, 0, 2])
    images = torch.zeros(5, 3, 4, 4)
    images[:, 0], images[:, 1] = (shape / 3.0)[:, None, None], (texture / 3.0)[:, None, None]
    return Stimuli(images, shape, texture, ("car", "cat", "dog"), tuple("abcde"))


class Sees(nn.Module):
    """Names what a channel says, in a network with two classes for each."""

    def __init__(self, channel: int, classes: int = 6) -> None:
        super().__init__()
        self.channel, self.classes = channel, classes

    def forward(self, x: Tensor) -> Tensor:
        seen = (x[:, self.channel].mean((1, 2)) * 3).round().long()
        return 10.0 * nn.functional.one_hot(seen * self.classes // 3, self.classes).float()


GROUPS = {"car": [0, 1], "cat": [2, 3], "dog": [4, 5]}


def test_a_network_that_sees_shapes_and_one_that_sees_textures() -> None:
    for channel, expected in ((0, (4, 0, 0)), (1, (0, 4, 0))):
        found = cue_conflict(Sees(channel), stimuli(), GROUPS).whole
        assert (found.shape, found.texture, found.neither) == expected
    assert cue_conflict(Sees(0, 3), stimuli()).whole.shape == 4


def test_by_shape_class_it_adds_up() -> None:
    found = cue_conflict(Sees(1), stimuli(), GROUPS)
    assert found.by_shape["texture"].tolist() == [2, 1, 1]
    assert found.chance.shape == (5, 3)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="6 classes and the stimuli 3"):
        cue_conflict(Sees(0), stimuli())
    with pytest.raises(ConfigError, match="what 'dog' is made of"):
        cue_conflict(Sees(0), stimuli(), {"car": [0], "cat": [1]})
    with pytest.raises(ConfigError, match="do not fit the model"):
        cue_conflict(Sees(0), stimuli(), {"car": [0], "cat": [1], "dog": [9]})

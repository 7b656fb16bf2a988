"""Plug-In Inversion: one call for convolutions, transformers and MLPs; the canvas grows as published."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.journal import Frame, running
from advbench.models.load import load_model
from advbench.synthesis.inversion.plug_in_inversion import canvas_sizes, plug_in_inversion
from advbench.testing.witness import state_of
from advbench.types import ConfigError
from tests.attributions.small_nets import pooled_net, tiny_vit

DRAWS = Draws(0, torch.arange(2))


def mlp() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 32), nn.GELU(), nn.Linear(32, 4)).eval()


@pytest.mark.parametrize("model", [pooled_net(), tiny_vit(), mlp()])
def test_the_same_call_raises_the_class_in_every_kind_of_network(model: nn.Module) -> None:
    before = state_of(model)
    image = plug_in_inversion(model, "log_prob:1", draws=DRAWS, shape=(3, 16, 16), steps=5, ensemble=2, spread=0.3)
    assert state_of(model) == before
    assert image.shape == (2, 3, 16, 16)
    assert 0.0 <= float(image.min()) < float(image.max()) <= 1.0
    start = torch.rand(50, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    scores = model(torch.cat([image, start])).log_softmax(1)[:, 1]
    assert bool((scores[:2] > scores[2:].mean()).all())


class Mixer(nn.Module):
    """Patches of 32 x 32 pixels, mixed by two layers along the places and two along the channels, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 256, 32, 32), nn.Linear(256, 1000)
        self.places = nn.ModuleList(_two_layers(49) for _ in range(2))
        self.channels = nn.ModuleList(_two_layers(256) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        patches = self.stem(x).flatten(2)  # (A, 256, 49)
        for places, channels in zip(self.places, self.channels, strict=True):
            patches = patches + places(patches)
            patches = patches + channels(patches.transpose(1, 2)).transpose(1, 2)
        scores: Tensor = self.head(patches.mean(2))
        return scores


def _two_layers(width: int) -> nn.Module:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "vit_b_32", "mixer"])
def test_the_same_call_works_for_networks_of_full_size(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Mixer() if name == "mixer" else load_model(f"torchvision:{name}", shape=(3, 224, 224), classes=1000)
        for module in model.modules():
            if isinstance(module, nn.Linear) and module.out_features == 1000:
                nn.init.normal_(module.weight, std=0.02)  # torchvision's transformers have no head before training
    before = state_of(model.eval())
    start, made = (
        plug_in_inversion(
            model, "log_prob:340", draws=DRAWS.rows(torch.tensor([0])), steps=1, ensemble=1, step_size=size
        )
        for size in (1e-9, 0.1)
    )
    assert state_of(model) == before
    assert made.shape == (1, 3, 224, 224)
    assert 0.0 <= float(made.min()) < float(made.max()) <= 1.0
    # Random weights have no class to show: that the slope arrives at nearly every pixel is all that can be asked.
    assert float(((made - start).abs() > 0.01).float().mean()) > 0.9


def test_the_canvas_grows_to_the_size_of_the_network() -> None:
    assert [padded for _, padded in canvas_sizes((224, 224))] == [(14 * n, 14 * n) for n in range(4, 17, 2)]
    assert [grown for grown, _ in canvas_sizes((224, 112))][:2] == [(42, 21), (70, 35)]
    assert [padded for _, padded in canvas_sizes((13, 10))][-1] == (13, 10)
    frames: list[Frame] = []
    with running(watch=frames.append):
        plug_in_inversion(pooled_net(), "class:1", draws=DRAWS, shape=(3, 16, 16), steps=1, ensemble=1)
    assert [frame.image().shape[-1] for frame in frames] == [4, 6, 8, 10, 12, 14, 16]


def test_it_refuses_numbers_that_do_nothing() -> None:
    with pytest.raises(ConfigError, match="ensemble"):
        plug_in_inversion(mlp(), "class:0", draws=DRAWS, shape=(3, 16, 16), ensemble=0)

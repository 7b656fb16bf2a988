"""Every synthesis that looks at a network leaves it as it was, and sees it in eval mode, also if it is in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.registry import SYNTHESES
from advbench.synthesis.feed_forward.adaptive import Decoder, Encoder
from advbench.synthesis.feed_forward.contrastive import train_contrastive
from advbench.synthesis.feed_forward.training import Course
from advbench.synthesis.visualize.generator import Generator
from advbench.testing.witness import state_of

SHAPE = (3, 24, 20)


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return make()


def in_training() -> nn.Module:
    """Norms that learn from what passes, and dropout in front of layers of all depths."""

    def layers() -> nn.Module:
        one = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(), nn.MaxPool2d(2)]
        two = [nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout()]
        three = [nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)]
        return nn.Sequential(*one, *two, *three)

    return seeded(layers).train()


def images(count: int = 2) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(count))


def decoder_for(model: nn.Module) -> nn.Module:
    encoder = Encoder(model, images())
    return seeded(lambda: Decoder(encoder.channels, encoder.halvings)).eval()


def generator() -> Generator:
    decode = seeded(lambda: nn.Sequential(nn.Linear(4, 3 * 24 * 20), nn.Sigmoid(), nn.Unflatten(1, SHAPE)))
    return Generator(decode, torch.full((4,), -1.0), torch.full((4,), 1.0), torch.zeros(4))


# What each is given behind the model: short runs, the laws hold for every setting.
Given = tuple[tuple[object, ...], dict[str, Any]]
CASES: dict[str, Callable[[nn.Module], Given]] = {
    "adaptive_style": lambda model: ((images(), images(1), decoder_for(model)), {}),
    "arf": lambda model: ((images(1),), {"size": SHAPE[1:], "frames": 1, "steps": 1, "sides": [6], "fit_steps": [2]}),
    "dream": lambda model: ((images(),), {"octaves": 2, "steps": 2}),
    "dream_strip": lambda model: ((images(1),), {"octaves": 1, "steps": 2, "count": 2}),
    "dream_zoom": lambda model: ((images(1),), {"frames": 2, "steps": 1}),
    "generator_prior": lambda model: (("class:1",), {"generator": generator(), "steps": 3}),
    "inversion": lambda model: ((images(),), {"steps": 3, "restarts": 3}),
    "maco": lambda model: (("class:1",), {"shape": SHAPE, "steps": 2}),
    "multifaceted": lambda model: (("class:1",), {"images": images(6), "facets": 2, "steps": 2}),
    "plug_in_inversion": lambda model: (("class:1",), {"shape": SHAPE, "steps": 1}),
    "style": lambda model: ((images(), images(1)), {"sizes": [20], "steps": [2], "pooling": "average"}),
    "texture": lambda model: ((images(),), {"steps": 2, "scales": 1, "pooling": "average"}),
    "visualize": lambda model: (("class:1",), {"shape": SHAPE, "steps": 2, "diversity": 1.0}),
}
WITHOUT_A_NETWORK = {"efros_leung", "fast_style", "wei_levoy"}
SLOW = {"arf"}
NAMES = [
    pytest.param(entry.name, marks=[pytest.mark.slow] if entry.name in SLOW else [])
    for entry in SYNTHESES
    if entry.name not in WITHOUT_A_NETWORK
]


@pytest.mark.parametrize("name", NAMES)
def test_a_network_in_training_is_left_alone_and_looked_at_without_its_noise(name: str) -> None:
    model = in_training()
    args, params = CASES[name](model)
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = state_of(model)
        made.append(SYNTHESES[name].function(model, *args, draws=Draws(0, torch.arange(2)), **params))
        assert state_of(model) == before
    assert torch.equal(*made)


def test_a_critic_in_training_is_left_alone_too() -> None:
    model, heads = in_training(), []
    before = state_of(model)
    for seed in (0, 1):
        torch.manual_seed(seed)
        cast = train_contrastive(model, images(), images(), Course(steps=1, batch=2, side=16))
        heads.append(cast.code.state_dict())
    torch.manual_seed(0)
    assert state_of(model) == before
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])

"""Equal models make equal pictures; a robust one inverts better than a plain one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from advbench.core.draws import Draws
from advbench.datasets.load import load_dataset, load_samples
from advbench.models.load import load_model
from advbench.synthesis.side_by_side import side_by_side
from advbench.types import ConfigError
from tests.attributions.small_nets import pooled_net


def test_equal_models_make_equal_pictures() -> None:
    x, y, draws = torch.rand(2, 3, 16, 12), torch.tensor([1, 3]), Draws(0, torch.arange(2))
    found = side_by_side([pooled_net(), pooled_net(), pooled_net(7)], x, y, draws=draws, steps=4, dream_steps=2)
    for pictures in found:
        assert pictures.shape == (3, 2, 3, 16, 12)
        assert torch.equal(pictures[0], pictures[1])
        assert not torch.equal(pictures[0], pictures[2])
    with pytest.raises(ConfigError, match="one model"):
        side_by_side([], x, y, draws=draws)


@pytest.mark.slow
def test_a_robust_network_remembers_the_picture_better_than_a_plain_one(shared_data: Path) -> None:
    names = ("cifar_resnet20", "cifar_resnet4b_pgd_eps2")
    spec = f"sequential:{shared_data / 'models' / 'models.json'}#"
    models = [load_model(spec + name, shape=(3, 32, 32), classes=10) for name in names]
    x, _ = load_samples(
        load_dataset(f"npz:{shared_data / 'cifar10' / 'cifar10_lossless_test_subset.npz'}#cifar10"), count=4
    )
    y = torch.arange(4)
    found = side_by_side(models, x, y, draws=Draws(0, y), steps=60, dream_steps=2)
    plain, robust = (found.inversions - x).abs().mean((1, 2, 3, 4))
    assert float(robust) < 0.7 * float(plain)
    for model, pictures in zip(models, found.classes, strict=True):
        assert torch.equal(model(pictures).argmax(1), y)

"""Stimuli of one's own: shape of one image, texture of another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.cli import cli
from advbench.datasets.stimuli import read_stimuli
from advbench.diagnostics.conflict_stimuli import (
    Pair,
    conflict_pairs,
    conflict_stimuli,
    edge_likeness,
    style_distance,
)
from advbench.store import write_tensors
from advbench.testing.witness import state_of
from advbench.types import ConfigError


def painter(channels: int = 3) -> nn.Module:
    """Random filters tell textures apart too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(channels, 12, 3, 1, 1), nn.ReLU(), nn.Conv2d(12, 16, 3, 2, 1), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)).eval()


def world(size: int = 16, channels: int = 3) -> Tensor:
    """Twelve images of three classes: a disc, a cross, a bar, each drawn in a texture of its own class."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    middle = (size - 1) / 2
    away = ((rows - middle) ** 2 + (columns - middle) ** 2).float().sqrt()
    masks = [away < 0.35 * size, ((rows - middle).abs() < 2) | ((columns - middle).abs() < 2), columns < size // 3]
    noise = torch.rand(4, channels, size, size, generator=torch.Generator().manual_seed(0))
    waves = [((rows + columns) % 4 < 2).float(), (rows % 4 < 2).float(), (columns % 6 < 3).float()]
    images = [
        (0.25 + 0.5 * mask.float() + 0.2 * (wave - 0.5) + 0.05 * extra).clamp(0, 1)
        for mask, wave in zip(masks, waves, strict=True)
        for extra in noise
    ]
    return torch.stack(images)


@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 9), st.integers(1, 3))
def test_every_ordered_pair_of_different_classes_comes_as_often(kinds: int, each: int, seed: int, copies: int) -> None:
    labels = torch.arange(6 * copies) % 6
    pairs = conflict_pairs(labels, range(kinds), each=each, seed=seed)
    assert len(pairs) == each * kinds * (kinds - 1)
    assert {(pair.shape, pair.texture) for pair in pairs} == {(a, b) for a in range(kinds) for b in range(kinds)} - {
        (a, a) for a in range(kinds)
    }
    for pair in pairs:
        assert pair.shape != pair.texture
        assert (int(labels[pair.shape_id]), int(labels[pair.texture_id])) == (pair.shape, pair.texture)
    used = [pair.shape_id for pair in pairs] + [pair.texture_id for pair in pairs]
    assert len(set(used)) == min(copies, 2 * each * (kinds - 1)) * kinds  # as many images as there can be
    assert pairs == conflict_pairs(labels, range(kinds), each=each, seed=seed)


def test_classes_that_cannot_be_paired_are_refused() -> None:
    for classes, message in (([1], "two different classes"), ([1, 1], "two different classes"), ([0, 7], "class 7")):
        with pytest.raises(ConfigError, match=message):
            conflict_pairs(torch.arange(4), classes)


@pytest.mark.parametrize("channels", [1, 3])
def test_texture_comes_edges_stay(channels: int) -> None:
    x, labels, network = world(channels=channels), torch.arange(12) // 4, painter()
    pairs, before = conflict_pairs(labels, range(3)), state_of(network)
    groups = list(conflict_stimuli(network, lambda ids: x[ids], pairs, side=32, steps=(15, 25), batch=4))
    assert state_of(network) == before
    assert [pair for group in groups for pair in group.pairs] == pairs
    left, edges, other = (
        torch.cat([getattr(group, name) for group in groups]) for name in ("style_left", "edges", "other_edges")
    )
    assert float(left.median()) <= 0.2  # 80 % lower than the content image's
    assert bool((left < 0.5).all())
    assert bool((edges > other).all())
    made = torch.cat([group.images for group in groups])
    assert made.shape == (6, 3, 32, 32)
    assert 0 <= float(made.min()) <= float(made.max()) <= 1
    assert channels == 3 or bool((made[:, 0] == made[:, 2]).all())


def test_the_measures_know_their_ends() -> None:
    x, network = world(), painter()
    assert torch.equal(style_distance(network, x, x), torch.zeros(12))
    assert torch.allclose(edge_likeness(x, x), torch.ones(12), atol=1e-5)
    assert torch.allclose(edge_likeness(x, 1 - x), torch.ones(12), atol=1e-5)  # edges have no sign
    assert bool((edge_likeness(x[:4], x[8:]) < 0.5).all())


def test_a_pair_painted_in_another_group_is_the_same() -> None:
    x, network = world(), painter()
    pairs = [Pair(0, 4, 0, 1), Pair(4, 8, 1, 2), Pair(8, 0, 2, 0)]
    for size in (1, 2):
        whole = list(conflict_stimuli(network, lambda ids: x[ids], pairs, side=24, steps=(3, 3)))
        parts = list(conflict_stimuli(network, lambda ids: x[ids], pairs, side=24, steps=(3, 3), batch=size))
        torch.testing.assert_close(torch.cat([part.images for part in parts]), whole[0].images, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_the_command_writes_what_cue_conflict_reads(tmp_path: Path) -> None:
    images = (255 * world(channels=1)[:, 0]).round().to(torch.uint8).numpy()
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(12) // 4)
    (tmp_path / "net.json").write_text(
        '[{"name": "net", "file": "net.safetensors", "layers": [["conv", 1, 12, 3, 1, 1, 1], ["relu"], '
        '["conv", 12, 16, 3, 2, 1, 1], ["relu"], ["avgpool_all"], ["flatten"], ["linear", 16, 3]]}]'
    )
    names = ("0.weight", "0.bias", "2.weight", "2.bias", "6.weight", "6.bias")
    own = painter(1).state_dict()
    write_tensors(tmp_path / "net.safetensors", {name: own[name] for name in names})
    data, net = f"npz:{tmp_path / 'data.npz'}", f"sequential:{tmp_path / 'net.json'}#net"
    words = ["cue-conflict-stimuli", "--dataset", data, "--model", net, "--model-dataset", data, "--side", "24"]
    words += ["--class", "0", "--class", "2", "--out", str(tmp_path / "stimuli")]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert "2 pictures; distance in style" in result.output
    found = read_stimuli(tmp_path / "stimuli", size=16, names=("0", "1", "2"), channels=1, cropped=False)
    assert found.images.shape == (2, 1, 16, 16)
    assert (found.shape.tolist(), found.texture.tolist()) == ([0, 2], [2, 0])
    again = CliRunner().invoke(cli, words)
    assert isinstance(again.exception, ConfigError)
    assert "holds stimuli already" in str(again.exception)
    judged = CliRunner().invoke(
        cli, ["cue-conflict", "--model", net, "--dataset", data, "--stimuli", str(tmp_path / "stimuli")]
    )
    assert judged.exit_code == 0, judged.output
    assert "of 2; shape bias" in judged.output

"""Training on exchanged styles."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from advbench.bench.entries import read_defenses
from advbench.bench.train_once import Request, train_once
from advbench.bench.yaml_loader import parse_yaml
from advbench.core.draws import Draws
from advbench.core.statistics import statistics
from advbench.defenses.train import UNPERTURBED, plain
from advbench.defenses.training.stylised import stylised
from advbench.types import ConfigError
from tests.strategies import seeds


class Net(nn.Module):
    """Two convolutions; remembers the maps that leave each."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3)
        self.head = nn.Linear(4, 3)
        self.left: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.left.append(self.first(x))
        self.left.append(self.second(self.left[-1].relu()))
        logits: Tensor = self.head(self.left[-1].relu().mean((2, 3)))
        return logits


def made(seed: int, count: int) -> tuple[Net, Tensor, Tensor, Draws]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net(), torch.rand(count, 1, 6, 6), torch.arange(count) % 3, Draws(seed, torch.arange(count))


@settings(max_examples=20)
@given(seeds(), st.integers(1, 9))
def test_nobody_dressed_is_plain_training(seed: int, count: int) -> None:
    model, x, y, draws = made(seed, count)
    wanted = plain(model, x, y, UNPERTURBED, draws=draws)
    for share, depth in ((0.0, 1.0), (1.0, 0.0)):
        assert_close(stylised(model, x, y, UNPERTURBED, draws=draws, share=share, depth=depth), wanted)


@settings(max_examples=20)
@given(seeds(), st.integers(2, 9))
def test_everybody_dressed_wears_anothers_statistics_and_keeps_its_own_pattern(seed: int, count: int) -> None:
    model, x, y, draws = made(seed, count)
    model(x)
    stylised(model, x, y, UNPERTURBED, draws=draws, share=1.0, depth=0.5)
    before, after = model.left[0], model.left[2]
    own, now = statistics(before), statistics(after)
    pattern = [(maps - each.mean) / each.deviation for maps, each in ((before, own), (after, now))]
    assert_close(pattern[0], pattern[1], atol=5e-2, rtol=0)
    apart = (now.mean[:, None] - own.mean[None]).abs().amax((2, 3, 4))  # (B, B)
    partner = apart.argmin(1)
    assert bool((apart.gather(1, partner[:, None]) < 1e-4).all())
    assert not bool((partner == torch.arange(count)).any())
    assert sorted(partner.tolist()) == list(range(count))


def test_the_share_of_dressed_samples_is_as_asked_for() -> None:
    model, x, y, draws = made(0, 2000)
    model(x)
    stylised(model, x, y, UNPERTURBED, draws=draws, share=0.3, depth=0.5)
    changed = (model.left[0] != model.left[2]).flatten(1).any(1)
    assert abs(float(changed.float().mean()) - 0.3) < 0.04


def test_depth_counts_convolutions_from_the_first_and_no_hook_stays() -> None:
    model, x, y, draws = made(1, 4)
    stylised(model, x, y, UNPERTURBED, draws=draws, share=1.0, depth=0.5).backward()  # type: ignore[no-untyped-call]
    only_first = model.left[-1]
    stylised(model, x, y, UNPERTURBED, draws=draws, share=1.0, depth=1.0)
    assert not torch.allclose(model.left[-1], only_first)
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not model.first._forward_hooks
    assert not model.second._forward_hooks


def test_what_cannot_be_is_refused() -> None:
    model, x, y, draws = made(1, 4)
    for name, value in (("share", 1.5), ("depth", -0.1)):
        with pytest.raises(ConfigError, match="share and depth must be between 0 and 1"):
            stylised(model, x, y, UNPERTURBED, draws=draws, **{name: value})
    with pytest.raises(ConfigError, match="Sequential has no convolutions"):
        stylised(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), x, y, UNPERTURBED, draws=draws)


def test_an_entry_of_a_matrix_needs_no_radius_and_takes_none() -> None:
    node = parse_yaml("[{stylised: {share: 0.25, epochs: 3}}]", "m.yaml")
    (choice,) = read_defenses(node, (), node)
    assert (choice.stage, choice.norm, choice.eps) == ("training", None, None)
    assert choice.params == {"share": 0.25, "depth": 1.0}
    node = parse_yaml("[{stylised: {eps: 0.1}}]", "m.yaml")
    with pytest.raises(ConfigError, match="has no parameter 'eps'"):
        read_defenses(node, (), node)


@pytest.mark.slow
def test_a_net_learns_with_it(tmp_path: Path) -> None:
    request = Request("small_cnn", "digits", "stylised", {"epochs": 4, "batch_size": 32})
    curve = train_once(request, tmp_path / "net.safetensors", progress=False).curve
    assert not math.isnan(curve.epochs[-1].loss)
    assert (curve.epochs[-1].train_accuracy or 0.0) > 0.7

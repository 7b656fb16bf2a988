"""Pairs of maps: equal for equal images, on one scale, with the class told apart from the image."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from advbench.attacks.explanation.top_k_saliency import top_k_saliency
from advbench.attacks.gradient.pgd import pgd
from advbench.attributions.saliency import saliency
from advbench.diagnostics.attribution_pairs import compare
from advbench.diagnostics.likeness import likeness
from advbench.diagnostics.shuffled_change import shuffled_change
from advbench.metrics.map_similarity import varies
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import conv_net, images

METHODS = ["saliency", "grad_cam"]


@given(st.integers(0, 20))
def test_an_image_and_itself_have_the_same_explanation(seed: int) -> None:
    model = conv_net()
    x, _, _ = images(model, 4, seed)
    for pair in compare(model, x, x, METHODS).pairs:
        told = varies(pair.clean.abs())  # the ReLU of Grad-CAM leaves nothing of some
        for found in (pair.by_image, pair.in_all, pair.by_noise):
            assert_close(found.overlap, torch.ones(4).where(told, torch.nan), equal_nan=True)
            assert_close(found.shift, torch.zeros(4).where(told, torch.nan), atol=1e-5, rtol=0.0, equal_nan=True)


def test_the_maps_are_those_of_the_method() -> None:
    model = conv_net()
    x, y, draws = images(model, 8)
    x_adv = pgd(model, x, y, ThreatModel(inf, 0.2), draws=draws, steps=10)
    found = compare(model, x, x_adv, ["saliency"], seed=draws.seed)
    (pair,) = found.pairs
    assert torch.equal(found.label, y)
    assert torch.equal(found.found, model(x_adv).argmax(1))
    assert not torch.equal(found.found, y)
    assert_close(pair.clean, saliency(model, x, y))
    assert_close(pair.adversarial, saliency(model, x_adv, y))
    assert_close(pair.found, saliency(model, x_adv, found.found))
    assert_close(pair.noisy, saliency(model, shuffled_change(x, x_adv, draws), y))
    assert_close(pair.by_noise.overlap, likeness(pair.clean, pair.noisy).overlap)
    together = torch.stack([pair.clean, pair.adversarial, pair.found]).sum(2).abs().transpose(0, 1).flatten(1)
    beyond = (together > pair.scale[:, None]).sum(1)
    assert bool((beyond <= 0.01 * together.shape[1] + 1).all())


def test_an_attack_on_the_explanation_shows_where_the_class_stays() -> None:
    model = conv_net()
    x, y, draws = images(model, 12)
    x_adv = top_k_saliency(model, x, y, ThreatModel(inf, 0.1), draws=draws, steps=20, k=4)
    found = compare(model, x, x_adv, ["saliency"])
    assert torch.equal(found.found, found.label)
    assert float(found.pairs[0].by_image.overlap.mean()) < 0.6
    assert torch.equal(found.pairs[0].by_image.overlap, found.pairs[0].in_all.overlap)


def test_a_sample_has_the_same_pair_alone() -> None:
    model = conv_net()
    x, y, draws = images(model, 6)
    x_adv = pgd(model, x, y, ThreatModel(inf, 0.2), draws=draws, steps=5)
    (together,) = compare(model, x, x_adv, ["saliency"]).pairs
    (alone,) = compare(model, x[4:5], x_adv[4:5], ["saliency"], sample_ids=torch.tensor([4])).pairs
    assert_close(alone.found, together.found[4:5], atol=1e-5, rtol=1e-4)
    assert_close(alone.in_all.correlation, together.in_all.correlation[4:5], atol=1e-3, rtol=0.0)


def test_a_method_that_means_nothing_here_is_noted_and_the_others_go_on() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3))
    found = compare(model, torch.rand(2, 1, 6, 6), torch.rand(2, 1, 6, 6), ["grad_cam", "saliency"])
    assert [pair.method for pair in found.pairs] == ["saliency"]
    assert list(found.refused) == ["grad_cam"]


def test_unknown_methods_and_shapes_that_differ_are_refused() -> None:
    model = conv_net()
    x = torch.rand(2, 1, 6, 6)
    with pytest.raises(ConfigError, match="saliensy"):
        compare(model, x, x, ["saliensy"])
    with pytest.raises(ConfigError, match="one shape"):
        compare(model, x, x[:1], ["saliency"])

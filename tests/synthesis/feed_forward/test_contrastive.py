"""Styles by contrast: the loss by hand, the queue, a short training."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from advbench.core.draws import Draws
from advbench.synthesis.feed_forward.adaptive import Encoder
from advbench.synthesis.feed_forward.contrastive import Queue, codes_of, info_nce, train_contrastive
from advbench.synthesis.feed_forward.training import Course, cut
from tests.synthesis.feed_forward.test_train_style import PHOTOS, judge_net, stripes


def test_equal_codes_against_orthogonal_ones() -> None:
    codes = functional.one_hot(torch.tensor([0]), 6).float()[:, None]  # (1, 1, 6)
    others = functional.one_hot(torch.arange(1, 6), 6).float()[:, None]  # (5, 1, 6)
    assert info_nce(codes, codes, others).item() == pytest.approx(math.log1p(5 * math.exp(-1 / 0.07)), abs=1e-6)
    # The roles exchanged: the positive is orthogonal, one negative is equal.
    assert info_nce(codes, others[:1], codes).item() == pytest.approx(math.log1p(math.exp(1 / 0.07)), rel=1e-5)
    nothing = torch.zeros(1, 5, dtype=torch.bool)
    assert info_nce(codes, codes, others, nothing).item() == pytest.approx(0.0, abs=1e-6)


def test_first_in_first_out() -> None:
    queue = Queue(3)
    for i in range(5):
        queue.push(torch.full((1, 1, 2), float(i)), torch.tensor([i]))
    assert queue.codes is not None
    assert queue.codes[:, 0, 0].tolist() == [2.0, 3.0, 4.0]
    assert queue.owners.tolist() == [2, 3, 4]


@pytest.mark.slow
def test_large_features_that_all_pictures_share_do_not_hide_the_styles() -> None:
    """Before the code measured them in units of their spread, it put all styles of a real network in one place."""
    model, side = judge_net(), 16
    with torch.no_grad():
        for layer in (0, 3):
            model[layer].bias += 40.0
    styles = torch.cat([stripes(), 1 - stripes(), 0.5 + 0.3 * stripes().flip(1)])
    cast = train_contrastive(model, PHOTOS, styles, Course(steps=30, batch=3, side=side, learning_rate=2e-3), queue=12)
    which = torch.tensor([0, 0, 1, 1, 2, 2])
    codes = codes_of(Encoder(model, PHOTOS), cast.code, cut(styles, which, side, Draws(9, torch.arange(6))))
    likeness = torch.einsum("ald,bld->abl", codes, codes)  # (6, 6, L)
    same = which[:, None] == which[None, :]
    assert likeness[same].min() > likeness[~same].max() + 0.3


@pytest.mark.slow
def test_a_short_training_tells_styles_apart_and_draws() -> None:
    model, side = judge_net(), 16
    styles = torch.cat([stripes(), 1 - stripes(), 0.5 + 0.3 * stripes().flip(1)])
    cast = train_contrastive(model, PHOTOS, styles, Course(steps=40, batch=3, side=side, learning_rate=5e-3), queue=12)
    for history in (cast.code_history, cast.beginning, cast.history):
        losses = torch.tensor([row["loss"] for row in history])
        assert losses[-10:].mean() < 0.9 * losses[:10].mean()
    assert cast.history[0]["content"] < 0.8 * cast.beginning[0]["content"]  # the painter is AdaIN's decoder at first
    which = torch.tensor([0, 0, 1, 1, 2, 2])
    codes = codes_of(Encoder(model, PHOTOS), cast.code, cut(styles, which, side, Draws(9, torch.arange(6))))
    assert torch.allclose(codes.norm(dim=2), torch.ones(codes.shape[:2]), atol=1e-5)
    likeness = torch.einsum("ald,bld->ab", codes, codes)
    same = which[:, None] == which[None, :]
    assert likeness[same].min() > likeness[~same].max()

"""AdaIN: statistics exchanged exactly, and a decoder that learns to draw them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from torch import Tensor

from advbench.core.statistics import statistics, with_statistics
from advbench.models.load import load_model
from advbench.synthesis.feed_forward.adaptive import Encoder, adapt, decoder_of, train_adaptive
from advbench.synthesis.feed_forward.training import Course
from advbench.types import ConfigError
from tests.strategies import seeds
from tests.synthesis.feed_forward.test_train_style import PHOTOS, judge_net, stripes


def maps(seed: int, height: int, width: int) -> Tensor:
    return 3.0 * torch.randn(2, 5, height, width, generator=torch.Generator().manual_seed(seed)) + 1.0


@given(seeds())
def test_the_output_has_the_styles_statistics(seed: int) -> None:
    content, style = maps(seed, 6, 7), maps(seed + 1, 9, 4)
    found, wanted = statistics(with_statistics(content, statistics(style))), statistics(style)
    assert torch.allclose(found.mean, wanted.mean, atol=1e-4)
    assert torch.allclose(found.deviation, wanted.deviation, atol=1e-4)


def test_ones_own_statistics_change_nothing() -> None:
    x = maps(0, 6, 7)
    assert torch.allclose(with_statistics(x, statistics(x)), x, atol=1e-5)


def test_features_are_decoded_from_a_quarter_of_the_size_whatever_the_pictures_size() -> None:
    model = load_model("vgg19_distilled")  # random weights
    for side in (64, 200):
        encoder = Encoder(model, torch.rand(1, 3, side, side))
        assert encoder.layer == "net.relu3_1"
        assert encoder.judged == ("net.relu1_1", "net.relu2_1", "net.relu3_1")
        assert encoder.halvings == 2
    deeper = Encoder(model, torch.rand(1, 3, 64, 64), "relu4_1")
    assert deeper.judged == ("net.relu1_1", "net.relu2_1", "net.relu3_1", "net.relu4_1")
    assert deeper.halvings == 3


COURSE = Course(steps=30, batch=2, side=16, learning_rate=5e-3)


@pytest.mark.slow
def test_the_decoder_learns_and_alpha_goes_from_the_content_to_the_style() -> None:
    model = judge_net()
    decoder, history, *_ = train_adaptive(model, PHOTOS, torch.cat([stripes(), 1 - stripes()]), COURSE)
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    encoder = Encoder(model, PHOTOS)
    none, half, whole = (adapt(encoder, decoder, PHOTOS, [stripes()], alpha=a) for a in (0.0, 0.5, 1.0))
    assert whole.shape == PHOTOS.shape
    assert torch.equal(none, adapt(encoder, decoder, PHOTOS, [1 - stripes()], alpha=0.0))
    assert (half - whole).abs().mean() < (none - whole).abs().mean()
    both = adapt(encoder, decoder, PHOTOS, [stripes(), 1 - stripes()], mix=[1.0, 0.0])
    assert torch.allclose(both, whole, atol=1e-6)
    assert torch.equal(
        decoder_of(decoder.state_dict())(torch.ones(1, 16, 8, 8), (16, 16)), decoder(torch.ones(1, 16, 8, 8), (16, 16))
    )


def test_images_kept_apart_measure_and_do_not_teach() -> None:
    course = Course(steps=2, batch=2, side=16)
    plain = train_adaptive(judge_net(), PHOTOS[:4], stripes(), course)
    told = train_adaptive(judge_net(), PHOTOS[:4], stripes(), course, held_out=(PHOTOS[4:], 1 - stripes()))
    assert plain.history == told.history
    assert plain.before is plain.after is None
    assert told.before is not None
    assert told.before != told.after


def test_what_does_not_fit_is_refused() -> None:
    encoder = Encoder(judge_net(), PHOTOS)
    decoder = train_adaptive(judge_net(), PHOTOS, stripes(), Course(steps=1, batch=1, side=16)).decoder
    with pytest.raises(ConfigError, match="alpha must be between 0 and 1"):
        adapt(encoder, decoder, PHOTOS, [stripes()], alpha=1.5)
    with pytest.raises(ConfigError, match="mix must be 1 shares"):
        adapt(encoder, decoder, PHOTOS, [stripes()], mix=[0.5, 0.5])
    with pytest.raises(ConfigError, match="not the weights of an AdaIN decoder"):
        decoder_of({"a": torch.zeros(1)})

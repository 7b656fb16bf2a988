"""The generator prior: pictures are what the decoder makes of codes within their bounds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.synthesis.visualize.generator import Decoder, Generator, generator_of, train_generator
from advbench.synthesis.visualize.generator_prior import generator_prior
from advbench.testing.witness import state_of
from advbench.types import ConfigError
from tests.attributions.small_nets import pooled_net

DRAWS = Draws(0, torch.arange(2))
SHAPE = (3, 13, 10)


def generator() -> Generator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = Decoder(SHAPE, 5, 4)
    return Generator(decoder.eval(), torch.full((5,), -1.0), torch.full((5,), 1.0), torch.zeros(5))


class Recording(nn.Module):
    """A decoder that keeps the codes it was shown."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder, self.codes = decoder, list[Tensor]()

    def forward(self, code: Tensor) -> Tensor:
        self.codes.append(code.detach().clone())
        image: Tensor = self.decoder(code)
        return image


def test_codes_stay_in_bounds_and_the_picture_is_what_they_stand_for() -> None:
    plain = generator()
    watched = Recording(plain.decode)
    prior = Generator(watched, plain.low, plain.high, plain.start)
    model = pooled_net().train()
    before = state_of(model), state_of(watched)
    image = generator_prior(model, "class:1", draws=DRAWS, generator=prior, steps=30, decay=0.0)
    assert (state_of(model), state_of(watched)) == before
    assert image.shape == (2, *SHAPE)
    codes = torch.cat(watched.codes)
    assert float(codes.abs().max()) <= 1.0
    torch.testing.assert_close(image, plain.decode(watched.codes[-1]))
    model.eval()
    assert bool((model(image)[:, 1] > model(plain.decode(watched.codes[1]))[:, 1]).all())


def test_full_decay_stays_at_the_start() -> None:
    prior = generator()
    image = generator_prior(pooled_net(), "class:1", draws=DRAWS, generator=prior, steps=3, decay=1.0)
    torch.testing.assert_close(image, prior.decode(prior.start[None].expand(2, -1)))
    with pytest.raises(ConfigError, match="decay"):
        generator_prior(pooled_net(), "class:1", draws=DRAWS, generator=prior, decay=2.0)


def test_training_learns_the_images_and_leaves_the_generator_of_torch_alone() -> None:
    kinds = torch.rand(3, 3, 1, 1, generator=torch.Generator().manual_seed(0)).expand(-1, -1, 13, 10)
    images, losses = kinds.repeat(6, 1, 1, 1), list[float]()
    state = torch.random.get_rng_state()
    prior = train_generator(images, code=4, width=8, steps=80, batch=9, progress=lambda step, loss: losses.append(loss))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(losses) == 80
    assert losses[-1] < 0.5 * losses[0]
    assert prior.decode(prior.start[None]).shape == (1, 3, 13, 10)
    assert bool((prior.low <= prior.start).all() and (prior.start <= prior.high).all())
    with pytest.raises(ConfigError, match="two images"):
        train_generator(images[:1])


def test_bounds_are_three_deviations_around_the_mean() -> None:
    found = generator_of(nn.Identity(), torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
    assert found.start.tolist() == [1.0, 1.0]
    torch.testing.assert_close(found.high, torch.tensor([1.0 + 3.0 * 2**0.5, 1.0]))
    assert found.clip(torch.tensor([[9.0, 9.0]])).tolist() == [found.high.tolist()]

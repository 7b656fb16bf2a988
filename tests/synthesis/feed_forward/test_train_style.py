"""Training style networks: the loss falls, the judge is left alone, batches follow from the seed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.synthesis.feed_forward.losses import Judge, Weights
from advbench.synthesis.feed_forward.networks import TransformNet
from advbench.synthesis.feed_forward.train_style import paint, train_style
from advbench.synthesis.feed_forward.training import Course, crops, measured, train_network
from advbench.testing.witness import state_of
from advbench.types import ConfigError


def judge_net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 4),
        )


def stripes() -> Tensor:
    red = (torch.arange(24) // 3 % 2).float().expand(24, 24)
    return torch.stack([red, torch.zeros(24, 24), torch.ones(24, 24)])[None]


PHOTOS = torch.rand(6, 3, 28, 30, generator=torch.Generator().manual_seed(1))
COURSE = Course(steps=25, batch=2, side=16, learning_rate=5e-3)


@pytest.mark.slow
def test_the_loss_falls_and_the_judge_is_left_alone() -> None:
    model = judge_net().train()
    before, random = state_of(model), torch.get_rng_state()
    trained = train_style(model, [stripes()], PHOTOS, COURSE, widths=(4, 6, 8), blocks=1)
    assert state_of(model) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert trained.history[-1]["loss"] < 0.6 * trained.history[0]["loss"]
    assert set(trained.history[0]) == {"loss", "content", "style", "variation"}


def test_equal_seeds_train_equal_networks() -> None:
    course = Course(steps=3, batch=2, side=12)
    first, second = (
        train_style(judge_net(), [stripes(), 1 - stripes()], PHOTOS, course, widths=(4, 6, 8), blocks=1)
        for _ in range(2)
    )
    assert first.history == second.history
    assert all(torch.equal(a, b) for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True))


def test_a_photograph_left_as_it_is_has_content_0_and_a_style_image_has_style_0() -> None:
    judge = Judge(judge_net(), [stripes()], PHOTOS)
    which = torch.zeros(6, dtype=torch.int64)
    same = judge.parts(PHOTOS, PHOTOS, which)
    assert torch.equal(same["content"], torch.zeros(6))
    assert same["style"].mean().item() == pytest.approx(1.0, rel=1e-4)
    of_style = judge.parts(stripes(), stripes(), which[:1])
    assert of_style["style"].item() == pytest.approx(0.0, abs=1e-8)


def test_a_grid_between_the_places_a_strided_layer_looks_at_is_seen_after_a_shift() -> None:
    # relu of every second pixel of every second row: what lies between does not exist for it.
    model = nn.Sequential(nn.Conv2d(3, 4, 1, stride=2), nn.ReLU())
    judge = Judge(model, [stripes()], PHOTOS, content="1", layers=["1"])
    grid = PHOTOS.clone()
    grid[:, :, 1::2] = 0.0
    which = torch.zeros(6, dtype=torch.int64)
    assert judge.parts(PHOTOS, grid, which)["content"].max() == 0.0
    assert judge.parts(PHOTOS, grid, which, (2, 2))["content"].max() == 0.0
    assert judge.parts(PHOTOS, grid, which, (1, 0))["content"].min() > 0.0
    assert judge.parts(PHOTOS, PHOTOS, which, (3, 1))["content"].max() == 0.0


def test_the_content_of_a_picture_without_features_is_1() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.ReLU())
    judge = Judge(model, [stripes()], PHOTOS, content="1", layers=["1"])
    black = judge.parts(PHOTOS, torch.zeros_like(PHOTOS), torch.zeros(6, dtype=torch.int64))
    assert black["content"].mean().item() == pytest.approx(1.0, rel=1e-5)


def test_the_learning_rate_falls_to_0_by_half_a_cosine() -> None:
    # With a constant gradient a step of Adam is as long as the learning rate: 0.1 times the sum of (1 + cos) / 2.
    class Number(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.value = nn.Parameter(torch.zeros(()))

    number = Number()
    course = Course(steps=9, batch=1, side=12, learning_rate=0.1)
    train_network(number, PHOTOS, lambda x, draws: (number.value.clone(), {}), course)
    assert number.value.item() == pytest.approx(-0.1 * (9 + 1) / 2, rel=1e-4)


def test_photographs_kept_apart_measure_and_do_not_teach() -> None:
    course = Course(steps=3, batch=2, side=12)
    model, styles = judge_net(), [stripes(), 1 - stripes()]
    plain = train_style(model, styles, PHOTOS[:3], course, widths=(4, 6, 8), blocks=1)
    told = train_style(model, styles, PHOTOS[:3], course, widths=(4, 6, 8), blocks=1, held_out=PHOTOS[3:])
    assert plain.before == plain.after == ()
    assert plain.history == told.history
    assert len(told.before) == len(told.after) == 2
    assert told.before[0] != told.after[0]
    untrained = train_style(
        model, styles, PHOTOS[:3], replace(course, learning_rate=0.0), widths=(4, 6, 8), blocks=1, held_out=PHOTOS[3:]
    )
    assert untrained.before == untrained.after == told.before


def test_what_is_measured_is_the_mean_over_photographs_whatever_the_batch() -> None:
    identity = nn.Sequential(nn.Dropout(0.9)).train()
    photos = torch.arange(5.0)[:, None, None, None].expand(5, 3, 12, 12) / 10

    def loss(x: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        made: Tensor = identity(x)
        return made.mean(), {"most": made.amax((1, 2, 3)).mean()}

    for batch in (1, 2, 5):
        row = measured(identity, photos, loss, Course(batch=batch, side=12))
        assert row == {"loss": pytest.approx(0.2), "most": pytest.approx(0.2)}
    assert identity.training


def test_crops_are_parts_of_photographs_whatever_the_batch() -> None:
    marked = torch.arange(6.0)[:, None, None, None].expand(6, 1, 9, 11) + torch.linspace(0, 0.5, 99).reshape(9, 11)
    draws = Draws(0, torch.arange(40))
    found = crops(marked, 4, draws)
    assert found.shape == (40, 1, 4, 4)
    assert set(found[:, 0, 0, 0].floor().tolist()) == set(range(6))
    mirrored = found[:, 0, 0, 1] < found[:, 0, 0, 0]
    assert 5 < int(mirrored.sum()) < 35
    assert torch.equal(crops(marked, 4, draws.rows(torch.tensor([7]))), found[7:8])


def test_impossible_trainings_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 64 x 64"):
        train_style(judge_net(), [stripes()], PHOTOS, Course(side=64))
    with pytest.raises(ConfigError, match="at least one style"):
        train_style(judge_net(), [], PHOTOS, COURSE)
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        train_style(
            judge_net(), [stripes()], PHOTOS, COURSE, widths=(4, 6, 8), blocks=1, weights=Weights(style=float("nan"))
        )


def test_a_batch_is_painted_as_its_photographs_are_and_a_few_at_a_time() -> None:
    network, x = TransformNet(styles=2, widths=(4, 4, 4), blocks=1).eval(), torch.rand(3, 3, 256, 300)
    seen: list[int] = []
    network.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    together = paint(network, x, (1, 3))
    assert seen == [1, 1, 1]
    assert torch.allclose(together, torch.cat([paint(network, part, (1, 3)) for part in x.split(1)]), atol=1e-6)
    assert paint(network, x[:0]).shape == (0, 3, 256, 300)

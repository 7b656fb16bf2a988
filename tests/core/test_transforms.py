"""Views: differentiable, the same for a sample in any company, and geometrically what their names say."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.descent import descend
from advbench.core.draws import Draws
from advbench.core.gradients import backprop, in_pieces
from advbench.core.journal import phase
from advbench.core.objectives import excite
from advbench.core.step_rules import plain
from advbench.core.transforms import (
    View,
    blur,
    compose,
    crop_resize,
    jitter,
    noise,
    pad,
    roll,
    rotate,
    scale,
    through_views,
    warp,
)
from advbench.types import Evaluation
from tests.strategies import images, seeds

VIEWS: dict[str, View] = {
    "jitter": jitter(3),
    "rotate": rotate(10.0),
    "scale": scale(0.8, 1.2),
    "crop_resize": crop_resize(0.3, 0.9, size=(4, 7)),
    "pad": pad(2),
    "blur": blur(0.8),
    "noise": noise(0.1),
    "compose": compose(pad(1), jitter(2), scale(0.9, 1.1), rotate(5.0), jitter(1), blur(0.5)),
}
RANDOM = ["jitter", "rotate", "scale", "crop_resize", "noise", "compose"]


def ramp(height: int = 6, width: int = 9) -> Tensor:
    """One image whose pixels are all different."""
    return torch.arange(2.0 * height * width).reshape(1, 2, height, width) / (2 * height * width)


def one() -> Draws:
    return Draws(0, torch.arange(1))


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@given(x=images(), seed=seeds(), counter=st.integers(0, 100))
def test_a_sample_is_seen_the_same_in_any_company(view: View, x: Tensor, seed: int, counter: int) -> None:
    draws = Draws(seed, torch.arange(len(x)))
    together = view(x, draws, counter)
    assert together.shape[:2] == x.shape[:2]
    for i in range(len(x)):
        row = torch.tensor([i])
        torch.testing.assert_close(view(x[row], draws.rows(row), torch.tensor([counter])), together[row])


@pytest.mark.parametrize("name", RANDOM)
def test_a_random_view_changes_with_counter_seed_and_sample(name: str) -> None:
    x = ramp(12, 16).repeat(2, 1, 1, 1)
    first = VIEWS[name](x, Draws(0, torch.tensor([0, 1])), 0)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(VIEWS[name](x, Draws(0, torch.tensor([0, 1])), 1), first)
    assert not torch.equal(VIEWS[name](x, Draws(1, torch.tensor([0, 1])), 0), first)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_the_gradient_is_that_of_finite_differences(view: View) -> None:
    x, draws = torch.rand(2, 1, 5, 6, generator=torch.Generator().manual_seed(0)).double(), Draws(3, torch.arange(2))
    assert torch.autograd.gradcheck(lambda z: view(z, draws, 7), x.requires_grad_(True))


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_an_empty_batch_stays_empty(view: View) -> None:
    assert view(torch.zeros(0, 3, 6, 5), Draws(0, torch.arange(0)), 0).shape[:2] == (0, 3)


@given(images(), seeds(), st.integers(0, 9))
def test_jitter_only_moves_pixels_and_can_be_undone(x: Tensor, seed: int, pixels: int) -> None:
    draws = Draws(seed, torch.arange(len(x)))
    assert torch.equal(jitter(pixels)(x, draws, 0).flatten(2).sort(2).values, x.flatten(2).sort(2).values)
    shift = draws.integers(19, (2,), "test") - 9
    assert torch.equal(roll(roll(x, shift), -shift), x)
    for i in range(len(x)):
        assert torch.equal(roll(x, shift)[i], torch.roll(x[i], shift[i].tolist(), (1, 2)))


def test_jitter_reaches_as_far_as_said_and_no_further() -> None:
    x = torch.zeros(300, 1, 9, 11)
    x[:, 0, 4, 5] = 1.0
    where = jitter(2)(x, Draws(0, torch.arange(300)), 0)[:, 0].nonzero()[:, 1:] - torch.tensor([4, 5])
    assert where[:, 0].unique().tolist() == where[:, 1].unique().tolist() == [-2, -1, 0, 1, 2]


@given(images(shape=st.sampled_from([(1, 6, 6), (3, 7, 7)])), st.integers(0, 3))
def test_a_quarter_turn_is_exact_and_counter_clockwise(x: Tensor, quarters: int) -> None:
    turned = warp(x, angle=torch.full((len(x),), quarters * math.pi / 2))
    torch.testing.assert_close(turned, torch.rot90(x, quarters, (2, 3)), atol=1e-5, rtol=0)


def test_rotations_keep_within_their_angle() -> None:
    """A pixel at distance 20 from the centre moves sideways by 20 sin(angle)."""
    x = torch.zeros(400, 1, 61, 61)
    x[:, 0, 30, 50] = 1.0
    seen = rotate(30.0, fill=0.0)(x, Draws(0, torch.arange(400)), 0)[:, 0]
    height = (seen * torch.arange(61.0)[:, None]).sum((1, 2)) / seen.sum((1, 2)) - 30.0
    degrees = torch.rad2deg(torch.asin((-height / 20.0).clamp(-1, 1)))
    assert float(degrees.abs().max()) < 30.5
    assert float(degrees.max()) > 28.0
    assert float(degrees.min()) < -28.0


def test_scaling_by_two_shows_the_middle_and_by_a_half_a_rim() -> None:
    x = ramp(8, 12)
    double = scale(2.0, 2.0)(x, one(), 0)
    assert double.shape == x.shape
    torch.testing.assert_close(double.mean((2, 3)), x[:, :, 2:6, 3:9].mean((2, 3)), atol=2e-3, rtol=0)
    half = scale(0.5, 0.5, fill=0.25)(x, one(), 0)
    torch.testing.assert_close(half[:, :, :2], torch.full((1, 2, 2, 12), 0.25))
    torch.testing.assert_close(half[:, :, 2:6, 3:9].mean((2, 3)), x.mean((2, 3)), atol=1e-5, rtol=0)


def test_a_whole_crop_of_the_same_size_is_the_image() -> None:
    x = ramp()
    torch.testing.assert_close(crop_resize(1.0, 1.0)(x, one(), 0), x, atol=1e-6, rtol=0)


@given(seeds(), st.floats(0.2, 1.0))
def test_crops_lie_inside_and_have_their_share(seed: int, share: float) -> None:
    """Seen through coordinates: an image of its own rows and columns tells where each pixel came from."""
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    x = torch.stack([rows, columns])[None]
    seen = crop_resize(share, share, size=(20, 20))(x, Draws(seed, torch.arange(1)), 0)[0]
    for axis, side in ((0, 40), (1, 60)):
        step = share * side / 20
        line = seen[axis].movedim(axis, 0)[:, 10]
        inner = line[2:-2].diff()
        torch.testing.assert_close(inner, torch.full_like(inner, step), atol=1e-3, rtol=0)
        assert float(line[2:-2].min()) - 2.5 * step >= -0.5 - 1e-3
        assert float(line[2:-2].max()) + 2.5 * step <= side - 0.5 + 1e-3


def test_pad_adds_a_rim() -> None:
    x = ramp()
    padded = pad(2, fill=0.25)(x, one(), 0)
    assert padded.shape == (1, 2, 10, 13)
    assert torch.equal(padded[:, :, 2:-2, 2:-2], x)
    assert padded.sum().item() == pytest.approx(x.sum().item() + 0.25 * 2 * (130 - 54))


@given(images(), st.floats(0.0, 2.0))
def test_blur_keeps_constants_and_the_range(x: Tensor, sigma: float) -> None:
    seen = blur(sigma)(x, Draws(0, torch.arange(len(x))), 0)
    assert float(seen.min()) >= float(x.min()) - 1e-6
    assert float(seen.max()) <= float(x.max()) + 1e-6
    grey = torch.full_like(x, 0.5)
    torch.testing.assert_close(blur(sigma)(grey, Draws(0, torch.arange(len(x))), 0), grey)


def test_blur_spreads_a_point_by_its_sigma_and_zero_is_the_identity() -> None:
    point = torch.zeros(1, 1, 31, 33)
    point[0, 0, 15, 16] = 1.0
    seen = blur(1.5)(point, one(), 0)[0, 0]
    at = torch.arange(31.0) - 15.0
    assert seen.sum().item() == pytest.approx(1.0, abs=1e-4)
    assert (seen.sum(1) * at.square()).sum().sqrt().item() == pytest.approx(1.5, abs=0.02)
    torch.testing.assert_close(seen[15, 16] / seen[15, 19], torch.tensor(math.exp(0.5 * (3 / 1.5) ** 2)))
    assert torch.equal(blur(0.0)(ramp(), one(), 0), ramp())


def test_noise_has_its_deviation() -> None:
    x = torch.zeros(1, 1, 200, 200)
    assert noise(0.2)(x, one(), 0).std().item() == pytest.approx(0.2, rel=0.02)


def test_two_of_a_kind_in_a_row_move_independently() -> None:
    x = torch.zeros(200, 1, 32, 32)
    x[:, 0, 16, 16] = 1.0
    draws = Draws(0, torch.arange(200))
    shifts = compose(jitter(4), jitter(4))(x, draws, 0)[:, 0].nonzero()[:, 1:] - 16
    assert set(shifts.flatten().tolist()) > {-5, 0, 5, 1}  # twice the same shift would give even numbers only
    inner, outer = compose(jitter(4)), compose(compose(jitter(4)), jitter(4))
    assert not torch.equal(inner(x, draws, 0), outer(x, draws, 0))


@pytest.mark.parametrize("make", [lambda: scale(0.0, 1.0), lambda: scale(1.2, 0.8), lambda: crop_resize(0.5, 1.1)])
def test_impossible_ranges_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match="need 0 < low"):
        make()
    with pytest.raises(ValueError, match="sigma must not be negative"):
        blur(-1.0)


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 3))
def test_through_views_sees_new_views_at_each_step_whatever_the_pieces(size: int, looks: int) -> None:
    """A descent through random views: cut in pieces, or with rows that leave, it takes the same path."""
    x, draws = ramp(8, 8)[:, :1].repeat(4, 1, 1, 1), Draws(5, torch.arange(4))

    def run(batch: list[int]) -> Tensor:
        rows = torch.tensor(batch)
        mean = excite(lambda seen: -seen[:, :, 2:4].square().flatten(1).sum(1))
        objective = through_views(VIEWS["compose"], draws.rows(rows), mean, looks=looks)
        return descend(x[rows], objective, step=plain(0.05), steps=4).z

    whole = run([0, 1, 2, 3])
    with in_pieces(size):
        torch.testing.assert_close(run([0, 1, 2, 3]), whole)
    torch.testing.assert_close(run([2, 0]), whole[[2, 0]])


def test_through_views_averages_the_loss_and_wants_every_look_to_succeed() -> None:
    seen: list[Tensor] = []

    def lit(z: Tensor, rows: Tensor) -> Evaluation:
        seen.append(z.detach())
        corner = z[:, 0, 0, 0]
        return Evaluation(corner, corner > 0.3)

    x, draws = ramp(8, 8)[:, :1].repeat(50, 1, 1, 1), Draws(0, torch.arange(50))
    objective = through_views(jitter(3), draws, lit, looks=3)
    evaluation, grad = backprop(objective, x, torch.arange(50))
    corners = torch.stack([each[:, 0, 0, 0] for each in seen])
    torch.testing.assert_close(evaluation.loss, corners.mean(0))
    assert torch.equal(evaluation.reached, (corners > 0.3).all(0))
    assert 0 < int(evaluation.reached.sum()) < 50
    torch.testing.assert_close(grad.sum((1, 2, 3)), torch.ones(50))
    with phase() as (_, at_step):
        for step in (0, 1):
            at_step(step)
            objective(x, torch.arange(50))
    assert torch.equal(torch.stack(seen[:3]), torch.stack(seen[3:6]))
    assert not torch.equal(torch.stack(seen[:3]), torch.stack(seen[6:]))

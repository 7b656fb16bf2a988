"""Light along rays: what stops it, what is left of it, and its gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.synthesis.radiance import rendering
from advbench.synthesis.radiance.cameras import Rays, rays_of, turntable
from advbench.synthesis.radiance.field import Field, at, empty, extinction
from advbench.synthesis.radiance.rendering import (
    composite,
    frames_of,
    picture_of,
    render_rays,
    samples_along,
    sights_of,
)
from advbench.synthesis.radiance.viewpoints import Viewpoints
from advbench.types import ConfigError

WHITE = torch.ones(3, dtype=torch.float64)


def random_field(seed: int, side: int = 5, *, filled: float = 0.5) -> Field:
    generator = torch.Generator().manual_seed(seed)
    density = torch.rand(1, 1, side, side, side, generator=generator, dtype=torch.float64) - (1.0 - filled)
    return Field(0.1 * density, torch.rand(1, 3, side, side, side, generator=generator, dtype=torch.float64))


def rays(number: int = 0, size: tuple[int, int] = (6, 7)) -> Rays:
    found = rays_of(turntable(5, first=10.0), number, size)
    return Rays(found.origins.double(), torch.nn.functional.normalize(found.directions.double(), dim=1))


@given(st.lists(st.lists(st.floats(0.0, 50.0), min_size=4, max_size=4), min_size=1, max_size=5))
def test_shares_of_pieces_and_background_sum_to_1(thickness: list[list[float]]) -> None:
    weights, left = composite(torch.tensor(thickness, dtype=torch.float64))
    assert bool((weights >= 0).all())
    assert bool((weights.sum(1) <= 1 + 1e-12).all())
    torch.testing.assert_close(weights.sum(1) + left, torch.ones(len(thickness), dtype=torch.float64))


@given(st.integers(0, 1000))
def test_alpha_compositing_equals_the_loop_over_pieces(seed: int) -> None:
    thickness = 3 * torch.rand(3, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weights, left = composite(thickness)
    for row in range(3):
        through = 1.0
        for piece in range(6):
            alpha = 1.0 - math.exp(-float(thickness[row, piece]))
            assert float(weights[row, piece]) == pytest.approx(through * alpha, abs=1e-12)
            through *= 1.0 - alpha
        assert float(left[row]) == pytest.approx(through, abs=1e-12)


def test_what_stands_behind_an_opaque_piece_is_hidden() -> None:
    weights, left = composite(torch.tensor([[0.0, 1e4, 2.0, 5.0]]))
    assert weights.tolist() == [[0.0, 1.0, 0.0, 0.0]]
    assert left.tolist() == [0.0]


@pytest.mark.parametrize("field", [empty(4, 3, WHITE), random_field(0, filled=0.0)])
def test_an_empty_field_shows_the_background(field: Field) -> None:
    background = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    assert torch.equal(render_rays(field, rays(), background), background.expand(42, 3))


def test_an_opaque_plane_hides_what_is_behind() -> None:
    side = 21
    places = torch.linspace(-1.0, 1.0, side, dtype=torch.float64)
    density = torch.full((1, 1, side, side, side), -1.0, dtype=torch.float64)
    density[..., places.abs() < 0.11] = 50.0  # about x = 0
    colours = torch.zeros(1, 3, side, side, side, dtype=torch.float64)
    colours[:, 0, ..., places >= 0] = 1.0  # red on this side, black inside and behind
    front = torch.tensor([[4.0, 0.0, 0.0], [4.0, 0.3, -0.2]], dtype=torch.float64)
    behind = torch.tensor([[-1.0, 0.0, 0.0]], dtype=torch.float64).expand(2, 3)
    seen = render_rays(Field(density, colours), Rays(front, behind), WHITE)
    torch.testing.assert_close(seen, torch.tensor([[1.0, 0.0, 0.0]] * 2, dtype=torch.float64))


@given(st.floats(0.001, 0.1))
def test_haze_dims_by_the_exponential_of_its_depth(density: float) -> None:
    field = Field(torch.full((1, 1, 3, 3, 3), density).double(), torch.zeros(1, 3, 3, 3, 3).double())
    straight = Rays(torch.tensor([[4.0, 0.2, 0.1]]).double(), torch.tensor([[-1.0, 0.0, 0.0]]).double())
    torch.testing.assert_close(
        render_rays(field, straight, WHITE), torch.full((1, 3), math.exp(-50 * density * 2)).double()
    )


@given(st.integers(0, 50), st.sampled_from([0.2, 0.5, 1.0]))
def test_skipping_what_is_not_seen_changes_nothing(seed: int, filled: float) -> None:
    field, through = random_field(seed, filled=filled), rays()
    points, lengths = samples_along(through, 5)
    thickness = extinction(field.density, points.reshape(-1, 3)).reshape(lengths.shape) * lengths
    weights, left = composite(thickness)
    whole = (weights[..., None] * at(field.colours, points.reshape(-1, 3)).reshape(*lengths.shape, 3)).sum(1)
    torch.testing.assert_close(render_rays(field, through, WHITE), whole + left[:, None] * WHITE)


def test_the_pieces_of_a_ray_lie_in_the_box_and_fill_it() -> None:
    points, lengths = samples_along(rays(size=(20, 20)), 9)
    assert float(points[lengths > 0].abs().max()) <= 1.0
    middle = Rays(torch.tensor([[4.0, 0.0, 0.0], [4.0, 9.0, 0.0]]), torch.tensor([[-1.0, 0.0, 0.0]] * 2))
    torch.testing.assert_close(samples_along(middle, 9).lengths.sum(1), torch.tensor([2.0, 0.0]))


def test_gradients_equal_finite_differences() -> None:
    field, through = random_field(3, side=3, filled=1.0), rays(size=(3, 3))
    density, colours = (each.clone().requires_grad_(True) for each in field)
    assert torch.autograd.gradcheck(lambda d, c: render_rays(Field(d, c), through, WHITE), (density, colours))
    # Partly empty, inside a voxel: the kink of the cut at 0 is not met.
    some = random_field(4, side=4, filled=0.6)
    density, colours = (each.clone().requires_grad_(True) for each in some)
    assert torch.autograd.gradcheck(lambda d, c: render_rays(Field(d, c), through, WHITE), (density, colours))


def test_deferred_gradients_equal_direct_ones_and_keep_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "_RAYS", 50)
    field, size, cameras = random_field(1), (16, 20), turntable(3)
    field, white = Field(field.density.float(), field.colours.float()), torch.ones(3)
    pull = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    sights = sights_of(field.density, cameras, 1, size)
    assert len(sights) == 7
    found, kept = [], []
    for deferred in (True, False):
        held: dict[int, int] = {}
        colours = field.colours.clone().requires_grad_(True)

        def hold(each: Tensor, held: dict[int, int] = held) -> Tensor:
            held[each.data_ptr()] = each.numel()
            return each

        with torch.autograd.graph.saved_tensors_hooks(hold, lambda each: each):
            if deferred:
                image = picture_of(colours, sights, white, size)
            else:
                direct = render_rays(Field(field.density, colours), rays_of(cameras, 1, size), white)
                image = direct.T.reshape(pull.shape)
        kept.append(sum(held.values()))
        found.append((image.detach(), torch.autograd.grad((pull * image).sum(), colours)[0]))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-6, rtol=0)
    torch.testing.assert_close(found[0][1], found[1][1], atol=1e-6, rtol=1e-5)
    assert kept[0] < 0.1 * kept[1]


def test_remembered_views_are_those_that_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    field, cameras = Field(*(each.float() for each in random_field(2))), turntable(2)
    views = Viewpoints(field.density, cameras, (8, 8), torch.ones(3))
    frames = frames_of(field, cameras, (8, 8), torch.ones(3))
    first = [views.picture(field.colours, number) for number in (0, 1, 0)]
    torch.testing.assert_close(torch.cat(first[:2]).clamp(0, 1), frames)
    assert torch.equal(first[0], first[2])
    assert views.sights(0) is views.sights(0)
    monkeypatch.setattr("advbench.synthesis.radiance.viewpoints._MOST", 0)
    forgetful = Viewpoints(field.density, cameras, (8, 8), torch.ones(3))
    assert forgetful.sights(0) is not forgetful.sights(0)
    assert torch.equal(forgetful.picture(field.colours, 0), first[0])


@given(st.integers(1, 9), st.floats(-80.0, 80.0), st.floats(0.0, 360.0))
def test_a_turntable_looks_at_the_middle_with_z_up(count: int, elevation: float, first: float) -> None:
    cameras = turntable(count, elevation=elevation, first=first)
    torch.testing.assert_close(cameras.axes @ cameras.axes.transpose(1, 2), torch.eye(3).expand(count, 3, 3))
    through = rays_of(cameras, count - 1, (3, 5))
    torch.testing.assert_close(through.directions.norm(dim=1), torch.ones(15))
    centre = through.origins[7] + 4.0 * through.directions[7]
    torch.testing.assert_close(centre, torch.zeros(3), atol=1e-5, rtol=0)
    assert float(cameras.axes[0, 1, 2]) < 0  # down
    assert float(through.directions[1, 2]) > float(through.directions[13, 2])  # rows go down


def test_frames_turn_with_the_field() -> None:
    """A quarter of a turn of the camera is a quarter of a turn of the field."""
    field = Field(*(each.float() for each in random_field(6)))
    turned = Field(*(torch.rot90(each, 1, (3, 4)) for each in field))
    frames = [frames_of(each, turntable(4), (9, 9), torch.ones(3)) for each in (field, turned)]
    torch.testing.assert_close(frames[0][1], frames[1][0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"distance": 1.0}, {"elevation": 90.0}, {"focal": 0.0}])
def test_impossible_cameras_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="turntable"):
        turntable(**{"count": 3, **wrong})  # type: ignore[arg-type]

"""A field painted: its colours, not its shape; the same from every side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advbench.bench.picturing import Materials, make
from advbench.core.draws import Draws
from advbench.core.gradients import frozen
from advbench.core.journal import Frame, running
from advbench.models.load import load_model
from advbench.synthesis.file_journal import FileJournal
from advbench.synthesis.radiance.arf import arf
from advbench.synthesis.radiance.cameras import Cameras, Rays, turntable
from advbench.synthesis.radiance.critic import Critic, middle_layers
from advbench.synthesis.radiance.field import Field
from advbench.synthesis.radiance.painting import Recipe, fitted, painted
from advbench.synthesis.radiance.recolour import recoloured
from advbench.synthesis.radiance.rendering import render_rays
from advbench.synthesis.radiance.scene import solids_on_a_disc
from advbench.synthesis.radiance.viewpoints import Viewpoints
from advbench.testing.witness import state_of
from advbench.types import ConfigError, Json

ONE = Draws(0, torch.arange(1))
SIZE = (32, 32)
WHITE = torch.ones(3)
TINY: dict[str, Json] = {"frames": 3, "steps": 4, "sides": (6, 8), "fit_steps": (5, 5)}


def picture(seed: int, height: int = 32, width: int = 40, channels: int = 3) -> Tensor:
    small = torch.rand(1, channels, 6, 6, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(small, size=(height, width), mode="bicubic").clamp(0, 1)


def ball_field(side: int = 24) -> Field:
    """An opaque ball of radius 0.7 with smooth colours."""
    places = torch.linspace(-1.0, 1.0, side)
    z, y, x = torch.meshgrid(places, places, places, indexing="ij")
    density = 40.0 * (0.7 - (x.square() + y.square() + z.square()).sqrt())
    colours = 0.5 + 0.4 * torch.stack([(3 * x).sin(), (3 * y + 1).sin(), (3 * z).cos()])
    return Field(density[None, None], colours[None])


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return load_model("vgg19_distilled", params={"last": "relu3_2"})


@pytest.fixture(scope="module")
def result(model: nn.Module) -> Field:
    recipe = Recipe(steps=60, enlarge=1.0, content_weight=0.01, tv_weight=0.0)
    field = ball_field()
    views = Viewpoints(field.density, turntable(6), SIZE, WHITE)
    return Field(field.density, painted(model, field.colours, [picture(1)], views, recipe, draws=ONE))


def seen_at(field: Field, points: Tensor, cameras: Cameras, number: int) -> Tensor:
    """Colours (R, 3) of points (R, 3) as a camera sees them."""
    origins = cameras.positions[number].expand_as(points)
    return render_rays(field, Rays(origins, nn.functional.normalize(points - origins, dim=1)), WHITE)


def test_painting_lowers_the_distance_to_the_style_to_four_fifths(model: nn.Module, result: Field) -> None:
    field = ball_field()
    views = Viewpoints(field.density, turntable(6), SIZE, WHITE)
    styles = [fitted(picture(1), 32)]
    start = recoloured(field.colours, views, styles)
    with frozen(model), torch.no_grad():
        critic = Critic(model, styles, views, (), 1.0)
        before, after = (
            sum(float(critic.mismatch(critic.look(views.picture(each, n)), n)) for n in range(6))
            for each in (start, result.colours)
        )
    assert after < 0.8 * before


def test_the_shape_stays_bit_for_bit_and_colours_in_their_box(result: Field) -> None:
    assert torch.equal(result.density, ball_field().density)
    assert 0.0 <= float(result.colours.min()) <= float(result.colours.max()) <= 1.0
    assert not torch.allclose(result.colours, ball_field().colours, atol=0.1)


def test_a_point_has_the_same_colour_in_two_views(result: Field) -> None:
    cameras = turntable(24)
    middle = nn.functional.normalize(cameras.positions[0] + cameras.positions[2], dim=0)
    around = 0.3 * torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    points = 0.7 * nn.functional.normalize(middle + around, dim=1)  # seen by both
    for field, most in ((ball_field(), 0.02), (result, 0.06)):
        one, other = (seen_at(field, points, cameras, number) for number in (0, 2))
        apart = (one - other).abs().mean()
        assert float(apart) < most
        assert float(apart) < 0.25 * float((one - other.roll(1, 0)).abs().mean())


def test_colours_get_the_mean_and_covariance_of_the_pictures() -> None:
    field = ball_field()
    calm = Field(field.density, 0.4 + 0.2 * field.colours)
    views = Viewpoints(calm.density, turntable(4), SIZE, WHITE)
    style = 0.35 + 0.3 * picture(2)
    mapped = recoloured(calm.colours, views, [style])
    seen = [
        views.picture(mapped, n).permute(0, 2, 3, 1)[views.filled(n)[:, 0] > 0.999]  # the scene alone
        for n in range(4)
    ]
    wanted, found = style.flatten(2)[0], torch.cat(seen).T
    torch.testing.assert_close(found.mean(1), wanted.mean(1), atol=0.02, rtol=0)
    torch.testing.assert_close(found.cov(), wanted.cov(), atol=0.003, rtol=0)


def test_an_empty_scene_keeps_its_colours() -> None:
    field = ball_field()
    views = Viewpoints(torch.full_like(field.density, -1.0), turntable(2), SIZE, WHITE)
    assert torch.equal(recoloured(field.colours, views, [picture(0)]), field.colours)


def test_middle_layers_are_found_by_looking(model: nn.Module) -> None:
    squeeze = load_model("torchvision:squeezenet1_1")
    first, second = ["net.features.3", "net.features.4"], ["net.features.6", "net.features.7"]
    assert middle_layers(squeeze, torch.rand(1, 3, 64, 64), (64, 64)) == first
    assert middle_layers(squeeze, torch.rand(1, 3, 128, 128), (64, 64)) == second
    assert all("relu3" in layer for layer in middle_layers(model, torch.rand(1, 3, 32, 32), SIZE))


def test_change_is_1_for_a_view_without_content(model: nn.Module) -> None:
    views = Viewpoints(ball_field().density, turntable(1), SIZE, WHITE)
    critic = Critic(model, [picture(0)], views, (), 1.0)
    maps = torch.rand(1, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    assert float(critic.change(maps, maps)) == 0.0
    torch.testing.assert_close(critic.change(maps.mean((2, 3), keepdim=True).expand_as(maps), maps), torch.ones(1))


@pytest.mark.slow
def test_the_turntable_runs_from_the_command_and_leaves_the_model(model: nn.Module) -> None:
    before, frames = state_of(model), list[Frame]()
    materials = Materials(model=model, styles=(picture(0), picture(1)), shape=(3, 24, 20))
    with running(watch=frames.append):
        made = make("arf", materials, TINY, seed=0)
    assert made.shape == (3, 3, 24, 20)
    assert 0.0 <= float(made.min()) <= float(made.max()) <= 1.0
    assert not torch.equal(made[0], made[1])
    assert state_of(model) == before
    assert [frames[-1].phase, frames[-1].image().shape] == [2, (1, 3, 24, 20)]
    assert torch.equal(made, make("arf", materials, TINY, seed=0))


@pytest.mark.slow
def test_an_interrupted_run_goes_on_where_it_was(model: nn.Module, tmp_path: Path) -> None:
    def run(watch: Callable[[Frame], None] | None, folder: str) -> Tensor:
        with running(watch, FileJournal(tmp_path / folder, "turn", seconds=0.0)):
            return arf(model, picture(0), None, (16, 16), draws=ONE, **TINY)  # type: ignore[arg-type]

    def stop(frame: Frame) -> None:
        if (frame.phase, frame.step) == (2, 2):
            raise KeyboardInterrupt

    seen: list[Frame] = []
    with pytest.raises(KeyboardInterrupt):
        run(stop, "cut")
    made = run(seen.append, "cut")
    assert [(frame.phase, frame.step) for frame in seen] == [(2, 2), (2, 3)]
    assert torch.equal(made, run(None, "whole"))


def test_one_channel_and_views_of_ones_own() -> None:
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Conv2d(8, 8, 3), nn.ReLU())
    made = arf(net, picture(0, channels=1), None, (24, 24), draws=ONE, **TINY)  # type: ignore[arg-type]
    assert made.shape == (3, 1, 24, 24)
    scene = solids_on_a_disc(3, (16, 16), channels=1, like=torch.zeros(1))
    own = arf(net, picture(0, channels=1), scene, (24, 24), draws=ONE, **TINY)  # type: ignore[arg-type]
    assert own.shape == (3, 1, 24, 24)


@pytest.mark.parametrize(
    ("styles", "wrong", "message"),
    [
        ([], {}, "one style or more"),
        ([picture(0).expand(2, -1, -1, -1)], {}, "a single picture"),
        ([picture(0)], {"steps": -1}, "steps must not be negative"),
        ([picture(0)], {"tv_weight": -1.0}, "weights must not be negative"),
        ([picture(0)], {"frames": 0}, "a turntable needs"),
        ([picture(0)], {"fit_steps": (3,)}, "one number of steps for each grid"),
        ([picture(0)], {"layers": ("relu1_1", "relu3_1")}, "maps of one size"),
        ([picture(0)], {"layers": ("relu9_1",)}, "relu9_1"),
    ],
)
def test_wrong_requests_are_refused(
    styles: list[Tensor], wrong: dict[str, object], message: str, model: nn.Module
) -> None:
    with pytest.raises(ConfigError, match=message):
        arf(model, styles, None, (16, 16), draws=ONE, **(TINY | wrong))  # type: ignore[arg-type]

"""The solids that are looked at, and the field fitted to views of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.draws import Draws
from advbench.core.journal import Frame, running
from advbench.synthesis.radiance.cameras import Rays, turntable
from advbench.synthesis.radiance.fit import fit
from advbench.synthesis.radiance.rendering import frames_of
from advbench.synthesis.radiance.scene import Hit, Views, ball, block, post, solids_on_a_disc
from advbench.types import ConfigError

ONE = Draws(0, torch.arange(1))
LIKE = torch.zeros(1)

# name: (the solid, signed distance from its surface along the worst axis)
SOLIDS: dict[str, tuple[Callable[[Rays], Hit], Callable[[Tensor], Tensor]]] = {
    "ball": (ball((0.1, 0.0, -0.2), 0.5), lambda p: (p - p.new_tensor([0.1, 0.0, -0.2])).norm(dim=1) - 0.5),
    "block": (
        block((0.0, 0.1, 0.0), (0.5, 0.3, 0.4)),
        lambda p: ((p - p.new_tensor([0.0, 0.1, 0.0])).abs() - p.new_tensor([0.5, 0.3, 0.4])).amax(1),
    ),
    "post": (
        post((0.0, 0.0, 0.1), 0.4, 0.5),
        lambda p: torch.maximum(p[:, :2].norm(dim=1) - 0.4, (p[:, 2] - 0.1).abs() - 0.5),
    ),
}


@pytest.mark.parametrize("name", SOLIDS)
@given(seed=st.integers(0, 1000))
def test_a_hit_is_the_first_point_of_the_surface_and_looks_out(name: str, seed: int) -> None:
    hit, outside = SOLIDS[name]
    generator = torch.Generator().manual_seed(seed)
    origins = 3 * torch.nn.functional.normalize(torch.randn(40, 3, generator=generator, dtype=torch.float64), dim=1)
    aims = 1.2 * torch.rand(40, 3, generator=generator, dtype=torch.float64) - 0.6
    rays = Rays(origins, torch.nn.functional.normalize(aims - origins, dim=1))
    distance, normal = hit(rays)
    met = distance.isfinite()
    points = origins[met] + distance[met, None] * rays.directions[met]
    torch.testing.assert_close(outside(points), torch.zeros(len(points), dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(normal[met].norm(dim=1), torch.ones(len(points), dtype=torch.float64))
    assert bool(((normal[met] * rays.directions[met]).sum(1) <= 0).all())
    # Brute force: small steps along the ray enter the solid where the hit says, and nowhere if there is none.
    along = torch.linspace(0.0, 5.0, 401, dtype=torch.float64)
    places = origins[:, None] + along[None, :, None] * rays.directions[:, None]
    inside = outside(places.reshape(-1, 3)).reshape(40, -1) < -1e-3
    assert bool((distance[inside.any(1)] <= along[inside.int().argmax(1)][inside.any(1)]).all())
    assert not bool((inside & (along < distance[:, None])).any())


def test_the_solids_are_seen_on_white_in_the_box() -> None:
    views = solids_on_a_disc(3, (20, 24), elevations=(10.0, 40.0), like=LIKE)
    assert views.images.shape == (6, 3, 20, 24)
    assert 0.0 <= float(views.images.min()) <= float(views.images.max()) <= 1.0
    rim = torch.cat([views.images[:, :, 0].flatten(), views.images[:, :, :, 0].flatten()])
    assert torch.equal(rim, torch.ones_like(rim))
    grey = solids_on_a_disc(3, (20, 24), channels=1, elevations=(10.0, 40.0), like=LIKE)
    torch.testing.assert_close(grey.images, views.images.mean(1, keepdim=True))


@pytest.mark.slow
def test_a_fitted_field_shows_views_it_was_not_fitted_to() -> None:
    """PSNR of 25 dB or more on views between those of the fit, and a loss that falls to a tenth."""
    frames: list[Frame] = []
    views = solids_on_a_disc(8, (32, 32), elevations=(10.0, 40.0), like=LIKE)
    held_out = solids_on_a_disc(6, (32, 32), like=LIKE)
    with running(watch=frames.append):
        field = fit(views, draws=ONE, sides=(12, 24), steps=(60, 100), rays=512)
    error = (frames_of(field, held_out.cameras, (32, 32), held_out.background) - held_out.images).square().mean()
    assert float(-10 * error.log10()) >= 25.0
    assert float(frames[-1].loss) < 0.1 * float(frames[0].loss)
    assert frames[-1].image().shape == (1, 3, 32, 32)
    assert field.colours.shape == (1, 3, 24, 24, 24)
    assert 0.0 <= float(field.colours.min()) <= float(field.colours.max()) <= 1.0


def test_a_fit_follows_from_its_seed() -> None:
    views = solids_on_a_disc(2, (12, 12), like=LIKE)
    settings = {"sides": (6,), "steps": (5,), "rays": 64}
    first, again, other = (
        fit(views, draws=Draws(seed, torch.arange(2)), **settings)  # type: ignore[arg-type]
        for seed in (0, 0, 1)
    )
    assert torch.equal(first.density, again.density)
    assert torch.equal(first.colours, again.colours)
    assert not torch.equal(first.density, other.density)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sides": (4, 8)}, "one number of steps"),
        ({"rays": 0}, "rays >= 1"),
        ({"sides": (1,)}, "sides of 2 or more"),
        ({"sparsity": -1.0}, "must not be negative"),
    ],
)
def test_wrong_numbers_are_refused(wrong: dict[str, object], message: str) -> None:
    views = solids_on_a_disc(2, (8, 8), like=LIKE)
    with pytest.raises(ConfigError, match=message):
        fit(views, draws=ONE, **{"sides": (4,), "steps": (2,), **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda v: Views(v.images[0], v.cameras, v.background), "images"),
        (lambda v: Views(v.images, turntable(3), v.background), "as many cameras"),
        (lambda v: Views(v.images, v.cameras, v.background[:2]), "background must have 3"),
    ],
)
def test_views_that_do_not_belong_together_are_refused(wrong: Callable[[Views], Views], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(wrong(solids_on_a_disc(2, (8, 8), like=LIKE)), draws=ONE)

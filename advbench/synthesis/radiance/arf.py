"""A scene in space painted in the style of pictures, as seen on a turntable. arXiv:2206.06360."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.registry import synthesis
from advbench.synthesis.radiance.cameras import turntable
from advbench.synthesis.radiance.field import Field
from advbench.synthesis.radiance.fit import fit
from advbench.synthesis.radiance.painting import Recipe, check_recipe, painted
from advbench.synthesis.radiance.rendering import frames_of
from advbench.synthesis.radiance.scene import Views, check_views, solids_on_a_disc
from advbench.synthesis.radiance.viewpoints import Viewpoints
from advbench.types import ConfigError

_RINGS = (10.0, 40.0)  # degrees above the table from which the solids are seen


@synthesis(paper="arXiv:2206.06360")
def arf(
    model: nn.Module,
    styles: Tensor | Sequence[Tensor],
    scene: Views | None = None,
    size: tuple[int, int] = (128, 128),
    *,
    draws: Draws,
    layers: Sequence[str] = (),
    frames: int = 24,
    steps: int = 200,
    rate: float = 0.03,
    content_weight: float = 0.2,
    tv_weight: float = 1.0,
    style_scale: float = 1.0,
    enlarge: float = 2.0,
    recolour: bool = True,
    sides: Sequence[int] = (16, 32, 48),
    fit_steps: Sequence[int] = (100, 150, 250),
    elevation: float = 25.0,
) -> Tensor:
    """Frames (frames, C, H, W) in [0, 1] of a turn around a scene, painted like one or more pictures (1, C, h, w).

    A grid of voxels is fitted to the views of the scene (`fit`); then its colours, not its shape, are changed until the
    features of views are near to some features of the styles. scene: posed views of what lies in the box [-1, 1]^3;
    None: coloured solids on a disc. size: (H, W) of frames and of the views that are painted. layers: with maps of one
    size; if empty, those with a quarter of the frames' rows or a little more. steps: views painted, each chosen at
    random; rate: Adam's first, in colour units. content_weight: of the squared change of features, 1 being a view
    without content. tv_weight: of the total variation of views, mean per pixel. enlarge: size at which the network sees
    a view, to that of a frame: with more, strokes are finer and there is more of them. style_scale: longer side of the
    styles to that of what the network sees. recolour: give the scene the styles' mean and covariance of colours, before
    and after. sides, fit_steps: corners of the grid and steps of each phase of the fit. elevation: of the turntable,
    degrees.

    The views' mean distance to the nearest feature falls to 0.8 of its start or less. Colours do not depend on the
    direction, so that all views agree. Suits SqueezeNet and VGG. Raises ConfigError for views, pictures and numbers
    that do not fit, and for networks without convolutions unless layers with maps are named.
    """
    recipe = Recipe(layers, steps, rate, content_weight, tv_weight, style_scale, enlarge, recolour)
    pictures = [styles] if isinstance(styles, Tensor) else list(styles)
    check_recipe(recipe)
    path = turntable(frames, elevation=elevation, device=pictures[0].device if pictures else None)
    if scene is None and pictures:
        scene = solids_on_a_disc(12, size, channels=pictures[0].shape[1], elevations=_RINGS, like=pictures[0][:, :1])
    if scene is None or any(len(each) != 1 or each.shape[1] != scene.images.shape[1] for each in pictures):
        raise ConfigError("arf needs one style or more, each a single picture with as many channels as the views")
    check_views(scene)
    field = fit(scene, draws=draws.branch("fit"), sides=sides, steps=fit_steps)
    views = Viewpoints(field.density, scene.cameras, size, scene.background)
    colours = painted(model, field.colours, pictures, views, recipe, draws=draws)
    return frames_of(Field(field.density, colours), path, size, scene.background)

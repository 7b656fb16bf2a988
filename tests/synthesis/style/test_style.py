"""Style transfer by optimisation."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.copying import copy_of
from advbench.core.draws import Draws
from advbench.core.gradients import in_pieces
from advbench.core.gram import gram, gram_distance
from advbench.core.journal import Frame, running
from advbench.core.step_rules import adam, lbfgs
from advbench.core.targets import Reading
from advbench.models.load import load_model
from advbench.synthesis.compared import features
from advbench.synthesis.optimisers import Handover
from advbench.synthesis.style.objective import Question, smoothed, style_target
from advbench.synthesis.style.recipes import RECIPES, Recipe
from advbench.synthesis.style.style import fitted, style
from advbench.synthesis.texture.comparisons import by_gram
from advbench.testing.witness import state_of
from advbench.types import ConfigError

ONE = Draws(0, torch.arange(1))
LAYERS = ["relu1_1", "relu2_1"]


def picture(seed: int, height: int = 32, width: int = 32, count: int = 1) -> Tensor:
    small = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(small, size=(height, width), mode="bicubic").clamp(0, 1)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return load_model("vgg19_distilled", params={"last": "relu2_2"})


def losses(model: nn.Module, made: Tensor, content: Tensor, painting: Tensor) -> tuple[float, float]:
    """Content and style loss as the papers write them, up to factors."""
    mine, photo, paint = (features(model, each, [*LAYERS, "relu2_2"]) for each in (made, content, painting))
    apart = 0.5 * float((mine["relu2_2"] - photo["relu2_2"]).square().sum())
    return apart, sum(float(gram_distance(gram(mine[layer]), gram(paint[layer]))) for layer in LAYERS)


def run(model: nn.Module, content: Tensor, styles: Tensor | Sequence[Tensor], **changes: object) -> Tensor:
    settings: dict[str, object] = {"content_layers": ["relu2_2"], "style_layers": LAYERS, "steps": (25,), **changes}
    return style(model, content, styles, draws=Draws(0, torch.arange(len(content))), **settings)  # type: ignore[arg-type]


def test_the_loss_falls_by_half_and_the_model_is_left_alone(model: nn.Module) -> None:
    frames, before = list[Frame](), state_of(model)
    with running(watch=frames.append):
        made = run(model, picture(0, 32, 40), picture(1, 24, 24), steps=(20, 20))
    assert state_of(model) == before
    assert made.shape == (1, 3, 32, 40)
    assert 0.0 <= float(made.min()) <= float(made.max()) <= 1.0
    assert {frame.phase for frame in frames} == {0, 1}
    assert float(min(frame.loss for frame in frames if frame.phase == 1)) < 0.5 * float(frames[0].loss)


def test_weights_pull_towards_content_or_style(model: nn.Module) -> None:
    content, painting = picture(0), picture(1)
    found = []
    for weight in (0.1, 1.0, 10.0, 100.0):
        made = run(model, content, painting, style_weight=weight, start="noise", tv_weight=0.0, steps=(40,))
        found.append(losses(model, made, content, painting))
    apart, unlike = zip(*found, strict=True)
    assert list(unlike) == sorted(unlike, reverse=True)
    assert list(apart) == sorted(apart)


def test_without_style_the_content_comes_back(model: nn.Module) -> None:
    content = picture(0)
    begin = run(model, content, picture(1), start="blend", steps=(0,))
    made = run(model, content, picture(1), start="blend", style_weight=0.0, tv_weight=0.0, steps=(80,))
    assert losses(model, made, content, content)[0] < 0.05 * losses(model, begin, content, content)[0]


@given(st.floats(0.0, 1.0), st.integers(0, 20))
def test_mixed_grams_pull_like_mixed_losses(share: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, first, second = torch.randn(3, 1, 3, 4, 4, generator=generator, dtype=torch.float64)
    x.requires_grad_(True)
    rows = torch.zeros(1, dtype=torch.int64)
    mixed = by_gram([first, second], [share, 1 - share], ONE, "")(x, rows)
    apart = share * gram_distance(gram(x), gram(first)) + (1 - share) * gram_distance(gram(x), gram(second))
    torch.testing.assert_close(*(torch.autograd.grad(loss.sum(), x)[0] for loss in (mixed, apart)))


def test_all_of_one_style_and_none_of_the_other_is_the_one(model: nn.Module) -> None:
    content, first, second = picture(0), picture(1), picture(2)
    alone = run(model, content, first, steps=(5,))
    assert torch.equal(alone, run(model, content, [first, second], mix=(2.0, 0.0), steps=(5,)))
    both = run(model, content, [first, second], steps=(5,))
    torch.testing.assert_close(both, run(model, content, [second, first], steps=(5,)), atol=1e-3, rtol=0)
    assert not torch.allclose(alone, both, atol=1e-2)


def test_content_loss_is_half_the_squared_distance(model: nn.Module) -> None:
    content, other = picture(0), picture(3)
    recipe = Recipe(content_layers=("relu2_2",), style_layers=("relu1_1",), style_weight=0.0, balanced=False)
    target = style_target(model, content, [picture(1)], Question(recipe, [1.0], by_gram, ONE, False))
    maps = features(model, other, ["relu2_2"])
    value = target.read(Reading(other.new_empty(0), maps, torch.zeros(1, dtype=torch.int64)))
    torch.testing.assert_close(-float(value), losses(model, other, content, content)[0])


def test_one_result_per_content_whatever_the_batch(model: nn.Module) -> None:
    content = picture(5, count=2)
    both = run(model, content, picture(1), steps=(4,), optimiser="adam")
    torch.testing.assert_close(
        both[1:], run(model, content[1:], picture(1), steps=(4,), optimiser="adam"), atol=1e-4, rtol=0
    )


def test_average_pooling_is_as_strong_as_each_content_needs_whatever_the_batch(model: nn.Module) -> None:
    twice = copy_of(model).double()
    contents = torch.cat([picture(0), 0.02 * picture(1), picture(2)]).double()
    with torch.inference_mode(), in_pieces(2):
        together = run(twice, contents, picture(3).double(), steps=(4,), pooling="average")
    for i in range(3):
        alone = run(twice, contents[[i]], picture(3).double(), steps=(4,), pooling="average")
        torch.testing.assert_close(together[[i]], alone, atol=1e-9, rtol=0.0)


def test_colours_of_the_content_are_kept(model: nn.Module) -> None:
    content, painting = 0.25 + 0.5 * picture(0), picture(1)
    made = run(model, content, painting, colours="brightness", steps=(5,))
    inside = ((made > 0) & (made < 1)).all(1)
    chroma = [
        (each - (each * each.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True))
        for each in (made, content)
    ]
    assert float((chroma[0] - chroma[1]).abs().amax(1)[inside].max()) < 1e-3
    plain, kept = run(model, content, painting), run(model, content, painting, colours="statistics")
    means = [each.mean((2, 3)) for each in (plain, kept, content)]
    assert float((means[1] - means[2]).norm()) < float((means[0] - means[2]).norm())


def test_style_scale_1_is_the_size_of_the_picture(model: nn.Module) -> None:
    content, painting = picture(0), picture(1, 48, 48)
    same = run(model, content, fitted(painting, 32), steps=(3,))
    assert torch.equal(same, run(model, content, painting, steps=(3,)))
    assert not torch.equal(same, run(model, content, painting, style_scale=2.0, steps=(3,)))
    assert torch.equal(
        run(model, content, painting, style_scale=0.5, steps=(3,)),
        run(model, content, fitted(painting, 16), style_scale=0.5, steps=(3,)),
    )


@pytest.mark.parametrize("changes", [{"pooling": "average"}, {"smooth": True}, {"loss": "sliced_wasserstein"}])
def test_variants_lower_their_loss(changes: dict[str, object], model: nn.Module) -> None:
    frames: list[Frame] = []
    with running(watch=frames.append):
        run(model, picture(0), picture(1), optimiser="adam", tv_weight=0.0, steps=(30,), **changes)
    assert float(frames[-1].loss) < 0.7 * float(frames[0].loss)


def test_smoothed_maps_have_mean_1_and_keep_their_order() -> None:
    maps = 30 * torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    soft = smoothed(maps)
    torch.testing.assert_close(soft.flatten(1).mean(1), torch.ones(2))
    assert torch.equal(soft.flatten(1).argmax(1), maps.flatten(1).argmax(1))


def test_the_presets_belong_to_known_layers_and_phases() -> None:
    squeeze = load_model("torchvision:squeezenet1_1")
    made = style(squeeze, picture(0, 48, 64), picture(1), draws=ONE, preset="cs231n", sizes=(64,), steps=(2,))
    assert made.shape == (1, 3, 48, 64)
    assert all(len(recipe.sizes) in (0, len(recipe.steps)) for recipe in RECIPES.values())


def test_a_preset_for_one_set_of_weights_refuses_much_stronger_ones() -> None:
    squeeze = load_model("torchvision:squeezenet1_1")
    with torch.no_grad():
        next(squeeze.parameters()).mul_(50.0)  # as if made for bytes
    with pytest.raises(ConfigError, match=r"for torchvision's own weights .* take the preset default"):
        style(squeeze, picture(0, 48, 64), picture(1), draws=ONE, preset="cs231n", sizes=(64,), steps=(2,))


def test_adam_goes_on_at_twice_the_size() -> None:
    handover = Handover(adam(0.1))
    step = handover.step()
    z = torch.zeros(1, 3, 4, 4)
    step.update(torch.ones_like(z), step.init(z), 0.0)
    mean, square, count = handover.step().init(torch.zeros(1, 3, 8, 8))
    # 4 times the pixels: a quarter of the gradient.
    torch.testing.assert_close(mean, torch.full((1, 3, 8, 8), 0.1 / 4))
    torch.testing.assert_close(square, torch.full((1, 3, 8, 8), 0.001 / 16))
    assert count.tolist() == [1.0]
    fresh = Handover(lbfgs(memory=2))
    step = fresh.step()
    step.update(torch.ones_like(z), step.init(z), 0.0)
    assert fresh.step().init(torch.zeros(1, 3, 8, 8))[-6].shape == (1, 192)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"preset": "gaty"}, "no style preset 'gaty'"),
        ({"start": "grey"}, "start must be one of content, blend, noise"),
        ({"colours": "luma"}, "colours must be one of style, brightness, statistics"),
        ({"mix": (1.0,)}, "for 2 styles"),
        ({"style_scale": 0.0}, "style_scale must be positive"),
        ({"sizes": (16, 32)}, "2 sizes and steps for 1"),
        ({"style_weight": -1.0}, "must not be negative"),
        ({"steps": ()}, "one number of steps for each size"),
    ],
)
def test_wrong_requests_are_refused(wrong: dict[str, object], message: str, model: nn.Module) -> None:
    with pytest.raises(ConfigError, match=message):
        run(model, picture(0), [picture(1), picture(2)], **wrong)

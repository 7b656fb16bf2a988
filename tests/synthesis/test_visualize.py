"""visualize: every recipe climbs, on any network, and gives a picture."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.journal import Frame, running
from advbench.core.priors import edge_energy
from advbench.core.receptive_field import Unit, receptive_fields
from advbench.core.targets import logit, parse_target, unit
from advbench.models.normalize import Normalized
from advbench.synthesis.visualize.diverse import likeness
from advbench.synthesis.visualize.normalised import normalisation_of
from advbench.synthesis.visualize.recipes import RECIPES, Recipe
from advbench.synthesis.visualize.visualize import visualize
from advbench.testing.witness import state_of
from advbench.types import ConfigError
from tests.attacks.small_nets import conv_net
from tests.attributions.small_nets import pooled_net, tiny_vit

DRAWS = Draws(0, torch.arange(2))
SHAPE = (3, 13, 10)


def normalised_net() -> nn.Module:
    return Normalized(pooled_net(), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)).eval()


def noise(count: int = 200) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("preset", RECIPES)
def test_every_recipe_raises_its_class_and_leaves_the_model_alone(preset: str) -> None:
    model = normalised_net().train()
    before = state_of(model)
    # An edge energy as strong as for VGG16 lets nothing through on so small a logit.
    recipe = replace(RECIPES[preset], edges=1e-3 * RECIPES[preset].edges)
    image = visualize(model, "class:1", draws=DRAWS, shape=SHAPE, preset=recipe, steps=40)
    assert state_of(model) == before
    assert image.shape == (2, *SHAPE)
    assert 0.0 <= float(image.min()) < float(image.max()) <= 1.0
    grey = visualize(model, "class:1", draws=DRAWS, shape=SHAPE, preset=recipe, steps=0)
    score = model.eval()(torch.cat([image, grey]))[:, 1]
    assert bool((score[:2] > score[2:]).all())


def test_without_regularisation_it_beats_the_best_of_two_hundred_random_images() -> None:
    model = normalised_net()
    image = visualize(model, "class:2", draws=DRAWS, shape=SHAPE, preset="unregularised", steps=60)
    assert bool((model(image)[:, 2] > model(noise())[:, 2].max()).all())


@pytest.mark.parametrize("preset", ["unregularised", "fleuret"])
def test_a_single_unit_changes_its_receptive_field_only(preset: str) -> None:
    model = normalised_net()
    recipe = replace(RECIPES[preset], edges=0.0, standardised=False)
    field = receptive_fields(model, "net.2", [Unit(3, 3, 2)], SHAPE)[0]
    first = visualize(model, "2:3@centre", draws=DRAWS, shape=SHAPE, preset=recipe, steps=0)
    moved = (
        (visualize(model, "2:3@centre", draws=DRAWS, shape=SHAPE, preset=recipe, steps=20) - first).abs().sum((0, 1))
    )
    inside = torch.zeros_like(moved, dtype=torch.bool)
    inside[field.top : field.bottom, field.left : field.right] = True
    assert bool((moved[~inside] == 0).all())
    assert bool((moved[inside] > 0).any())


@pytest.mark.parametrize(
    ("model", "shape", "target"),
    [(conv_net(), (1, 6, 6), "class:3 - 0.5 * class:0"), (tiny_vit(), (3, 16, 16), "log_prob:2")],
)
def test_one_channel_and_transformers(model: nn.Module, shape: tuple[int, int, int], target: str) -> None:
    image = visualize(model, target, draws=DRAWS, shape=shape, steps=30, step_size=0.1)
    grey = torch.full((1, *shape), 0.5)
    read = parse_target(target)

    def score(x: Tensor) -> Tensor:
        logits = model(x)
        if target.startswith("log"):
            return torch.as_tensor(logits.log_softmax(1)[:, 2])
        return torch.as_tensor(logits[:, 3] - 0.5 * logits[:, 0])

    assert read.whole
    assert bool((score(image) > score(grey)).all())


def test_a_photo_sets_size_and_start_in_every_space() -> None:
    photo = noise(2)
    for preset in ("unregularised", "cs231n", "default"):
        image = visualize(normalised_net(), "class:0", draws=DRAWS, photo=photo, preset=preset, steps=0)
        torch.testing.assert_close(image, photo, atol=1e-5, rtol=0.0)
    with pytest.raises(ConfigError, match="photo"):
        visualize(normalised_net(), "class:0", draws=DRAWS, shape=SHAPE, start="photo")
    with pytest.raises(ConfigError, match="no preset"):
        visualize(normalised_net(), "class:0", draws=DRAWS, shape=SHAPE, preset="flueret")


def test_images_do_not_depend_on_their_batch_and_repeat() -> None:
    both = visualize(normalised_net(), "class:0", draws=DRAWS, shape=SHAPE, steps=8)
    alone = visualize(normalised_net(), "class:0", draws=DRAWS.rows(torch.tensor([1])), shape=SHAPE, steps=8)
    torch.testing.assert_close(alone, both[1:], atol=1e-4, rtol=0.0)
    assert torch.equal(both, visualize(normalised_net(), "class:0", draws=DRAWS, shape=SHAPE, steps=8))
    assert not torch.equal(both[0], both[1])


def test_a_stronger_edge_energy_gives_fewer_edges_and_a_lower_score() -> None:
    energies, scores = [], []
    for weight in (0.0, 0.003, 0.03):
        recipe = Recipe("pixels", deviation=0.05, step_size=0.02, edges=weight)
        image = visualize(normalised_net(), "class:1", draws=DRAWS, shape=SHAPE, preset=recipe, steps=60)
        energies.append(float(edge_energy()(image).mean()))
        scores.append(normalised_net()(image)[:, 1].mean().item())
    assert energies == sorted(energies, reverse=True)
    assert scores == sorted(scores, reverse=True)


def test_diversity_pushes_the_textures_of_a_batch_apart() -> None:
    model, four = normalised_net(), Draws(0, torch.arange(4))

    def mean_likeness(diversity: float) -> float:
        image = visualize(
            model, "2:3", draws=four, shape=SHAPE, steps=25, step_size=0.1, diversity=diversity, preset="default"
        )
        with torch.no_grad():
            return float(likeness(model.net[:3](model.normalize(image))).sum() / 12)  # type: ignore[operator, index]

    assert mean_likeness(20.0) < mean_likeness(0.0) - 1e-3


class Dead(nn.Module):
    """A class whose unit is closed for grey images."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1).mean(1, keepdim=True) - 0.7).relu()


def test_redirected_relus_wake_a_class_that_is_dead_at_the_start() -> None:
    asleep = visualize(Dead(), logit(0), draws=DRAWS, shape=(1, 8, 8), preset="unregularised", redirected=False)
    awake = visualize(Dead(), logit(0), draws=DRAWS, shape=(1, 8, 8), preset="unregularised")
    assert float(Dead()(asleep).max()) == 0.0
    assert float(Dead()(awake).min()) > 0.1


def test_the_space_of_a_network_is_that_of_its_first_layer() -> None:
    found = normalisation_of(normalised_net(), 3)
    torch.testing.assert_close(found.mean.flatten(), torch.tensor([0.5, 0.4, 0.3]))
    torch.testing.assert_close(found.out(found.into(noise(2))), noise(2))
    assert normalisation_of(pooled_net(), 3).std.flatten().tolist() == [0.25] * 3


def test_the_loss_of_a_run_is_told() -> None:
    frames: list[Frame] = []
    with running(watch=frames.append):
        visualize(normalised_net(), unit("2", 3), draws=DRAWS, shape=SHAPE, preset="unregularised", steps=30)
    assert bool((frames[-1].loss < 1.5 * frames[0].loss).all())  # a score that was positive rises by half
    assert frames[-1].image().shape == (2, *SHAPE)

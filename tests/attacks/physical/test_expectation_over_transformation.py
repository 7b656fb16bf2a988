"""EOT fools a model in views that the attack has not seen; and models that are random are judged over fresh draws."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.testing import assert_close

from advbench.attacks.gradient.pgd import pgd
from advbench.attacks.physical import expectation_over_transformation as module
from advbench.attacks.physical.expectation_over_transformation import expectation_over_transformation as eot
from advbench.attacks.physical.view_success import straight, view_success
from advbench.core.draws import Draws
from advbench.core.gradients import Gradient
from advbench.core.objectives import Objective, misclassify
from advbench.core.transforms import jitter
from advbench.core.view_gradient import over_looks
from advbench.core.views import camera
from advbench.metrics.rates import wilson
from advbench.testing import linear_problem
from advbench.types import ConfigError, Evaluation, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import seeds, shapes

OFF = {"rotation": 0.0, "zoom": 0.0, "shift": 0.0, "tilt": 0.0, "light": 0.0, "colour": 0.0, "blur": 0.0, "grain": 0.0}


def test_it_survives_fresh_views_where_pgd_does_not() -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    threat = ThreatModel(inf, 0.1)
    parts = {**OFF, "rotation": 30.0, "shift": 0.1}
    view = camera(rotation=30.0, shift=0.1)
    by_pgd = pgd(model, x, y, threat, draws=draws)
    by_eot = eot(model, x, y, threat, draws=draws, jpeg=None, **parts)
    plain, seen = (view_success(model, z, y, draws=draws, view=view).share for z in (by_pgd, by_eot))
    assert float(seen.mean()) > float(plain.mean()) + 0.1
    assert float(seen.mean()) > 0.7


@settings(max_examples=10)
@given(shapes(largest=3), seeds())
def test_without_views_it_falls_exactly_where_eps_exceeds_the_distance(shape: tuple[int, int, int], seed: int) -> None:
    problem = linear_problem(shape, 2, 4, seed)
    for factor in (0.99, 1.01):
        for i, distance in enumerate(problem.distance(inf).tolist()):
            row = torch.tensor([i])
            x, y, draws = problem.x[row], problem.y[row], problem.draws.rows(row)
            found = eot(problem.model, x, y, ThreatModel(inf, factor * distance), draws=draws, steps=4, views=1, **OFF)
            assert bool(problem.model(found).argmax(1) != y) == (factor > 1.0)


def test_a_camera_sees_images_in_any_box() -> None:
    """Images from -1 to 1 instead of 0 to 1 and a network that undoes that: the same examples."""
    model = conv_net().double()
    x, y, draws = images(conv_net(), 4)
    x, undone = x.double(), nn.Sequential(Undone(), model)
    expected = eot(model, x, y, ThreatModel(inf, 0.1), draws=draws, steps=3)
    found = eot(undone, 2.0 * x - 1.0, y, ThreatModel(inf, 0.2, -1.0, 1.0), draws=draws, steps=3)
    assert_close((found + 1.0) / 2.0, expected, atol=1e-9, rtol=0.0)


class Undone(nn.Module):
    """Images in [-1, 1] as images in [0, 1]."""

    def forward(self, z: Tensor) -> Tensor:
        return (z + 1.0) / 2.0


def test_each_look_is_one_pass_and_what_is_wrong_already_costs_one() -> None:
    model = conv_net()
    x, y, draws = images(model, 4)
    counting = Counting(model, 4)
    y[0] = (y[0] + 1) % 4
    found = eot(counting, x, y, ThreatModel(inf, 1e-4), draws=draws, steps=3, views=2, samples=2)
    assert counting.passes.tolist() == [1, *[1 + 3 * (2 + 1) * 2] * 3]
    assert torch.equal(found[0], x[0])


@pytest.mark.parametrize("targeted", [False, True])
def test_returned_is_the_last_iterate_that_fooled_in_every_look(
    targeted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = conv_net()
    x, y, draws = images(model, 32)
    y = (y + 1) % 4 if targeted else y
    best, passed = x.clone(), torch.zeros(32, dtype=torch.bool)

    def watched(*given: Any, **options: Any) -> Gradient:
        mean = over_looks(*given, **options)

        def gradient(objective: Objective, z: Tensor, rows: Tensor) -> tuple[Evaluation, Tensor]:
            evaluation, grad = mean(objective, z, rows)
            best[rows[evaluation.reached]] = z[evaluation.reached]
            passed[rows] |= evaluation.reached
            return evaluation, grad

        return gradient

    monkeypatch.setattr(module, "over_looks", watched)
    found = eot(model, x, y, ThreatModel(inf, 0.15), draws=draws, targeted=targeted, steps=12, views=2)
    assert 4 <= int(passed.sum()) < 32
    assert torch.equal(found[passed], best[passed])
    assert bool((found[~passed] != x[~passed]).flatten(1).any(1).all())


def test_the_gradient_is_the_mean_over_the_looks() -> None:
    model = conv_net()
    x, y, draws = images(model, 5)
    rows, view, objective = torch.arange(5), jitter(2), misclassify(model, y)
    gradient = over_looks(view, draws, looks=3, itself=True)
    for call in range(2):
        leaf = x.clone().requires_grad_(True)
        looked = [leaf, *(view(leaf, draws, 3 * call + i) for i in range(3))]
        losses = torch.stack([nn.functional.cross_entropy(model(z), y, reduction="none") for z in looked])
        (expected,) = torch.autograd.grad(losses.mean(0).sum(), leaf)
        evaluation, found = gradient(objective, x, rows)
        assert_close(found, -expected)
        assert_close(evaluation.loss, -losses.mean(0).detach())
        all_fooled = torch.stack([model(z).argmax(1) != y for z in looked]).all(0)
        assert torch.equal(evaluation.reached, all_fooled)
    # The third call, for two samples alone: what they see does not depend on the others.
    alone = over_looks(view, draws, looks=3, itself=True)
    for _ in range(3):
        last = alone(objective, x[:2], rows[:2])[1]
    assert_close(gradient(objective, x, rows)[1][:2], last)


class Noisy(nn.Module):
    """A defense that adds noise of its own to each image: random in itself."""

    def __init__(self, model: nn.Module, deviation: float) -> None:
        super().__init__()
        self.model, self.deviation = model, deviation
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x + self.deviation * torch.randn(x.shape, generator=self.generator))
        return logits


def test_a_model_that_is_random_falls_more_surely_when_its_gradient_is_averaged() -> None:
    inner = conv_net()
    x, y, draws = images(inner, 32)
    threat, shares = ThreatModel(inf, 0.08), []
    for samples in (1, 8):
        model = Noisy(inner, 0.15)
        found = eot(model, x, y, threat, draws=draws, steps=10, views=1, samples=samples, jpeg=None, **OFF)
        shares.append(float(view_success(model, found, y, draws=draws, view=straight).share.mean()))
    by_pgd = view_success(
        Noisy(inner, 0.15), pgd(Noisy(inner, 0.15), x, y, threat, draws=draws), y, draws=draws, view=straight
    )
    assert shares[1] > float(by_pgd.share.mean()) + 0.1
    assert shares[1] > shares[0] - 0.01


def test_success_is_counted_and_its_interval_is_wilsons() -> None:
    class Leaning(nn.Module):
        """Class 1 where the mean of the view is above 0.5."""

        def forward(self, z: Tensor) -> Tensor:
            mean = z.flatten(1).mean(1)
            return torch.stack([0.5 - mean, mean - 0.5], 1)

    x = torch.full((2, 1, 4, 4), 0.5)
    y, draws = torch.tensor([0, 1]), Draws(0, torch.arange(2))
    calls: list[int] = []

    def view(z: Tensor, own: Draws, counter: int) -> Tensor:
        calls.append(counter)
        return z + (0.1 if counter % 4 == 0 else -0.1)

    found = view_success(Leaning(), x, y, draws=draws, view=view, n=40)
    assert calls == list(range(40))
    assert_close(found.share, torch.tensor([0.25, 0.75]))
    assert_close(found.low[0].item(), wilson(10, 40).low, atol=1e-6, rtol=0.0)
    assert_close(found.high[0].item(), wilson(10, 40).high, atol=1e-6, rtol=0.0)
    reached = view_success(Leaning(), x, y, draws=draws, view=view, n=40, targeted=True)
    assert_close(reached.share, 1.0 - found.share)
    assert len(view_success(Leaning(), x[:0], y[:0], draws=draws.rows(y[:0])).share) == 0


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"views": 0}, {"samples": 0}, {"zoom": 1.0}, {"tilt": 0.6}, {"jpeg": 0}, {"blur": -1.0}]
)
def test_bad_parameters_are_refused(wrong: dict[str, float]) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError):
        eot(model, x, y, ThreatModel(inf, 0.1), draws=draws, **wrong)

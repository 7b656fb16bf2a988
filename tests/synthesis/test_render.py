"""render: the parts of an optimised image, put together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.core.activations import Partial, record
from advbench.core.draws import Draws
from advbench.core.journal import Frame, running
from advbench.core.parameterisations import fourier
from advbench.core.priors import total_variation
from advbench.core.step_rules import adam, plain
from advbench.core.targets import logit, unit
from advbench.core.transforms import jitter
from advbench.synthesis.render import render
from advbench.testing.witness import state_of
from tests.attributions.small_nets import pooled_net

DRAWS = Draws(0, torch.arange(2))


def grey() -> Tensor:
    return torch.full((2, 3, 13, 10), 0.5)


def test_it_climbs_and_leaves_the_model_alone() -> None:
    model, frames = pooled_net().train(), list[Frame]()
    before = state_of(model)
    with running(watch=frames.append):
        image = render(model, logit(1), grey(), draws=DRAWS, step=adam(0.05), steps=30)
    assert state_of(model) == before
    best = model(torch.rand(200, 3, 13, 10, generator=torch.Generator().manual_seed(0)))[:, 1].max()
    assert bool((model.eval()(image)[:, 1] > best).all())
    assert bool((frames[-1].loss < frames[0].loss).all())


def test_only_the_receptive_field_of_a_unit_changes() -> None:
    target = unit("2", 3, (2, 2))  # two 3 x 3 convolutions, the second with stride 2: pixels 2 .. 6
    moved = (render(pooled_net(), target, grey(), draws=DRAWS, step=plain(1.0), steps=3) - grey()).abs().sum((0, 1))
    inside = torch.zeros_like(moved, dtype=torch.bool)
    inside[2:7, 2:7] = True
    assert bool((moved[~inside] == 0).all())
    assert bool((moved[inside] > 0).any())


def test_a_stronger_prior_gives_a_calmer_picture_and_a_lower_score() -> None:
    model, start = pooled_net(), torch.rand(2, 3, 13, 10, generator=torch.Generator().manual_seed(1))
    scores, energies = [], []
    for weight in (0.0, 0.01, 0.1):
        priors = [(weight, total_variation())]
        image = render(model, logit(1), start, draws=DRAWS, step=adam(0.02), steps=60, priors=priors)
        scores.append(model(image)[:, 1].mean().item())
        energies.append(total_variation()(image).mean().item())
    assert scores == sorted(scores, reverse=True)
    assert energies == sorted(energies, reverse=True)


def test_free_variables_of_another_kind_through_random_views() -> None:
    written = fourier((3, 13, 10))
    start = written.encode(grey())
    image = render(
        pooled_net(), logit(0), start, draws=DRAWS, step=adam(0.1), steps=20, parameterisation=written, view=jitter(2)
    )
    assert image.shape == grey().shape
    assert 0.0 <= float(image.min()) < float(image.max()) <= 1.0
    assert bool((pooled_net()(image)[:, 0] > pooled_net()(grey())[:, 0]).all())


class Counted(nn.Module):
    """The identity, with the number of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x


def test_the_pass_ends_at_the_last_layer_that_is_needed() -> None:
    relu, late = nn.ReLU(), Counted()
    model = nn.Sequential(nn.Conv2d(3, 4, 3), relu, nn.Conv2d(4, 4, 3), relu, nn.Conv2d(4, 2, 3), late)
    x = torch.rand(2, 3, 9, 9)
    partial = Partial(model, ["1", "0"], x)
    assert late.calls == 1  # the probe
    with record(model, ["1", "0"]) as whole:
        model(x)
    part = partial(x)
    assert late.calls == 2  # the whole pass, but not the partial one
    # The ReLU is used twice: the last time counts, in both.
    assert all(torch.equal(part[layer], whole[layer]) for layer in ("0", "1"))
    assert not any(module._forward_hooks for module in model.modules())

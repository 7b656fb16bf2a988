"""Weight randomisation: what forgets in which order, and the verdicts of the literature on a net trained here."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import SwinTransformer

from advbench.core.copying import copy_of
from advbench.core.draws import Draws
from advbench.metrics.randomisation import forget, layers_from_the_top, randomisation
from advbench.registry import ATTRIBUTIONS
from advbench.testing.witness import state_of
from tests.attributions.small_nets import tiny_vit


class Backwards(nn.Module):
    """Its layers are called in another order than they are named, one of them twice and one never."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 3)
        self.idle = nn.Linear(2, 2)
        self.twice = nn.Conv2d(1, 1, 1)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.twice(self.norm(self.twice(x))).flatten(1))
        return logits


def net(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )


def trained() -> tuple[nn.Module, Tensor, Tensor]:
    """The net after 150 steps on the digits, and images it knows."""
    data = load_digits()
    x, y = torch.tensor(data.images / 16.0).float()[:, None], torch.tensor(data.target)
    model = net()
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        rows = torch.randint(0, len(x), (64,), generator=generator)
        optimiser.zero_grad()
        torch.autograd.backward(functional.cross_entropy(model(x[rows]), y[rows]))
        optimiser.step()
    optimiser.zero_grad()
    return model.eval(), x[:40], y[:40]


def test_layers_forget_from_the_last_one_called_to_the_first() -> None:
    x = torch.rand(2, 1, 2, 2)
    assert layers_from_the_top(Backwards(), x) == ["last", "twice", "norm"]
    assert layers_from_the_top(net(), torch.rand(1, 1, 8, 8)) == ["10", "8", "5", "2", "0"]


def test_a_map_that_does_not_look_at_the_model_fails_and_one_that_does_is_told_apart() -> None:
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = randomisation(net(), x, lambda model: x)
    assert found.badge == "fails"
    assert torch.allclose(found.correlation, torch.ones(5, 3))
    assert torch.allclose(found.similarity, torch.ones(5, 3))
    assert found.layers == ("10", "8", "5", "2", "0")
    assert randomisation(net(), x, lambda model: x, threshold=1.0).badge == "passes"


def test_level_maps_are_left_out_and_counted() -> None:
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    heat = x.clone()
    heat[1] = 0.0
    found = randomisation(net(), x, lambda model: heat)
    assert found.score == pytest.approx(1.0)  # not 2 / 3
    assert found.blank == 2  # at two of five stages at most half of the layers forgot
    assert found.correlation.isnan().tolist() == found.similarity.isnan().tolist() == [[False, True, False]] * 5
    nothing = randomisation(net(), x, lambda model: 0 * x)
    assert (nothing.badge, nothing.blank) == ("blank", 6)


def test_each_stage_explains_a_model_whose_top_layers_are_new() -> None:
    x, model = torch.rand(1, 1, 8, 8), net()

    names, seen = ("10", "8", "5", "2", "0"), list[list[bool]]()

    def explain(given: nn.Module) -> Tensor:
        now, then = given.state_dict(), model.state_dict()
        seen.append([torch.equal(now[f"{name}.weight"], then[f"{name}.weight"]) for name in names])
        return x

    before, random = state_of(model), torch.get_rng_state()
    randomisation(model, x, explain, stages=2)
    assert seen == [[True] * 5, [False] * 2 + [True] * 3, [False] * 5]
    assert state_of(model) == before
    assert torch.equal(torch.get_rng_state(), random)


def test_a_layer_forgets_to_the_variance_that_keeps_a_signal() -> None:
    layer = nn.Conv2d(8, 400, 5)
    forget(layer, Draws(0, torch.tensor([0])))
    assert float(layer.weight.detach().std()) == pytest.approx((2 / 200) ** 0.5, rel=0.02)
    assert float(layer.weight.detach().mean()) == pytest.approx(0.0, abs=1e-3)
    assert layer.bias is not None
    assert not layer.bias.any()
    norm = nn.BatchNorm2d(3)
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        assert tensor is not None
        nn.init.constant_(tensor, 7.0)
    forget(norm, Draws(0, torch.tensor([1])))
    assert norm.weight.tolist() == [1.0] * 3
    assert norm.bias.tolist() == [0.0] * 3
    assert norm.running_mean is not None
    assert norm.running_mean.tolist() == [0.0] * 3
    assert norm.running_var is not None
    assert norm.running_var.tolist() == [1.0] * 3


def plain() -> nn.Module:
    """A norm without weights, and slopes below zero."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.PReLU(), nn.Flatten(), nn.PReLU(784), nn.Linear(784, 2)
    )


def swin() -> nn.Module:
    return SwinTransformer([4, 4], 8, [2], [2], [2, 2], num_classes=2)


@pytest.mark.parametrize("make", [plain, swin, tiny_vit])
def test_after_all_layers_forgot_nothing_is_what_was_learned(make: Callable[[], nn.Module]) -> None:
    model, x = make().eval(), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand_like(value) + 2.0)
    new = copy_of(model)
    modules = dict(new.named_modules())
    for number, name in enumerate(layers_from_the_top(model, x)):
        forget(modules[name], Draws(0, torch.tensor([number])))
    before, after = model.state_dict(), new.state_dict()
    trained = [name for name, value in before.items() if value.is_floating_point()]
    assert [name for name in trained if bool((before[name] == after[name]).any())] == []
    slopes = [module.weight for module in modules.values() if isinstance(module, nn.PReLU)]
    assert all(bool((slope == 0.25).all()) for slope in slopes)


def test_weights_that_the_module_around_reads_are_forgotten_in_front_of_its_own() -> None:
    block = "encoder.layers.encoder_layer_0"
    names = layers_from_the_top(tiny_vit(), torch.rand(1, 3, 16, 16))
    at = names.index(f"{block}.self_attention")
    inner = [f"{block}.ln_2", f"{block}.self_attention.out_proj", f"{block}.self_attention", f"{block}.ln_1"]
    assert names[at - 2 : at + 2] == inner


@pytest.mark.slow
def test_guided_backprop_is_flagged_and_the_gradient_and_grad_cam_are_not() -> None:
    model, x, y = trained()
    draws, before, found = Draws(0, torch.arange(len(x))), state_of(model), {}
    for name in ("gradient", "grad_cam", "guided_backprop"):

        def explain(net: nn.Module, name: str = name) -> Tensor:
            heat = ATTRIBUTIONS[name].function(net, x, y, draws=draws)
            assert isinstance(heat, Tensor)
            return heat

        found[name] = randomisation(model, x, explain)
    assert {name: cascade.badge for name, cascade in found.items()} == {
        "gradient": "passes",
        "grad_cam": "passes",
        "guided_backprop": "fails",
    }
    # Once all layers forgot, the gradient has lost its order; guided backprop keeps most of it half way down.
    assert float(found["gradient"].correlation[-1].mean()) < 0.3
    assert float(found["guided_backprop"].correlation[2].mean()) > 0.6
    assert state_of(model) == before


def test_what_cannot_forget_is_refused() -> None:
    x = torch.rand(1, 1, 4, 4)
    with pytest.raises(ValueError, match="no weights"):
        randomisation(nn.Flatten(), x, lambda model: x)
    with pytest.raises(ValueError, match="stages"):
        randomisation(Backwards(), x, lambda model: x, stages=0)

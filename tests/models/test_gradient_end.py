"""The module that ends the gradient is found wherever it stands, and none where nothing ends it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.models.gradient_end import gradient_end


class Acts(nn.Module):
    """Does one thing to what passes."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, z: Tensor) -> Tensor:
        match self.how:
            case "detach":
                return z.detach()
            case "begin again":
                return z.detach().requires_grad_(torch.is_grad_enabled())
            case "round":
                return (z * 8).round()  # fine enough that some units stay above zero
        return z * 2


def network(how: str, place: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)]
    return nn.Sequential(*layers[:place], Acts(how), *layers[place:]).train()


X = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("how", ["detach", "begin again", "round"])
def test_it_is_found_at_every_place(how: str, place: int) -> None:
    model = network(how, place)
    assert gradient_end(model, X) == str(place)
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("place", range(5))
def test_of_two_the_one_nearest_to_the_logits_is_named_if_both_round(place: int) -> None:
    assert gradient_end(nn.Sequential(Acts("round"), network("round", place)), X) == f"1.{place}"


def test_where_nothing_ends_it_nothing_is_named() -> None:
    assert gradient_end(network("pass", 2), X) == ""
    assert gradient_end(nn.Flatten(), X) == ""


def test_a_cut_outside_of_all_modules_has_no_name() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network("pass", 0)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.net(x.detach())
            return logits

    assert gradient_end(Cut(), X) == ""

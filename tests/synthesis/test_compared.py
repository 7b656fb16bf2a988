"""Comparisons of layers: the parts make up the whole, and each is formed when the pass is at its layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.core.activations import Partial
from advbench.core.draws import Draws
from advbench.core.gram import distance_from_gram, gram
from advbench.core.step_rules import plain
from advbench.core.targets import Reading
from advbench.synthesis.compared import Distance, Term, features, nearness
from advbench.synthesis.render import render

X = Draws(0, torch.arange(2)).uniform((3, 8, 8), "x")


def net(*, inplace: bool = True) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        convs = [nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)]
        return nn.Sequential(convs[0], nn.ReLU(inplace), convs[1], nn.ReLU(inplace)).eval()


def terms(model: nn.Module) -> list[Term]:
    wanted = features(model, X.flip(3), ["1", "3"])
    grams = {layer: gram(maps) for layer, maps in wanted.items()}
    weights = {"1": torch.tensor([1.0, 2.0]), "3": torch.tensor([3.0, 0.5])}
    textured = [Term(layer, weights[layer], _from_gram(grams[layer])) for layer in grams]
    return [
        *textured,
        Term("1", weights["3"], lambda maps, rows: (maps - wanted["1"][rows]).square().flatten(1).sum(1)),
    ]


def test_the_parts_of_the_layers_sum_to_the_score_and_its_gradient() -> None:
    model = net()
    target, rows = nearness(terms(model), "apart"), torch.tensor([1, 0])
    assert target.parts is not None
    part, partial = target.parts, Partial(model, target.layers, X[:1])
    z, other = X[rows].requires_grad_(True), X[rows].requires_grad_(True)
    whole = target.read(Reading(z.new_empty(0), partial(z), rows))
    summed = torch.stack(list(partial(other, lambda layer, maps: part(layer, maps, rows)).values())).sum(0)
    assert whole.shape == (2,)
    torch.testing.assert_close(whole, summed)
    grads = [torch.autograd.grad(score.sum(), at)[0] for score, at in ((whole, z), (summed, other))]
    assert grads[0].abs().max() > 0
    torch.testing.assert_close(*grads)


def test_on_the_way_back_each_distance_waits_for_its_layer() -> None:
    """Before, all of them formed their gradients first: of VGG-19 at 512 x 512, 130 MB that nobody needed yet."""
    model, told = net(inplace=False), list[str]()

    def noting(term: Term) -> Term:
        def distance(maps: Tensor, rows: Tensor) -> Tensor:
            value = term.distance(maps, rows)
            if value.requires_grad:
                value.register_hook(lambda grad: told.append(f"distance at {term.layer}"))  # type: ignore[no-untyped-call]
            return value

        return term._replace(distance=distance)

    def tell(module: nn.Module, into: object, out: object) -> None:
        told.append(f"layer {list(model).index(module)}")

    for layer in (0, 2):
        model[layer].register_full_backward_hook(tell)
    target = nearness([noting(term) for term in terms(model)[:2]], "apart")
    render(model, target, X, draws=Draws(0, torch.arange(2)), step=plain(0.1), steps=1)
    assert told == ["distance at 3", "layer 2", "distance at 1", "layer 0"]


def _from_gram(wanted: Tensor) -> Distance:
    return lambda maps, rows: distance_from_gram(maps, wanted[rows])


def test_an_error_that_is_not_about_the_size_comes_through() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no memory left")

    with pytest.raises(RuntimeError, match="no memory left"):
        features(nn.Sequential(Broken(), nn.Conv2d(3, 2, 1)), torch.rand(1, 3, 8, 8), ["1"])

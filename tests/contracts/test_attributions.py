"""Every registered attribution keeps the contract of its folder."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import in_pieces
from advbench.core.targets import Explained, logit, of_output, parse_target
from advbench.registry import ATTRIBUTIONS, AttributionInfo, Entry
from advbench.testing.witness import Quitter, QuitterError, state_of
from advbench.types import ConfigError
from tests.attributions.small_nets import SHAPES, FunctionalTwin, net_with, pooled_net, tiny_vit

METHODS: list[Entry[AttributionInfo]] = list(ATTRIBUTIONS)

# What keeps a method short here; the laws hold for every setting.
PARAMETERS: dict[str, dict[str, object]] = {
    "extremal_perturbation": {"steps": 5},
    "rise": {"masks": 40},
}

pytestmark = pytest.mark.parametrize("method", METHODS, ids=[entry.name for entry in METHODS])


def explain(method: Entry[AttributionInfo], model: nn.Module, x: Tensor, y: Explained, draws: Draws) -> Tensor:
    heat = method.function(model, x, y, draws=draws, **PARAMETERS.get(method.name, {}))
    assert isinstance(heat, Tensor)
    return heat


def case(method: Entry[AttributionInfo], count: int = 5) -> tuple[nn.Module, Tensor, Tensor, Draws]:
    """A model that has what the method needs, images, the classes it gives them, and draws."""
    model, shape = net_with(method.info.needs), SHAPES[method.info.needs]
    x = torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))
    return model, x, model(x).argmax(1), Draws(1, torch.arange(count))


def test_the_map_is_finite_and_of_the_images_size(method: Entry[AttributionInfo]) -> None:
    model, x, y, draws = case(method)
    heat = explain(method, model, x, y, draws)
    assert heat.shape in {x.shape, (5, 1, *x.shape[2:])}
    assert heat.dtype == x.dtype
    assert bool(torch.isfinite(heat).all())
    assert bool((heat != 0).any())
    assert not heat.requires_grad


def test_it_is_the_map_of_the_class_that_was_asked_for(method: Entry[AttributionInfo]) -> None:
    model, x, y, draws = case(method)
    first, second = (explain(method, model, x, classes, draws) for classes in (y, (y + 1) % 4))
    # What attention looks at does not depend on the class, unless a method weighs it with a gradient.
    assert torch.equal(first, second) == (method.name == "attention_rollout")


def test_batch_order_and_pieces_do_not_matter(method: Entry[AttributionInfo]) -> None:
    model, x, y, draws = case(method)
    together = explain(method, model, x, y, draws)
    for i in range(5):
        row = torch.tensor([4 - i])
        alone = explain(method, model, x[row], y[row], draws.rows(row))
        assert torch.allclose(alone, together[row], atol=1e-5)
    with in_pieces(2):
        assert torch.allclose(explain(method, model, x, y, draws), together, atol=1e-5)


def test_equal_seeds_give_equal_bits(method: Entry[AttributionInfo]) -> None:
    model, x, y, draws = case(method)
    assert torch.equal(explain(method, model, x, y, draws), explain(method, model, x, y, draws))


def test_no_samples_and_double_precision(method: Entry[AttributionInfo]) -> None:
    model, x, y, draws = case(method)
    none = torch.arange(0)
    assert explain(method, model, x[none], y[none], draws.rows(none)).shape[0] == 0
    single = explain(method, model, x, y, draws)
    double = explain(method, model.double(), x.double(), y, draws)
    assert double.dtype == torch.float64
    assert torch.allclose(double.float(), single, rtol=1e-3, atol=1e-4 * float(single.abs().max()))


def test_a_caller_without_gradients(method: Entry[AttributionInfo]) -> None:
    model, x, y, draws = case(method)
    heat = explain(method, model, x, y, draws)
    with torch.no_grad():
        assert torch.allclose(explain(method, model, x, y, draws), heat, atol=1e-6)
    wanting = x.clone().requires_grad_(True)
    assert torch.allclose(explain(method, model, wanting, y, draws), heat, atol=1e-6)
    assert wanting.grad is None


def test_one_score_by_several_names(method: Entry[AttributionInfo]) -> None:
    model, x, _, draws = case(method)
    heat = explain(method, model, x, torch.full((5,), 2), draws)
    for target in (logit(2), parse_target("class:2"), of_output(lambda output: output[:, 2])):
        assert torch.allclose(explain(method, model, x, target, draws), heat, atol=1e-5)


def test_model_and_images_are_left_as_they_came(method: Entry[AttributionInfo]) -> None:
    model, x, y, draws = case(method)
    model.train()
    next(model.parameters()).requires_grad_(False)
    before_x, before, random = x.clone(), state_of(model), torch.get_rng_state()
    explain(method, model, x, y, draws)
    assert state_of(model) == before
    assert torch.equal(x, before_x)
    assert not x.requires_grad
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("error", [QuitterError, KeyboardInterrupt])
def test_a_break_in_the_middle_leaves_nothing_behind(
    method: Entry[AttributionInfo], error: type[BaseException]
) -> None:
    model, x, y, draws = case(method)
    quitter = Quitter(model, error)
    before = state_of(quitter)
    for passes in (1, 0):  # at the first pass, and at the second if there is one
        quitter.passes, broken = passes, False
        try:
            explain(method, quitter, x, y, draws)
        except error:
            broken = True
        assert broken == (quitter.passes >= 2)
        assert state_of(quitter) == before


def test_a_relu_is_a_relu_however_it_is_called(method: Entry[AttributionInfo]) -> None:
    if method.info.needs in ("pooled maps", "attention"):
        pytest.skip("needs another kind of network")
    model, x, y, draws = case(method)
    twin = FunctionalTwin(model)
    assert torch.allclose(explain(method, twin, x, y, draws), explain(method, model, x, y, draws), atol=1e-5)


def test_complete_maps_sum_to_a_difference_of_scores(method: Entry[AttributionInfo]) -> None:
    if not method.info.complete:
        pytest.skip("promises no sum")
    model, x, y, draws = case(method)
    black = torch.zeros_like(x)
    total = explain(method, model, x, y, draws).flatten(1).sum(1)
    rise = (model(x) - model(black)).detach().gather(1, y[:, None])[:, 0]
    assert torch.allclose(total, rise, rtol=0.02, atol=0.02 * float(rise.abs().max()))


def test_rules_for_relus_refuse_a_network_of_tanh(method: Entry[AttributionInfo]) -> None:
    if method.info.needs != "relu":
        pytest.skip("needs no ReLU")
    saturating = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    x = torch.rand(2, 1, 6, 6)
    before = state_of(saturating)
    with pytest.raises(ConfigError, match=rf"{method.name}\b.*; gradient"):
        explain(method, saturating, x, torch.tensor([0, 1]), Draws(0, torch.arange(2)))
    assert state_of(saturating) == before


def test_a_model_that_lacks_what_is_needed_is_refused_with_advice(method: Entry[AttributionInfo]) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    lacking = {"": None, "relu": tiny_vit(), "maps": flat, "pooled maps": flat, "attention": pooled_net()}
    model = lacking[method.info.needs]
    if model is None:
        pytest.skip("works for every model")
    x, y = torch.rand(2, 3, 16, 16), torch.tensor([0, 1])
    before = state_of(model)
    with pytest.raises(ConfigError) as caught:
        explain(method, model, x, y, Draws(0, torch.arange(2)))
    advice = [name for name in ATTRIBUTIONS.names() if name in str(caught.value) and name != method.name]
    assert advice, f"names no method that works instead: {caught.value}"
    assert state_of(model) == before

"""Gradients: right, per sample, never NaN, the same in pieces; and a model comes out as it went in."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.core.gradients import (
    attended_rows,
    attending,
    backprop,
    class_gradient,
    evaluate,
    frozen,
    in_pieces,
    nearest_lead,
)
from advbench.core.losses import cross_entropy
from advbench.core.objectives import Objective, misclassify
from advbench.testing import Linear
from advbench.types import Evaluation
from tests.strategies import seeds


def smooth_net(seed: int = 0) -> nn.Module:
    """A small float64 net, differentiable everywhere, without batch statistics."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 4))
    return net.double().eval()


def images(count: int = 5) -> Tensor:
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def scored(function: object) -> Objective:
    """The objective whose loss is function(z) (A,)."""
    assert callable(function)
    return lambda z, rows: Evaluation(function(z), torch.zeros(len(z), dtype=torch.bool))


def test_backprop_agrees_with_finite_differences() -> None:
    x, y, h = images(2), torch.tensor([0, 3]), 1e-6
    objective, rows = misclassify(smooth_net(), y), torch.arange(2)
    evaluation, grad = backprop(objective, x, rows)
    expected = torch.zeros_like(x)
    for i in range(16):
        step = torch.zeros(16, dtype=x.dtype)
        step[i] = h
        step = step.reshape(1, 1, 4, 4)
        slope = (objective(x + step, rows).loss - objective(x - step, rows).loss) / (2 * h)
        expected.flatten(1)[:, i] = slope.detach()
    torch.testing.assert_close(grad, expected, atol=1e-8, rtol=1e-6)
    assert not evaluation.loss.requires_grad
    torch.testing.assert_close(evaluation.loss, objective(x, rows).loss.detach())


def test_a_sample_has_the_gradient_it_has_alone() -> None:
    x, y = images(), torch.tensor([0, 1, 2, 3, 0])
    objective = misclassify(smooth_net(), y)
    whole = backprop(objective, x, torch.arange(5))
    for i in range(5):
        rows = torch.tensor([i])
        alone = backprop(objective, x[rows], rows)
        torch.testing.assert_close(alone[1], whole[1][rows])
        torch.testing.assert_close(alone[0].loss, whole[0].loss[rows])


@given(st.integers(1, 7), st.integers(1, 6))
def test_pieces_give_what_the_whole_gives(size: int, count: int) -> None:
    x, y = images(count), torch.arange(count) % 4
    objective, rows = misclassify(smooth_net(), y), torch.arange(count)
    seen = []

    def watched(z: Tensor, rows: Tensor) -> Evaluation:
        seen.append(len(z))
        return objective(z, rows)

    whole, grad = backprop(objective, x, rows)
    with in_pieces(size):
        pieces, grad_pieces = backprop(watched, x, rows)
        looked = evaluate(watched, x, rows)
    assert max(seen) <= size
    assert sum(seen) == 2 * count
    torch.testing.assert_close(grad_pieces, grad)
    for found in (pieces, looked):
        torch.testing.assert_close(found.loss, whole.loss)
        assert torch.equal(found.reached, whole.reached)


def test_pieces_end_with_their_context_also_on_exceptions() -> None:
    sizes: list[int] = []
    objective = scored(lambda z: sizes.append(len(z)) or z.flatten(1).sum(1))
    with in_pieces(2), in_pieces(None):
        evaluate(objective, images(), torch.arange(5))
    with pytest.raises(RuntimeError, match="planted"), in_pieces(2):
        raise RuntimeError("planted")
    evaluate(objective, images(), torch.arange(5))
    assert sizes == [5, 5]


@pytest.mark.parametrize(
    "function",
    [
        lambda z: z.flatten(1).sum(1).sub(2.0).clamp_min(0.0).sqrt(),  # slope inf at 0, then 0 * inf
        lambda z: (z * 0.0).flatten(1).sum(1) / 0.0,
        lambda z: (z.flatten(1) * 1e308).exp().sum(1),
        lambda z: -(z.flatten(1) * 0.0).log().sum(1),
    ],
)
def test_what_is_not_finite_becomes_zero(function: object) -> None:
    z = torch.tensor([[1.0, 1.0], [0.5, 0.5]], dtype=torch.float64)
    _, grad = backprop(scored(function), z, torch.arange(2))
    assert bool(grad.isfinite().all())
    assert not grad.any()


def test_one_sample_without_a_gradient_does_not_spoil_the_others() -> None:
    z = torch.tensor([[0.0], [4.0]])
    _, grad = backprop(scored(lambda z: z[:, 0].sqrt()), z, torch.arange(2))
    assert grad.tolist() == [[0.0], [0.25]]


def test_a_score_that_ignores_the_image_or_cannot_be_differentiated_has_gradient_zero() -> None:
    z, weight = torch.ones(2, 3), torch.ones(2, requires_grad=True)
    for function in (lambda z: (z > 0).float().sum(1), lambda z: 2.0 * weight, lambda z: torch.ones(2)):
        evaluation, grad = backprop(scored(function), z, torch.arange(2))
        assert not grad.any()
        assert not evaluation.loss.requires_grad
    assert weight.grad is None


def test_gradients_are_found_inside_no_grad_and_none_are_left_outside() -> None:
    net, x = smooth_net(), images(2)
    with torch.no_grad():
        _, grad = backprop(misclassify(net, torch.tensor([0, 1])), x, torch.arange(2))
    assert grad.any()
    assert not x.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not evaluate(misclassify(net, torch.tensor([0, 1])), x, torch.arange(2)).loss.requires_grad


@pytest.mark.parametrize("work", [backprop, evaluate])
def test_a_wrapper_learns_which_rows_it_is_asked_about(work: object) -> None:
    seen: list[list[int] | None] = []

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        attended = attended_rows()
        seen.append(None if attended is None else attended.tolist())
        return Evaluation(z.flatten(1).sum(1), torch.zeros(len(z), dtype=torch.bool))

    ask = backprop if work is backprop else evaluate
    with in_pieces(2):
        ask(objective, images(3), torch.tensor([7, 1, 4]))
    assert seen == [[7, 1], [4]]
    assert attended_rows() is None
    with pytest.raises(RuntimeError, match="planted"), attending(torch.arange(2)):
        raise RuntimeError("planted")
    assert attended_rows() is None


def test_class_gradient_is_that_of_the_raw_score() -> None:
    weight = torch.tensor([[1.0, 2.0], [-3.0, 4.0], [0.0, 1.0]])
    net = nn.Linear(2, 3)
    with torch.no_grad():
        net.weight.copy_(weight)
    found = class_gradient(net, torch.rand(3, 2), torch.tensor([2, 0, 1]))
    assert torch.equal(found, weight[[2, 0, 1]])


def trainee() -> nn.Module:
    """A model in a mixed state: training, one part in eval mode, one frozen parameter, a gradient, batch statistics."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8, 3))
    net.train()
    net[1].eval()
    net[0].weight.requires_grad_(False)
    cross_entropy(net(torch.rand(2, 1, 4, 4)), torch.tensor([0, 1])).sum().backward()
    return net


def state(net: nn.Module) -> list[object]:
    tensors = [each.detach().clone() for each in (*net.parameters(), *net.buffers())]
    grads = [None if each.grad is None else each.grad.clone() for each in net.parameters()]
    return [
        [module.training for module in net.modules()],
        [parameter.requires_grad for parameter in net.parameters()],
        [tensor.tolist() for tensor in tensors],
        [None if grad is None else grad.tolist() for grad in grads],
        [len(module._forward_hooks) for module in net.modules()],
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_a_frozen_model_comes_back_as_it_was(fails: bool) -> None:
    net = trainee()
    before, random = state(net), torch.get_rng_state()
    try:
        with frozen(net) as inside:
            assert inside is net
            assert not any(module.training for module in net.modules())
            assert not any(parameter.requires_grad for parameter in net.parameters())
            backprop(misclassify(net, torch.tensor([0, 1])), torch.rand(2, 1, 4, 4), torch.arange(2))
            random = torch.get_rng_state()
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    assert state(net) == before
    assert torch.equal(torch.get_rng_state(), random)


@given(seeds())
def test_leads_have_the_gradients_of_differences_of_logits(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    z = torch.randn(5, 1, 2, 3, generator=generator, dtype=torch.float64)
    classes = torch.stack([torch.randperm(4, generator=generator)[:3] for _ in range(5)])

    class Squared(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).square() @ weight.T

    logits, each = Squared()(z), torch.arange(5)
    leads = torch.stack([logits[each, classes[:, 0]] - logits[each, classes[:, m]] for m in (1, 2)], 1)
    grads = 2.0 * z.flatten(1)[:, None] * (weight[classes[:, :1]] - weight[classes[:, 1:]])  # (5, 2, 6)
    for m in (0, 1):
        lead, grad = nearest_lead(Squared(), z, each, classes[:, [0, m + 1]], by_length)
        torch.testing.assert_close(lead, leads[:, m])
        torch.testing.assert_close(grad.flatten(1), grads[:, m])
    with in_pieces(2):
        lead, grad = nearest_lead(Squared(), z, each, classes, by_length)
    nearest = (leads.abs() / grads.norm(dim=2)).argmin(1)
    torch.testing.assert_close(lead, leads[each, nearest])
    torch.testing.assert_close(grad.flatten(1), grads[each, nearest])
    lead, grad = nearest_lead(Squared(), z, each, classes[:, :1], by_length)
    assert torch.equal(lead, torch.zeros_like(lead))
    assert torch.equal(grad, torch.zeros_like(z))


def by_length(value: Tensor, grad: Tensor) -> Tensor:
    """How far a linear function of this value and gradient is from 0."""
    return value.abs() / grad.flatten(1).norm(dim=1)


@pytest.mark.parametrize("count", [2, 16, 17, 18, 40])
def test_of_many_classes_a_few_gradients_are_held_at_once(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    model = Linear(torch.randn(count, 6, generator=generator), torch.randn(count, generator=generator))
    z, held = torch.rand(3, 1, 2, 3, generator=generator, dtype=torch.float64), []

    def watched(value: Tensor, grad: Tensor) -> Tensor:
        held.append(len(grad) // 3)
        return by_length(value, grad)

    lead, grad = nearest_lead(model, z, torch.arange(3), torch.arange(count).expand(3, -1), watched)
    assert max(held) <= 16
    assert sum(held) == count - 1 + len(held) - 1  # each of them once, and every time but the first the nearest so far
    leads, slopes = model(z)[:, :1] - model(z)[:, 1:], model.weight[:1] - model.weight[1:]
    torch.testing.assert_close(by_length(lead, grad), (leads.abs() / slopes.norm(dim=1)).amin(1))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_freezing_leaves_inference_mode_and_no_other(mode: type[torch.no_grad]) -> None:
    with mode():
        graph = torch.is_grad_enabled()
        with frozen(smooth_net()):
            assert not torch.is_inference_mode_enabled()
            assert torch.is_grad_enabled() == graph
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)

"""A substitute learns from labels alone, and every label is counted."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from advbench.datasets.dataset import Dataset
from advbench.defenses.substitute import substitute
from advbench.defenses.train import Training, train
from advbench.models.mlp import mlp
from advbench.models.small_cnn import small_cnn
from advbench.types import ConfigError


class Counting(nn.Module):
    """A victim that counts what it is asked, and refuses to be differentiated."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        self.asked.append(x.clone())
        logits: Tensor = self.model(x)
        return logits


class OnlyLabels(nn.Module):
    """The same answers as `model`, with everything but the label thrown away."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.one_hot(self.model(x).argmax(1), 10).float()


@pytest.fixture(scope="module")
def victim(digits: Dataset) -> nn.Module:
    model = small_cnn((1, 8, 8), 10, seed=1)
    train(model, digits.images, digits.labels, training=Training(epochs=6, batch_size=64), seed=1, progress=False)
    return model.eval()


def state(model: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def student() -> nn.Module:
    return mlp((1, 8, 8), 10, seed=2)


@pytest.mark.slow
def test_it_comes_to_agree_with_the_victim(victim: nn.Module, digits: Dataset, unseen_digits: Dataset) -> None:
    learn = partial(substitute, victim, images=digits.images, labels=digits.labels, seed=0, progress=False)
    small, large = learn(student(), rounds=0), learn(student(), rounds=4)
    assert small.agreement is not None
    assert large.agreement is not None
    assert large.agreement > 0.8
    x = unseen_digits.images(torch.arange(len(unseen_digits)))
    with torch.no_grad():
        measured = float((large.model(x).argmax(1) == victim(x).argmax(1)).float().mean())
    assert large.agreement == pytest.approx(measured, abs=0.06)


@pytest.mark.parametrize(
    ("seeds", "rounds", "reservoir", "queries"), [(100, 2, 0, 400), (7, 3, 0, 56), (10, 3, 8, 34), (5, 0, 0, 5)]
)
def test_the_number_of_queries_is_the_number_of_labels_asked_for(
    *, seeds: int, rounds: int, reservoir: int, queries: int, victim: nn.Module, digits: Dataset
) -> None:
    asked = Counting(victim)
    found = substitute(
        asked,
        student(),
        digits.images,
        digits.labels,
        seed=0,
        seeds=seeds,
        rounds=rounds,
        reservoir=reservoir,
        epochs=1,
        progress=False,
    )
    assert found.queries == queries
    # What the victim saw beyond that served to measure the agreement, on samples that the substitute never saw.
    seen = torch.cat(asked.asked).flatten(1)
    assert len(seen) - queries == 1000
    assert not bool((seen[:queries, None] == seen[None, queries:]).all(2).any())


def test_nothing_but_labels_is_used(victim: nn.Module, digits: Dataset) -> None:
    learn = partial(
        substitute, images=digits.images, labels=digits.labels, seed=0, seeds=30, rounds=2, epochs=2, progress=False
    )
    rich, poor = learn(victim, student()), learn(OnlyLabels(victim), student())
    assert all(torch.equal(*pair) for pair in zip(state(rich.model), state(poor.model), strict=True))
    assert rich[1:] == poor[1:]


def test_the_true_labels_choose_the_seeds_and_teach_nothing(victim: nn.Module, digits: Dataset) -> None:
    asked = Counting(victim)
    learn = partial(substitute, images=digits.images, seed=0, seeds=30, rounds=1, epochs=1, progress=False)
    learn(asked, student(), labels=digits.labels)
    first = asked.asked[0]
    everything = digits.images(torch.arange(len(digits)))
    ids = (everything.flatten(1)[None] == first.flatten(1)[:, None]).all(2).float().argmax(1)
    assert digits.labels[ids].bincount(minlength=10).tolist() == [3] * 10
    renamed = 9 - digits.labels  # the same classes by other names
    one, other = learn(victim, student(), labels=digits.labels), learn(victim, student(), labels=renamed)
    assert sum(map(torch.equal, state(one.model), state(other.model))) == len(state(one.model))


def test_new_inputs_are_one_signed_step_away_and_in_the_box(victim: nn.Module, digits: Dataset) -> None:
    asked = Counting(victim)
    learn = partial(substitute, asked, images=digits.images, labels=digits.labels, seed=0, progress=False)
    learn(student(), seeds=10, rounds=1, epochs=1, step_size=0.25)
    first, second = asked.asked[:2]
    moves = (second[:, None] - first[None]).flatten(2)  # (10, 10, D)
    parents = moves.abs().sum(2).argmin(1)
    assert sorted(parents.tolist()) == list(range(10))
    signs = moves[torch.arange(10), parents].sign().reshape(second.shape)
    assert torch.allclose(second, (first[parents] + 0.25 * signs).clamp(0.0, 1.0))
    assert float((signs != 0).float().mean()) > 0.3  # elsewhere the box is in the way


def test_the_sign_of_the_step_flips_when_asked_to(victim: nn.Module, digits: Dataset) -> None:
    def rounds(flip_every: int) -> list[Tensor]:
        asked = Counting(victim)
        learn = partial(substitute, asked, images=digits.images, labels=digits.labels, seed=0, progress=False)
        learn(student(), seeds=10, rounds=2, epochs=1, flip_every=flip_every)
        return asked.asked

    steady, flipping = rounds(0), rounds(1)
    assert torch.equal(steady[1], flipping[1])
    up, down = steady[2], flipping[2]
    inside = (up > 0) & (up < 1) & (down > 0) & (down < 1)
    assert float((up != down)[inside].float().mean()) > 0.5
    for middle, free in zip((up + down) / 2, inside, strict=True):
        assert any(torch.allclose(middle[free], x[free], atol=1e-6) for x in torch.cat(steady[:2]))


@pytest.mark.parametrize(("name", "value"), [("seeds", 0), ("rounds", -1), ("flip_every", -1), ("reservoir", -2)])
def test_impossible_counts_are_refused(name: str, value: int, victim: nn.Module, digits: Dataset) -> None:
    with pytest.raises(ConfigError, match=f"substitute.{name} must be at least"):
        substitute(victim, student(), digits.images, digits.labels, seed=0, **{name: value})  # type: ignore[arg-type]


def test_more_seeds_than_samples_are_refused(victim: nn.Module, digits: Dataset) -> None:
    with pytest.raises(ConfigError, match="only 50 samples"):
        substitute(victim, student(), digits.images, digits.labels[:50], seed=0)

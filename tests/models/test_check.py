"""A model that is no classifier of [0, 1] images is refused, and no model is changed by the look at it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from advbench.models.check import SAMPLES, check_model
from advbench.models.load import load_model
from advbench.models.weights import weights_hash
from advbench.types import ConfigError

X = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Answering(nn.Module):
    """A model that returns `answer(logits)` of a linear net."""

    def __init__(self, answer: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.net = load_model("linear", shape=(1, 4, 4), classes=3)
        self.answer = answer

    def forward(self, x: Tensor) -> object:
        return self.answer(self.net(x))


REFUSED: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "softmax": (lambda logits: logits.softmax(1), "remove its softmax"),
    "half softmax": (lambda logits: logits.softmax(1).half(), "remove its softmax"),
    "one-hot": (lambda logits: nn.functional.one_hot(logits.argmax(1), 3).float(), "remove its softmax"),
    "decision": (lambda logits: logits.argmax(1), "decisions"),
    "more classes": (lambda logits: torch.cat([logits, logits], 1), "gives 6 logits per image, the data has 3 classes"),
    "a map": (lambda logits: logits[..., None], r"got \(4, 3, 1\)"),
    "summed": (lambda logits: logits.sum(0, keepdim=True), r"got \(1, 3\)"),
    "nan": (lambda logits: logits / 0 * 0, "not finite"),
    "a tuple": (lambda logits: (logits, logits), "returned tuple"),
    "crash": (lambda logits: logits @ logits, r"does not take images \(1, 4, 4\)"),
}


@pytest.mark.parametrize(("answer", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_logits_is_refused(answer: Callable[[Tensor], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_model(Answering(answer), X, 3)


@pytest.mark.parametrize("answer", [lambda z: z, lambda z: z.log_softmax(1), lambda z: z.sigmoid(), lambda z: z * 0])
def test_logits_of_any_kind_pass(answer: Callable[[Tensor], object]) -> None:
    check_model(Answering(answer), X, 3)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X * 255, "divide bytes by 255"),
        ((X - 0.5) / 0.5, r"images must lie in \[0, 1\]"),
        (X / 0, "images must lie in"),
        (X * float("nan"), "images must lie in"),
        (X.double(), "must be float32"),
        (X[:0], "B >= 1"),
        (X[0], r"must be \(B, C, H, W\)"),
    ],
)
def test_images_outside_the_box_are_refused(x: Tensor, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_model(Answering(lambda z: z), x, 3)


@pytest.mark.parametrize("answer", [lambda z: z, lambda z: z.softmax(1)], ids=["accepted", "refused"])
def test_the_model_is_left_as_it_came(answer: Callable[[Tensor], object]) -> None:
    seen: list[int] = []

    def count(z: Tensor) -> object:
        seen.append(len(z))
        return answer(nn.functional.dropout(z, 0.5, training=True))  # draws from torch's generator

    model, norm = Answering(count), nn.BatchNorm2d(1)
    model.add_module("norm", norm)
    model.train()
    model.net.eval()
    before, state = weights_hash(model), torch.get_rng_state()
    try:
        check_model(model, X, 3)
    except ConfigError as error:
        assert "softmax" in str(error)  # noqa: PT017
    assert seen == [SAMPLES]
    assert weights_hash(model) == before
    assert (model.training, model.net.training, norm.training) == (True, False, True)
    assert all(weight.requires_grad for weight in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)

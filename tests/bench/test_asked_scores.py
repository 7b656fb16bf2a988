"""What a user asks to have explained: classes by number or name, targets, the most likely classes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advbench.bench.asked_scores import Asked, asked_scores, class_number, numbered_classes
from advbench.core.targets import Target
from advbench.types import ConfigError

NAMES = ("tabby", "Egyptian cat", "black-and-tan coonhound", "crane", "crane", "can_opener")
LOGITS = torch.tensor([[0.0, 5.0, 1.0, 0.0, 2.0, 0.0], [9.0, 0.0, 0.0, 0.0, 0.0, 8.0]])


def asked(*, classes: tuple[str, ...] = (), targets: tuple[str, ...] = (), top: int | None = None) -> list[Asked]:
    return asked_scores(LOGITS, NAMES, classes=classes, targets=targets, top=top)


@given(st.integers(-10, 20))
def test_a_number_is_a_class_or_refused(number: int) -> None:
    if 0 <= number < len(NAMES):
        assert class_number(str(number), NAMES) == number
    else:
        with pytest.raises(ConfigError, match=r"classes are 0 \.\. 5"):
            class_number(str(number), NAMES)


@pytest.mark.parametrize(
    ("text", "number"), [("egyptian cat", 1), ("Egyptian_cat", 1), (" black-and-tan coonhound ", 2), ("can opener", 5)]
)
def test_a_name_however_it_is_written(text: str, number: int) -> None:
    assert class_number(text, NAMES) == number


def test_names_that_are_none_or_two() -> None:
    with pytest.raises(ConfigError, match="did you mean 'tabby'"):
        class_number("taby", NAMES)
    with pytest.raises(ConfigError, match=r"2 classes are named 'crane': 3, 4"):
        class_number("crane", NAMES)


def test_names_in_a_target_become_numbers_and_all_else_stays() -> None:
    text = "class:tabby - 0.5 * prob:can_opener + features.12:17@6,6 - layer4 + log_prob:7000"
    assert numbered_classes(text, NAMES) == "class:0 - 0.5 * prob:5 + features.12:17@6,6 - layer4 + log_prob:7000"
    with pytest.raises(ConfigError, match="no class 'taby'; did you mean 'tabby'"):
        numbered_classes("class:taby", NAMES)


def test_without_a_wish_it_is_what_the_net_sees() -> None:
    (only,) = asked()
    assert only == Asked(("class:1", "class:0"), ("Egyptian cat", "tabby"))
    ((places, classes),) = only.explained([0, 1])
    assert places == [0, 1]
    assert isinstance(classes, torch.Tensor)
    assert classes.tolist() == [1, 0]


def test_the_most_likely_classes_of_each_sample() -> None:
    first, second = asked(top=2)
    assert first == asked()[0]
    assert second.texts == ("class:4", "class:5")
    with pytest.raises(ConfigError, match="there are 6 classes"):
        asked(top=7)


def test_names_in_targets_and_y_for_the_predicted_class() -> None:
    (only,) = asked(targets=("log_prob:y - 0.5 * class:black-and-tan coonhound",))
    assert only.texts == ("log_prob:1 - 0.5 * class:2", "log_prob:0 - 0.5 * class:2")
    assert only.labels[0] == "log P(Egyptian cat) - 0.5 * black-and-tan coonhound"
    groups = only.explained([0, 1])
    assert [places for places, _ in groups] == [[0], [1]]
    assert all(isinstance(score, Target) for _, score in groups)


@pytest.mark.parametrize("text", ["features.12:17@6,6", "features.12", "features.12:3@max"])
def test_a_unit_stays_as_it_is_written(text: str) -> None:
    (only,) = asked(targets=(text,))
    assert only.texts == only.labels == (text, text)
    ((places, score),) = only.explained([1, 0])
    assert places == [0, 1]
    assert isinstance(score, Target)


@pytest.mark.parametrize("text", ["", "class:", "x:y:z", "prob:nobody", "class:1 + a b"])
def test_a_target_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        asked(targets=(text,))


def test_order_is_classes_targets_top() -> None:
    texts = [one.texts[0] for one in asked(classes=("tabby",), targets=("prob:y",), top=1)]
    assert texts == ["class:0", "prob:1", "class:1"]

"""Matrices to test with: a document that uses every kind of key, and a way to write it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

Document = dict[str, object]

DOCUMENT: Document = {
    "schema": 1,
    "question": "Does anything hold?",
    "seed": 3,
    "data": {"name": "digits", "split": "test", "count": 20, "choose": "stratified"},
    "models": ["linear", {"small_cnn": {"width": [4, 8]}}],
    "defenses": [
        {"none": {"epochs": 2, "lr": 0.01}},
        {"adversarial": {"eps": "1/5", "norm": "inf", "steps": [3, 7], "epochs": 2, "optimizer": "sgd"}},
    ],
    "threats": [{"norm": "inf", "eps": [0.1, "8/255"]}, {"norm": 2}],
    "attacks": [
        "fgsm",
        {"pgd": {"steps": [2, 5], "relative_step": 2.5, "random_start": False, "goal": ["untargeted", "next", 4]}},
        {"fooling": {"steps": 3}},
        {"transfer": {"substitute": ["linear", {"twin": {"defense": "none"}}], "via": {"pgd": {"steps": 3}}}},
        {"transfer": {"substitute": {"labels": {"model": "linear", "seeds": 10, "rounds": 1}}}},
    ],
    "controls": [{"random_sphere": {"tries": 5}}],
    "explain": ["saliency"],
    "exclude": [{"attack": "pgd", "steps": 5, "model": "linear", "because": "linear models need no more"}],
    "precision": "float32",
}


@pytest.fixture(scope="session")
def document() -> Document:
    """The document; a test that changes it copies it first."""
    return DOCUMENT


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Document], Path]:
    """Write a document as block-style YAML, keys in its own order, always under the same name."""
    path = tmp_path_factory.mktemp("matrices") / "m.yaml"

    def write_document(content: Document) -> Path:
        path.write_text(yaml.safe_dump(content, sort_keys=False, default_flow_style=False, width=1000))
        return path

    return write_document

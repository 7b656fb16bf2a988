"""Result folders as the runner writes them, from real attacks on linear models of the bundled digits.

Everything in them is computed, not made up: logistic regressions with weak and strong regularisation, a gradient step,
several steps, a transferred step, ascent until the class changes, and a random sphere.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from advbench.store import write_json, write_table, write_tensors
from advbench.types import Outcomes, Radius

Array = NDArray[np.float64]
LINF = ("1/32", "1/16", "0.1", "0.2")
L2 = ("0.25", "0.5", "1", "2")
DEFENSES = {"none": 50.0, "fast_adversarial eps=0.1": 0.02, "adversarial eps=0.1": 0.003}


@dataclass(frozen=True)
class Linear:
    weight: Array  # (K, D)
    bias: Array  # (K,)

    def logits(self, x: Array) -> Array:
        return x @ self.weight.T + self.bias


@cache
def digits(n: int) -> tuple[Array, NDArray[np.int64]]:
    images, labels = load_digits(return_X_y=True)
    return images[-n:] / 16, labels[-n:].astype(np.int64)


@cache
def linear(strength: float) -> Linear:
    images, labels = load_digits(return_X_y=True)
    fit = LogisticRegression(C=strength, max_iter=400).fit(images[:-400] / 16, labels[:-400])
    return Linear(fit.coef_, fit.intercept_)


Attack = Callable[[Linear, Array, NDArray[np.int64], float, str], Array]


def direction(model: Linear, x: Array, y: NDArray[np.int64]) -> Array:
    """Towards the nearest other class."""
    z = model.logits(x)
    z[np.arange(len(y)), y] = -math.inf
    return model.weight[z.argmax(1)] - model.weight[y]


def step(model: Linear, x: Array, y: NDArray[np.int64], eps: float, norm: str) -> Array:
    g = direction(model, x, y)
    unit = np.sign(g) if norm == "linf" else g / np.linalg.norm(g, axis=1, keepdims=True)
    return np.clip(x + eps * unit, 0, 1)


def steps(model: Linear, x: Array, y: NDArray[np.int64], eps: float, norm: str) -> Array:
    z = x
    for _ in range(4):
        z = step(model, z, y, eps / 4, norm)
    return z


def transfer(model: Linear, x: Array, y: NDArray[np.int64], eps: float, norm: str) -> Array:
    return step(linear(1.0), x, y, eps, norm)


def random_sphere(model: Linear, x: Array, y: NDArray[np.int64], eps: float, norm: str) -> Array:
    g = np.random.default_rng(0).standard_normal(x.shape)
    unit = np.sign(g) if norm == "linf" else g / np.linalg.norm(g, axis=1, keepdims=True)
    return np.clip(x + eps * unit, 0, 1)


def loss_ascent(model: Linear, x: Array, y: NDArray[np.int64], eps: float, norm: str) -> Array:
    """Goes on until the class changes; eps is not used."""
    z = x.copy()
    for _ in range(15):
        held = model.logits(z).argmax(1) == y
        z = np.where(held[:, None], step(model, z, y, 0.15, "l2"), z)
    return z


ATTACKS: dict[str, Attack] = {f.__name__: f for f in (transfer, loss_ascent, random_sphere)}
ATTACKS |= {"fgsm": step, "pgd": steps}


def rows(model: Linear, attack: Attack, norm: str, grid: Sequence[str] | None, n: int) -> tuple[Outcomes, Array]:
    x, y = digits(n)
    clean = model.logits(x)
    parts, images = [], []
    carried = x
    already = clean.argmax(1) != y
    for text in grid or ("nan",):
        eps = math.nan if grid is None else float(Radius(text))
        x_adv = np.where(already[:, None], carried, attack(model, x, y, eps, norm))
        delta, logits = x_adv - x, model.logits(x_adv)
        fooled = logits.argmax(1) != y
        evidence = np.where(already, 1, 0)
        parts.append(_outcomes(eps, y, clean, logits=logits, delta=delta, evidence=evidence))
        images.append(x_adv)
        carried, already = x_adv, fooled
    return Outcomes.concat(parts), np.concatenate(images)


def _outcomes(
    eps: float, y: NDArray[np.int64], clean: Array, *, logits: Array, delta: Array, evidence: Array
) -> Outcomes:
    n = len(y)
    correct, fooled = clean.argmax(1) == y, logits.argmax(1) != y
    ones = np.ones(n, dtype=np.int64)
    values = {
        "sample_id": np.arange(1000, 1000 + n),
        "eps": np.full(n, eps),
        "label": y,
        "target": -ones,
        "clean_pred": clean.argmax(1),
        "adv_pred": logits.argmax(1),
        "clean_correct": correct,
        "fooled": fooled,
        "in_ball": ones > 0,
        "in_box": ones > 0,
        "l0": (delta != 0).sum(1).astype(float),
        "l1": np.abs(delta).sum(1),
        "l2": np.linalg.norm(delta, axis=1),
        "linf": np.abs(delta).max(1),
        "margin_clean": _margin(clean, y),
        "margin_adv": _margin(logits, y),
        "first_success_step": np.where(fooled, 1, -1),
        "hits": fooled.astype(np.int64),
        "forwards": 6 * ones,
        "backwards": 5 * ones,
        "queries": 0 * ones,
        "status": np.where(~correct, 2, np.where(fooled, 1, 0)).astype(np.int8),
        "evidence": evidence.astype(np.int8),
        "blind": ones < 0,
    }
    return Outcomes(**{name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in values.items()})


def _margin(logits: Array, y: NDArray[np.int64]) -> NDArray[np.float32]:
    true = logits[np.arange(len(y)), y]
    others = logits.copy()
    others[np.arange(len(y)), y] = -math.inf
    return (true - others.max(1)).astype(np.float32)


def gallery(model: Linear, table: pd.DataFrame, images: Array, attack: str) -> dict[str, torch.Tensor]:
    last = table.assign(row=range(len(table))).drop_duplicates("sample_id", keep="last").reset_index(drop=True)
    fooled = last[(last.status == "fooled")].sort_values(["margin_clean", "sample_id"]).index.tolist()
    held = last[last.status == "held"].sort_values(["margin_adv", "sample_id"]).index.tolist()
    middle = len(fooled) // 2
    groups = [fooled[:3], fooled[middle : middle + 3], fooled[-3:], held[:3]]
    picked = [(group, i) for group, members in enumerate(groups) for i in members]
    index = [i for _, i in picked]
    x = digits(len(last))[0][index]
    x_adv = images[last.row.to_numpy()[index]]
    y = last.label.to_numpy()[index]
    paths = np.stack([model.logits(x + (x_adv - x) * t).argmax(1) for t in np.linspace(0, 1, 16)], 1)
    if attack == "loss_ascent":
        stop = (paths == y[:, None]).sum(1) + 2
        paths = np.where(np.arange(16)[None] < stop[:, None], paths, -1)
    maps = {"clean": model.weight[y] * x, "adv": model.weight[model.logits(x_adv).argmax(1)] * x_adv}
    values = {
        "sample_id": last.sample_id.to_numpy()[index],
        "group": np.array([g for g, _ in picked], dtype=np.int64),
        "x": _image(x),
        "x_adv": _image(x_adv),
        "probabilities_clean": _softmax(model.logits(x)),
        "probabilities_adv": _softmax(model.logits(x_adv)),
        "trajectory": paths.astype(np.int64),
        "saliency_clean": _image(maps["clean"]),
        "saliency_adv": _image(maps["adv"]),
        "grad_cam_clean": _image(np.abs(maps["clean"])),
        "grad_cam_adv": _image(np.abs(maps["adv"])),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in values.items()}


def _image(flat: Array) -> NDArray[np.float32]:
    return flat.reshape(-1, 1, 8, 8).astype(np.float32)


def _softmax(logits: Array) -> NDArray[np.float32]:
    e = np.exp(logits - logits.max(1, keepdims=True))
    return (e / e.sum(1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Plan:
    """What to write: a small matrix by default, every field replaceable."""

    question: str = "Which training defenses hold on the digits, and does a random step of that size do anything?"
    models: tuple[str, ...] = ("linear",)
    defenses: tuple[str, ...] = tuple(DEFENSES)
    attacks: tuple[str, ...] = ("fgsm", "pgd", "transfer")
    classes: tuple[str, ...] = tuple("0123456789")
    n: int = 200
    failed: tuple[tuple[str, str, str], ...] = ()  # (defense, attack, norm)
    missing: tuple[tuple[str, str, str], ...] = ()
    reason: str = "RuntimeError: CUDA out of memory"


def write_results(folder: Path, plan: Plan | None = None) -> Path:
    """Write one matrix below `folder` and return its path."""
    plan = plan or Plan()
    threats = [("linf", LINF), ("l2", L2)]
    entries = [
        ((model, defense, attack, norm), grid)
        for model in plan.models
        for defense in plan.defenses
        for norm, grid in threats
        for attack in (*plan.attacks, "random_sphere")
    ]
    entries += [((m, d, "loss_ascent", "l2"), None) for m in plan.models for d in plan.defenses]
    cells = [_write_cell(folder, plan, *entry) for entry in entries]
    write_json(
        folder / "matrix.json",
        {
            "schema": 1,
            "question": plan.question,
            "file": "benchmarks/digits.yaml",
            "seed": 0,
            "data": {"name": "digits", "split": "test", "count": plan.n, "choose": "stratified"},
            "cells": cells,
            "skips": [
                {
                    "labels": {
                        "model": plan.models[0],
                        "defense": "none",
                        "attack": "fgsm",
                        "goal": "least_likely",
                        "norm": "l2",
                    },
                    "reason": "fgsm does not target",
                }
            ],
        },
    )
    return folder


def _write_cell(
    root: Path, plan: Plan, place: tuple[str, str, str, str], grid: tuple[str, ...] | None
) -> dict[str, object]:
    model, defense, attack, norm = place
    labels = {"model": model, "defense": defense, "attack": attack, "goal": "untargeted", "norm": norm}
    eps = None if grid is None else list(grid)
    key = hashlib.sha256(json.dumps([labels, eps]).encode()).hexdigest()
    kind = "control" if attack == "random_sphere" else "attack"
    folder = root / f"cell-{key[:8]}"
    entry = {"key": key, "folder": folder.name, "labels": labels, "kind": kind, "eps": eps}
    if (defense, attack, norm) in plan.missing:
        return entry
    if (defense, attack, norm) in plan.failed:
        write_json(folder / "failure.json", {"error": plan.reason, "traceback": "Traceback ..."})
        return entry
    net = linear(list(DEFENSES.values())[plan.defenses.index(defense) % len(DEFENSES)])
    outcomes, images = rows(net, ATTACKS.get(attack, step), norm, grid, plan.n)
    table = outcomes.to_pandas()
    write_table(folder / "samples.parquet", table)
    if kind == "attack":
        write_tensors(folder / "gallery.safetensors", gallery(net, table, images, attack))
    record = {
        "schema": 1,
        "key": key,
        "labels": labels,
        "kind": kind,
        "eps": eps,
        "classes": list(plan.classes),
        "spec": {"attack": {"kind": kind, "name": attack, "params": {"steps": 4, "relative_step": 2.5}}, "seed": 0},
        "summary": [],
        "files": {},
        "seconds": 1.25,
        "provenance": {
            "advbench": "0.1.0",
            "torch": "2.15.0",
            "device": "cpu",
            "git": {"commit": "0" * 40, "dirty": False},
        },
    }
    if attack == "transfer":
        record["substitute"] = {"substitute": "linear twin", "agreement": 0.9425, "queries": 6400}
    write_json(folder / "cell.json", record)
    return entry

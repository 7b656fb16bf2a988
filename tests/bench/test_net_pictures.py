"""Pictures of several nets of one architecture: which nets, made once, never in the way of a cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advbench.bench import net_pictures
from advbench.bench.config import PICTURES, load_matrix
from advbench.bench.matrix import expand
from advbench.bench.net_pictures import METHODS, Method, Shown, groups
from advbench.bench.runner import run
from advbench.core.draws import Draws
from advbench.models.load import load_model
from advbench.report.net_pictures import NetPictures
from advbench.report.net_pictures import net_pictures as read_pictures
from advbench.report.render import report
from advbench.report.stored import read_matrix
from advbench.store import write_tensors
from advbench.synthesis.inversion.feature_distance import features_of
from advbench.types import ConfigError
from tests.bench.tiny_matrix import write_matrix

DEFENSES: list[object] = [
    {"none": {"epochs": 1, "batch_size": 64}},
    {"adversarial": {"eps": 0.1, "steps": 1, "epochs": 1, "batch_size": 64}},
]


def asked(folder: Path, **changes: object) -> Path:
    settings = {"models": [{"small_cnn": {"width": 4}}], "defenses": DEFENSES, "attacks": ["fgsm"], **changes}
    return write_matrix(folder, **settings)  # type: ignore[arg-type]


def stub(model: nn.Module, shown: Shown) -> Tensor:
    return torch.full_like(shown.photos, 0.25)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Methods that only note that they were called."""
    calls: list[str] = []

    def made(name: str) -> Method:
        def make(model: nn.Module, shown: Shown) -> Tensor:
            calls.append(name)
            return stub(model, shown)

        return Method(make, f"how {name} is made", alike=name == "inversion")

    monkeypatch.setattr(net_pictures, "METHODS", {name: made(name) for name in PICTURES})
    return calls


@pytest.mark.slow
def test_the_matrix_may_ask_for_what_there_is_and_keys_do_not_change(tmp_path: Path) -> None:
    assert tuple(METHODS) == PICTURES
    plain, asking = (
        expand(load_matrix(asked(tmp_path, **({"pictures": list(PICTURES)} if on else {})))) for on in (0, 1)
    )
    assert asking.matrix.pictures == PICTURES
    assert [job.cell.key for job in plain.jobs] == [job.cell.key for job in asking.jobs]
    with pytest.raises(ConfigError, match=r"pictures.*must be of visualize, dream, inversion"):
        load_matrix(asked(tmp_path, pictures=["dreams"]))


def test_nets_of_one_architecture_belong_together(tmp_path: Path) -> None:
    models = [{"small_cnn": {"width": [4, 8]}}, "linear"]
    defenses = [*DEFENSES, {"none": {"epochs": 2}}]
    found = groups(expand(load_matrix(asked(tmp_path, models=models, defenses=defenses))).jobs)
    assert [len(nets) for nets in found] == [3, 3, 3]
    for nets in found:
        assert len({net.recipe.spec + str(net.recipe.params) for net in nets}) == 1
        assert len({net.recipe.key for net in nets}) == 3
    alone = expand(load_matrix(asked(tmp_path, models=models, defenses=DEFENSES[:1])))
    assert groups(alone.jobs) == []


@pytest.mark.slow
def test_made_once_and_read_by_the_report(tmp_path: Path, quick: list[str]) -> None:
    file = asked(tmp_path, pictures=["visualize", "inversion"])
    assert run(file, results=tmp_path, device="cpu").exit_code == 0
    assert quick == ["visualize", "inversion"] * 2
    assert run(file, results=tmp_path, device="cpu").exit_code == 0
    assert len(quick) == 4  # nothing again
    (group,) = read_pictures(read_matrix(tmp_path / "m")).groups
    assert group.columns == ("0", "2", "4", "7", "9")
    assert [(strip.method, strip.said) for strip in group.strips] == [
        (name, f"how {name} is made") for name in ("visualize", "inversion")
    ]
    assert [subject[1][:4] for subject in group.subjects] == ["none", "adve"]
    assert [len(row.spots) for strip in group.strips for row in strip.rows] == [5] * 4
    assert "r 0.00" in group.strips[1].rows[0].spots[0].text  # a constant is like nothing
    page = report([tmp_path / "m"], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "how inversion is made" in page
    (damaged, _) = sorted((tmp_path / "m" / "pictures").glob("*.safetensors"))
    damaged.write_bytes(b"broken")
    (group,) = read_pictures(read_matrix(tmp_path / "m")).groups
    reasons = [row.reason for row in group.strips[0].rows]
    assert sorted(reasons) == ["", "the file with it is missing or damaged"]
    assert run(file, results=tmp_path, device="cpu").exit_code == 0
    assert len(quick) == 6  # the damaged file only


@pytest.mark.slow
def test_other_images_under_the_same_ids_make_other_pictures(tmp_path: Path, quick: list[str]) -> None:
    weights = {}
    for seed in (0, 1):
        weights[seed] = tmp_path / f"{seed}.safetensors"
        write_tensors(weights[seed], load_model("linear", shape=(1, 8, 8), classes=10, seed=seed).state_dict())
    models = [{"linear": {"weights": [str(path) for path in weights.values()]}}]
    photos = []
    for value in (50, 200):
        images = np.full((20, 8, 8), value, np.uint8)
        np.savez(tmp_path / "data.npz", images=images, labels=np.arange(20) % 10)
        file = asked(tmp_path, models=models, defenses=["none"], data={"name": "npz:data.npz"}, pictures=["visualize"])
        assert run(file, results=tmp_path, device="cpu").exit_code == 0
        (group,) = read_pictures(read_matrix(tmp_path / "m")).groups
        photos.append([spot.uri for spot in group.samples])
    assert photos[0] != photos[1]


@pytest.mark.slow
def test_the_report_shows_the_nets_that_the_matrix_still_has_and_asks_for(tmp_path: Path, quick: list[str]) -> None:
    both = asked(tmp_path, pictures=["visualize"])
    text = both.read_text()
    assert run(both, results=tmp_path, device="cpu").exit_code == 0
    assert len(read_pictures(read_matrix(tmp_path / "m")).groups) == 1
    one = asked(tmp_path, pictures=["visualize"], defenses=DEFENSES[:1])
    assert run(one, results=tmp_path, device="cpu").exit_code == 0
    assert read_pictures(read_matrix(tmp_path / "m")) == NetPictures((), "")
    both.write_text(text)
    assert run(both, results=tmp_path, device="cpu").exit_code == 0
    assert quick == ["visualize"] * 2  # nothing again
    assert len(read_pictures(read_matrix(tmp_path / "m")).groups) == 1
    assert run(asked(tmp_path), results=tmp_path, device="cpu").exit_code == 0
    assert read_pictures(read_matrix(tmp_path / "m")) == NetPictures((), "")


@pytest.mark.slow
def test_a_picture_that_fails_takes_nothing_with_it(
    tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(model: nn.Module, shown: Shown) -> Tensor:
        raise RuntimeError("no such picture")

    monkeypatch.setitem(net_pictures.METHODS, "dream", Method(fails, "never"))
    file = asked(tmp_path, pictures=list(PICTURES))
    tally = run(file, results=tmp_path, device="cpu")
    assert (tally.exit_code, len(tally.cells)) == (0, 2)
    (group,) = read_pictures(read_matrix(tmp_path / "m")).groups
    by_method = {strip.method: strip.rows for strip in group.strips}
    assert [row.reason for row in by_method["dream"]] == ["RuntimeError: no such picture"] * 2
    assert all(row.spots for row in by_method["visualize"])
    monkeypatch.setitem(net_pictures.METHODS, "dream", Method(stub, "now"))
    run(file, results=tmp_path, device="cpu")
    assert quick == ["visualize", "inversion"] * 2  # only what was missing
    (group,) = read_pictures(read_matrix(tmp_path / "m")).groups
    assert all(row.spots for strip in group.strips for row in strip.rows)


def test_the_report_without_pictures_or_with_a_torn_index_goes_on(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "matrix.json").write_text('{"cells": [], "skips": []}')
    assert read_pictures(read_matrix(tmp_path / "m")) == NetPictures((), "")
    (tmp_path / "m" / "pictures").mkdir()
    (tmp_path / "m" / "pictures" / "pictures.json").write_text("{")
    assert "cannot be read" in read_pictures(read_matrix(tmp_path / "m")).note


@pytest.mark.slow
def test_the_methods_make_pictures_that_the_net_answers() -> None:
    model = load_model("small_cnn", shape=(1, 8, 8), classes=10)
    photos = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    shown = Shown(torch.tensor([1, 4, 7]), torch.tensor([5, 6, 7]), photos, Draws(0, torch.tensor([5, 6, 7])), {})
    made = {name: method.made(model, shown) for name, method in METHODS.items()}
    for images in made.values():
        assert images.shape == photos.shape
        assert 0 <= float(images.min()) <= float(images.max()) <= 1
    with torch.no_grad():
        before, after = (model(each).gather(1, shown.classes[:, None]) for each in (photos, made["visualize"]))
    assert bool((after > before).all())
    layer = net_pictures._representation(model, photos)
    assert layer is not None
    wanted, found = (features_of(model, layer, each) for each in (photos, made["inversion"]))
    assert wanted.shape == (3, 100)  # the hidden layer
    assert bool(((found - wanted).norm(dim=1) < 0.3 * wanted.norm(dim=1)).all())
    assert {name: tensor.shape for name, tensor in net_pictures._made("inversion", model, shown).items()} == {
        "inversion": photos.shape,
        "inversion_chance": (3,),
        "inversion_likeness": (3,),
    }

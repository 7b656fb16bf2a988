"""The registry: a file in the package is enough, names are unique, unknown ones get a near one."""

from __future__ import annotations

import importlib
import inspect
import math
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advbench import registry
from advbench.core.draws import Draws
from advbench.names import nearest
from advbench.registration import code_of
from advbench.registry import ATTACKS, CONTROLS, AttackInfo, Entry, Registry
from advbench.types import ConfigError, ThreatModel

PACKAGE = "planted_attacks"


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry[AttackInfo]]:
    """A registry of a package with two attacks in it, one of them in a sub-folder."""
    folder = tmp_path / PACKAGE
    (folder / "gradient").mkdir(parents=True)
    (folder / "__init__.py").write_text('"""Planted."""\n')
    (folder / "gradient" / "__init__.py").write_text('"""Planted."""\n')
    body = textwrap.dedent(
        """
        from __future__ import annotations
        from {package} import TABLE
        from advbench.registry import AttackInfo

        @TABLE.register(AttackInfo((2.0,), "gradient"))
        def {name}(model: object, x: object, y: object, *, draws: object, {extra}steps: int = 3) -> object:
            return x
        """
    )
    for path, name, extra in (("near.py", "near", ""), ("gradient/far.py", "far", "targeted: bool = False, ")):
        (folder / path).write_text(
            f'"""What {name} does.\n\nMore."""\n' + body.format(package=PACKAGE, name=name, extra=extra)
        )
    monkeypatch.syspath_prepend(tmp_path)
    table: Registry[AttackInfo] = Registry("attack", PACKAGE)
    importlib.import_module(PACKAGE).TABLE = table  # type: ignore[attr-defined]
    yield table
    for module in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[module]


def test_every_file_of_the_package_is_found_and_listed_by_name(plant: Registry[AttackInfo]) -> None:
    assert plant.names() == ["far", "near"]
    assert [entry.name for entry in plant] == ["far", "near"]
    assert "far" in plant
    assert "nowhere" not in plant


def test_nothing_is_imported_before_it_is_asked_for_and_nothing_twice(plant: Registry[AttackInfo]) -> None:
    assert f"{PACKAGE}.near" not in sys.modules
    first = plant["near"]
    assert f"{PACKAGE}.gradient.far" in sys.modules
    assert plant["near"] is first


def test_an_entry_tells_what_its_function_does_and_takes(plant: Registry[AttackInfo]) -> None:
    far, near = plant["far"], plant["near"]
    assert far.summary == "What far does."
    assert far.info == AttackInfo((2.0,), "gradient")
    assert list(far.parameters()) == ["steps"]  # draws and targeted belong to the runner
    assert far.parameters()["steps"].annotation is int
    assert far.parameters()["steps"].default == 3
    assert (far.takes("targeted"), near.takes("targeted")) == (True, False)


def test_an_unknown_name_is_answered_with_a_near_one(plant: Registry[AttackInfo]) -> None:
    with pytest.raises(ConfigError, match=r"no attack named 'nera'; did you mean 'near'\? All: advbench list attacks"):
        plant["nera"]
    with pytest.raises(ConfigError, match=r"no attack named 'zzzz'; All: advbench list attacks"):
        plant["zzzz"]
    assert nearest("pgdd", ["fgsm", "pgd"]) == "did you mean 'pgd'? "


@pytest.mark.parametrize(("typed", "meant"), [("PGD", "pgd"), ("pdg", "pgd"), ("Auto", "auto"), ("ifgsm", "fgsm")])
def test_case_and_letters_in_another_order_are_near_misses(typed: str, meant: str) -> None:
    assert nearest(typed, ATTACKS.names()) == f"did you mean {meant!r}? "


def test_names_are_given_back_as_they_are_spelt() -> None:
    assert nearest("resnet18@imagenet1k_v1", ["resnet18@IMAGENET1K_V1"]) == "did you mean 'resnet18@IMAGENET1K_V1'? "
    assert nearest("pgd", []) == ""


def test_a_name_taken_by_another_module_is_refused_and_a_reload_is_not(plant: Registry[AttackInfo]) -> None:
    first = plant["near"].function

    def near() -> None: ...

    with pytest.raises(ValueError, match=rf"two attacks are named 'near': {PACKAGE}\.near and "):
        plant.register(AttackInfo((2.0,), "none"))(near)
    importlib.reload(sys.modules[f"{PACKAGE}.near"])
    assert plant["near"].function is not first
    assert plant.names() == ["far", "near"]


def test_a_parameter_without_annotation_is_refused(plant: Registry[AttackInfo]) -> None:
    """A matrix could not know what may be written there, and would refuse its own default."""

    def bare(*, steps=20): ...  # type: ignore[no-untyped-def]

    with pytest.raises(TypeError, match="bare: the parameter 'steps' needs an annotation"):
        plant.register(AttackInfo((2.0,), "none"))(bare)


def test_third_parties_announce_their_modules_by_entry_points(
    plant: Registry[AttackInfo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "third_party_attack.py").write_text(
        f"from {PACKAGE} import TABLE\nfrom advbench.registry import AttackInfo\n"
        "@TABLE.register(AttackInfo((2.0,), 'none'))\ndef theirs(): ...\n"
    )
    asked: list[str] = []

    def points(*, group: str) -> list[EntryPoint]:
        asked.append(group)
        return [EntryPoint("theirs", "third_party_attack", group)]

    monkeypatch.setattr(registry, "entry_points", points)
    assert plant.names() == ["far", "near", "theirs"]
    assert asked == [PACKAGE]
    assert plant["theirs"].summary == ""


def test_the_decorator_keeps_the_function_and_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in (ATTACKS, CONTROLS):
        monkeypatch.setattr(table, "_entries", {})
        monkeypatch.setattr(table, "_loaded", True)

    def lonely(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws) -> Tensor:
        return x

    decorated = registry.attack(
        norms=(1, math.inf), access="scores", paper="arXiv:0", nested=True, revision={"l1": 2, "linf": 1}
    )(lonely)
    assert inspect.unwrap(decorated) is lonely
    info = AttackInfo((1.0, math.inf), "scores", "arXiv:0", nested=True, revisions={1.0: 2})
    assert ATTACKS["lonely"] == Entry("lonely", decorated, info, code_of(lonely))
    registry.control(norms=(2,))(lonely)
    assert CONTROLS["lonely"].info == AttackInfo((2.0,), "none")
    assert "lonely" not in registry.ATTRIBUTIONS


TABLES = [table for table in vars(registry).values() if isinstance(table, Registry)]


@pytest.mark.parametrize("table", TABLES, ids=[table.kind for table in TABLES])
def test_the_real_tables_load_and_every_entry_says_what_it_is(table: Registry[object]) -> None:
    random = torch.get_rng_state()
    entries = list(table)
    assert torch.equal(torch.get_rng_state(), random)
    for entry in entries:
        assert entry.summary.endswith(".") or entry.summary, entry.name
        assert all(parameter.annotation is not parameter.empty for parameter in entry.parameters().values()), entry.name
        assert callable(getattr(registry, table.kind)), table.kind


def test_an_attack_with_another_access_than_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match="access must be one of gradient, scores, decision, none, got 'grad'"):
        registry.attack(norms=("linf",), access="grad")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("signature", "missing"),
    [
        ("model, x, y, threat", "lacks draws"),
        ("model, x, y, *, draws", "lacks threat"),
        ("x, y", "lacks y, threat, draws"),
        ("model, x, y, draws, threat", "lacks threat"),
        ("model, x, y, *, threat, draws", "lacks threat"),
        ("model, x, y, threat, steps, *, draws", "would never be given steps"),
    ],
)
@pytest.mark.parametrize("register", [registry.attack(norms=(2,), access="none"), registry.control(norms=(2,))])
def test_a_function_that_a_run_could_not_call_is_refused(
    register: Callable[..., object], signature: str, missing: str
) -> None:
    names: dict[str, Callable[..., object]] = {}
    exec(f"def wrong({signature}): ...", names)
    with pytest.raises(TypeError) as refusal:
        register(names["wrong"])
    assert str(refusal.value).startswith(f"wrong({signature}): {missing}")
    assert "(model, x, y, threat, *, draws, ...)" in str(refusal.value)
    assert "wrong" not in ATTACKS
    assert "wrong" not in CONTROLS


@pytest.mark.parametrize(
    "signature",
    [
        "model, x, y, threat, *, draws, steps: int = 1",
        "net, image, label, ball, draws, targeted=False",
        "*args, **kwargs",
        "model, x, y, threat, steps=3, *, draws, module: str",
    ],
)
def test_what_a_run_can_call_is_registered(signature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ATTACKS.load()
    monkeypatch.setattr(ATTACKS, "_entries", dict(ATTACKS._entries))
    names: dict[str, Callable[..., object]] = {}
    exec(f"def right({signature}): ...", names)
    registry.attack(norms=(2,), access="none")(names["right"])
    assert "right" in ATTACKS


@pytest.mark.parametrize("revision", [0, {1: 2}, {math.inf: 0}])
def test_a_revision_is_a_number_from_one_in_norms_that_the_attack_has(revision: object) -> None:
    with pytest.raises(ValueError, match="revision must be at least 1, or such numbers by the attack's norms, got "):
        registry.attack(norms=("linf",), access="none", revision=revision)  # type: ignore[arg-type]

"""What would flatter a model silently is said: gradients that were not there, results that lie outside the ball."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.bench.evaluate import evaluate
from advbench.bench.progress import stored_notes
from advbench.bench.runner import run
from advbench.core.draws import Draws
from advbench.registry import ATTACKS, AttackInfo, Entry
from advbench.types import ThreatModel
from tests.bench.tiny_matrix import write_matrix

THREAT = ThreatModel(math.inf, 0.1)


class Front(nn.Module):
    """What stands before the network; `how` says what it does to the gradient."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        match self.how:
            case "detach":
                return x.detach()
            case "round":
                return (x * 8).round() / 8
            case "threshold":
                return (x > 0.5).float()
            case "revive":
                return x.detach().requires_grad_(torch.is_grad_enabled())
            case "root":  # the derivative of the root at 0 is infinite, and 0 times it is no number
                return x + 0 * (x - x).sqrt()
        return x


def network(how: str, scale: float = 1.0) -> nn.Module:
    """A random net behind a `Front`, its logits multiplied by `scale`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(Front(how), nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 5)).eval()
    with torch.no_grad():
        net[-1].weight.mul_(scale)  # type: ignore[operator]
        net[-1].bias.mul_(scale)  # type: ignore[operator]
    return net


def samples(net: nn.Module, count: int = 12) -> tuple[Tensor, Tensor]:
    x = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return x, net(x).argmax(1)


def warned(net: nn.Module, *, attack: str = "bim", threat: ThreatModel = THREAT, **params: object) -> list[str]:
    """What `evaluate` warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        evaluate(net, *samples(net), attack=attack, threat=threat, **params)  # type: ignore[arg-type]
    assert all(warning.category is UserWarning for warning in caught)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("how", ["detach", "round", "threshold", "revive", "root"])
@pytest.mark.parametrize("attack", ["bim", "deepfool"])
def test_a_gradient_that_is_cut_is_said_and_bpda_and_the_module_named(how: str, attack: str) -> None:
    (text,) = warned(network(how), attack=attack)
    assert "It ends at the module '0'." in text or how == "root"  # there it is no number, and no zero
    assert text.startswith(f"{attack}: no gradient ever reached x on any of the 12 samples that held")
    assert "bpda" in text


@pytest.mark.parametrize("how", ["detach", "round", "threshold"])
def test_bpda_does_not_warn_nor_do_attacks_without_gradients(how: str) -> None:
    assert warned(network(how), attack="bpda", module="0") == []
    assert warned(network(how), attack="square", queries=10) == []
    assert warned(network(how), attack="random_sphere", tries=3) == []


@pytest.mark.parametrize("norm", [math.inf, 2.0, 1.0, 0.0])
def test_an_ordinary_network_is_nothing_to_warn_of(norm: float) -> None:
    eps = {math.inf: 0.02, 2.0: 0.2, 1.0: 1.0, 0.0: 2.0}[norm]
    for attack in ("pgd", "fgsm", "deepfool", "fmn", "fab"):
        if norm in ATTACKS[attack].info.norms:
            assert warned(network("nothing"), attack=attack, threat=ThreatModel(norm, eps)) == []


def test_logits_so_large_that_the_loss_is_zero_are_said_with_the_share() -> None:
    """Cross entropy in float32 is flat where the lead exceeds about 104: exp of it is zero."""
    net = network("nothing", scale=4000.0)
    x, y = samples(net)
    leads = net(x).detach().topk(2).values.diff().abs()[:, 0]
    flat = int((leads > 110).sum())
    assert 6 < flat < 12
    with pytest.warns(UserWarning, match=rf"bim: on {flat} of the 12 samples that held \({flat / 12:.0%}\)"):
        rows = evaluate(net, x, y, attack="bim", threat=ThreatModel(math.inf, 1e-6))
    assert int(rows.blind.sum()) == flat
    assert warned(net, attack="max_margin", threat=ThreatModel(math.inf, 1e-6), steps=3) == []


def test_samples_decided_early_are_no_alarm() -> None:
    """A margin loss is flat once the sample is fooled: that is all that these samples see of it."""
    net = network("nothing")
    x, y = samples(net)
    rows = evaluate(net, x, (y + 1) % 5, attack="pgd", threat=THREAT)  # clean errors throughout; pytest raises warnings
    assert not rows.blind.any()
    evaluate(net, x, y, attack="pgd", threat=ThreatModel(math.inf, 1.0))


@settings(max_examples=10)
@given(budget=st.integers(1, 6))
def test_a_budget_that_ends_is_no_missing_gradient(budget: int) -> None:
    net = network("nothing")
    rows = evaluate(net, *samples(net), attack="bim", threat=ThreatModel(math.inf, 0.001), budget=budget)
    assert not rows.blind.any()


def halves(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws) -> Tensor:
    """Calls the model on a part of the batch by its own means: nobody knows whose gradient it is."""
    with torch.enable_grad():
        z = x[:3].clone().requires_grad_(True)
        logits = model(z)
        if logits.requires_grad:
            torch.autograd.grad(logits.sum(), z)
    return x


def leaves(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws) -> Tensor:
    """Forgets the ball for two samples."""
    x_adv = x.clone()
    x_adv[:2] = torch.where(x[:2] > 0.5, x[:2] - 0.3, x[:2] + 0.3)
    return x_adv


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two attacks above are registered."""
    ATTACKS.load()
    monkeypatch.setitem(ATTACKS._entries, "halves", Entry("halves", halves, AttackInfo((math.inf,), "gradient")))
    monkeypatch.setitem(ATTACKS._entries, "leaves", Entry("leaves", leaves, AttackInfo((math.inf,), "none")))


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize(("how", "missing"), [("nothing", False), ("round", True), ("detach", True)])
def test_a_gradient_of_a_part_of_the_batch_counts_for_all_of_it(how: str, missing: bool) -> None:
    assert bool(warned(network(how), attack="halves")) == missing


@pytest.mark.usefixtures("theirs")
def test_leaving_the_ball_is_said_with_how_far() -> None:
    (text,) = warned(network("nothing"), attack="leaves")
    assert text.startswith(
        "leaves: 2 of 12 results are invalid and count as held: 2 outside the ball (by up to 0.2 in linf); keep x_adv"
    )


CUT = """
from torch import nn

class Cut(nn.Module):
    def forward(self, x):
        return x.detach()

def cut():
    return nn.Sequential(Cut(), nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.mark.usefixtures("theirs")
def test_a_run_says_it_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cutting.py").write_text(CUT)
    monkeypatch.syspath_prepend(str(tmp_path))
    matrix = write_matrix(tmp_path, models=["python:cutting:cut"], attacks=["bim", "leaves"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # lines of the run, not warnings of Python
        run(matrix, results=tmp_path, device="cpu", allow_code=True, chunk=16)
    out = capsys.readouterr().out
    assert out.count("eps 0.05, 1/10: no gradient ever reached x on any of the") == 1, out
    assert out.count("give its name to bpda") == 1
    assert out.count("results are invalid and count as held") == 2
    notes = {cell.parent.name: stored_notes(cell.parent) for cell in tmp_path.glob("m/*/cell.json")}
    assert sorted(len(found) for found in notes.values()) == [2, 2], notes
    assert all(note in out for found in notes.values() for note in found)


def test_a_damaged_record_is_said_not_raised(tmp_path: Path) -> None:
    (tmp_path / "cell.json").write_text("{")
    assert stored_notes(tmp_path)[0].startswith("cell.json cannot be read")

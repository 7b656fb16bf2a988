"""bpda gets past a module without a gradient, from Python, from a matrix and from the command line."""

from __future__ import annotations

import json
from functools import partial
from math import inf
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attacks.gradient.bpda import bpda
from advbench.attacks.gradient.mi_fgsm import mi_fgsm
from advbench.attacks.gradient.pgd import pgd
from advbench.bench.config import load_matrix
from advbench.bench.evaluate import evaluate
from advbench.cli import main
from advbench.models.sequential import Binarize
from advbench.testing import linear_problem
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import conv_net, images
from tests.strategies import seeds

LINF = ThreatModel(inf, 0.1)


class Rounded(nn.Module):
    """Grey values in steps of 1/255: hardly another function, and without a gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return (255.0 * x).round() / 255.0


@settings(max_examples=10)
@given(seeds(), st.sampled_from(("identity", "sigmoid", "hard_tanh")))
def test_behind_a_step_it_finds_what_counting_finds(seed: int, stand_in: str) -> None:
    """Black and white images and a linear model: pixels within eps of the threshold may be chosen one by one."""
    problem = linear_problem((1, 3, 3), 2, 6, seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(6, 1, 3, 3, generator=generator, dtype=torch.float64).float()
    weight = torch.randn(9, generator=generator)
    model = nn.Sequential(Binarize(), nn.Flatten(), nn.Linear(9, 2))
    with torch.no_grad():
        model[2].weight.copy_(torch.stack([weight, -weight]))
        model[2].bias.zero_()
    y = model(x).argmax(1)
    sign = torch.where(y == 0, -1.0, 1.0)[:, None]  # how the sum weight * pixel must move
    free = ((x - 0.5).abs() <= LINF.radius - 1e-6).flatten(1)
    best = torch.where(free, (sign * weight > 0).float(), (x >= 0.5).float().flatten(1))
    possible = (sign * (best * weight).sum(1, keepdim=True) > 1e-6)[:, 0]
    found = bpda(model, x, y, LINF, draws=problem.draws, module="0", via=pgd, stand_in=stand_in)
    assert torch.equal(model(found).argmax(1) != y, possible)
    held = pgd(model, x, y, LINF, draws=problem.draws, random_start=False)
    assert torch.equal(model(held).argmax(1), y)


def test_what_hides_nothing_changes_nothing() -> None:
    inner = conv_net()
    model = nn.Sequential(nn.Identity(), inner)
    x, y, draws = images(inner)
    for via in (pgd, partial(mi_fgsm, steps=5)):
        expected = via(inner, x, y, ThreatModel(inf, 0.03), draws=draws)
        found = bpda(model, x, y, ThreatModel(inf, 0.03), draws=draws, module="0", via=via)
        assert torch.equal(found, expected)


def test_through_rounded_grey_values_it_is_as_strong_as_without_them() -> None:
    inner = conv_net()
    x, y, _ = images(inner, 64)
    model, threat = nn.Sequential(Rounded(), inner), ThreatModel(inf, 0.03)
    with pytest.warns(UserWarning, match="no gradient ever reached x .* It ends at the module"):
        blind = evaluate(model, x, y, attack="pgd", threat=threat)
    seeing = evaluate(model, x, y, attack="bpda", module="0", via=pgd, threat=threat)
    without = evaluate(inner, x, y, attack="pgd", threat=threat)
    assert float(blind.fooled.float().mean()) < 0.3
    assert abs(int(seeing.fooled.sum()) - int(without.fooled.sum())) <= 2
    assert int(seeing.fooled.sum()) > 2 * int(blind.fooled.sum())


def test_bad_parameters_are_refused() -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match="did you mean '0"):
        bpda(model, x, y, LINF, draws=draws, module="0.O")
    with pytest.raises(ConfigError, match="sharpness must be positive"):
        bpda(model, x, y, LINF, draws=draws, module="0.0", sharpness=0.0)


def test_a_matrix_may_name_a_module_by_a_number(tmp_path: Path) -> None:
    lines = ("question: q", "data: {name: digits, count: 8}", "models: [mlp]", "threats: [{norm: inf, eps: [0.1]}]")
    (tmp_path / "m.yaml").write_text("\n".join([*lines, "attacks: [{bpda: {module: [0, 1.10, net.0], via: fgsm}}]"]))
    choices = load_matrix(tmp_path / "m.yaml").attacks
    assert [choice.params["module"] for choice in choices] == ["0", "1.10", "net.0"]


@pytest.mark.slow
def test_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = [["binarize"], ["flatten"], ["linear", 64, 10]]
    (tmp_path / "net.json").write_text(json.dumps({"name": "step", "layers": layers}))
    common = ["advbench", "attack", "bpda", "--model", f"sequential:{tmp_path / 'net.json'}", "--dataset", "digits"]
    common += ["--norm", "inf", "--eps", "0.3", "--samples", "20", "--param", "via=pgd"]
    for module, code, said in (("0", 0, "bpda"), ("o", 2, "no module named 'o'")):
        out = ["--out", str(tmp_path / f"out-{module}"), "--param", f"module={module}"]
        monkeypatch.setattr("sys.argv", [*common, *out])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == code
        printed = capsys.readouterr()
        assert said in printed.out + printed.err

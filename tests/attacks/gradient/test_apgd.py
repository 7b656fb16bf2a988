"""apgd is algorithm 1 of its paper, optimal on linear models in all three norms."""

from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attacks.gradient import auto_pgd_loop
from advbench.attacks.gradient.apgd import apgd
from advbench.attacks.gradient.auto_pgd_loop import checkpoints
from advbench.core import devices
from advbench.core.draws import Draws
from advbench.core.losses import cross_entropy
from advbench.core.norms import lengths
from advbench.core.objectives import misclassify
from advbench.testing import Linear, linear_problem
from advbench.types import ConfigError, Evaluation, ThreatModel
from tests.attacks.small_nets import Counting, Shaky, conv_net, images
from tests.strategies import seeds, shapes

NORMS = (1.0, 2.0, inf)
EPS = {1.0: 0.2, 2.0: 0.1, inf: 0.02}
RHO = 0.75


def algorithm_1(model: nn.Module, x: Tensor, label: Tensor, start: Tensor, threat: ThreatModel) -> Tensor:
    """The best of 100 steps for one image x (1, ...), written down line by line as in the paper."""
    steps, eps, p = 100, threat.radius, [0.0, 0.22]
    while p[-1] < 1.0:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    checked = [round(100 * share) * steps // 100 for share in p]

    def project(z: Tensor) -> Tensor:
        delta = z - x
        if threat.norm == inf:
            return (x + delta.clamp(-eps, eps)).clamp(0.0, 1.0)
        return (x + delta * min(1.0, eps / max(float(delta.norm()), 1e-12))).clamp(0.0, 1.0)

    def f(z: Tensor) -> tuple[float, Tensor]:
        leaf = z.clone().requires_grad_(True)
        loss = nn.functional.cross_entropy(model(leaf), label)
        return float(loss.detach()), torch.autograd.grad(loss, leaf)[0]

    z = before = best = start
    loss, grad = f(z)
    best_loss, best_grad, losses = loss, grad, [loss]
    eta, was_halved, best_at_check, last_check = 2.0 * eps, True, loss, 0
    for k in range(steps):
        if k in checked[1:]:
            rises = sum(losses[i + 1] > losses[i] for i in range(last_check, k))
            halve = rises <= RHO * (k - last_check) or (not was_halved and best_loss <= best_at_check)
            was_halved, best_at_check, last_check = halve, best_loss, k
            if halve:
                eta, z, grad = eta / 2.0, best, best_grad
        unit = grad.sign() if threat.norm == inf else grad / grad.norm()
        straight, a = project(z + eta * unit), 1.0 if k == 0 else 0.75
        z, before = project(z + a * (straight - z) + (1.0 - a) * (z - before)), z
        loss, grad = f(z)
        losses.append(loss)
        if loss > best_loss:
            best, best_loss, best_grad = z, loss, grad
    return best


@pytest.mark.slow
@pytest.mark.parametrize("norm", [2.0, inf])
def test_it_equals_the_paper_step_by_step(norm: float, monkeypatch: pytest.MonkeyPatch) -> None:
    model = conv_net().double()
    x, y, draws = images(model.float(), 6)
    model, x = model.double(), x.double()
    threat = ThreatModel(norm, EPS[norm])
    starts: list[Tensor] = []
    border = auto_pgd_loop._on_border

    def recorded(*arguments: object) -> Tensor:
        starts.append(border(*arguments))  # type: ignore[arg-type]
        return starts[-1]

    monkeypatch.setattr(auto_pgd_loop, "_on_border", recorded)
    found = apgd(model, x, y, threat, draws=draws, steps=100, early_stop=False)
    wrong = model(found).argmax(1) != y
    assert bool((~wrong).any())
    for i in range(len(x)):
        expected = algorithm_1(model, x[i : i + 1], y[i : i + 1], starts[0][i : i + 1], threat)
        assert torch.allclose(found[i], expected[0], atol=1e-9)


def test_checkpoints_of_100_steps_are_those_of_the_paper() -> None:
    assert list(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]


@given(st.integers(1, 2000))
def test_windows_between_checkpoints_add_up_and_never_grow(steps: int) -> None:
    windows = checkpoints(steps)
    lengths_ = list(windows.values())
    assert lengths_ == sorted(lengths_, reverse=True)
    assert sum(lengths_) == max(windows) <= steps
    assert min(lengths_) >= 1


@pytest.mark.slow
@settings(max_examples=15)
@given(shapes(largest=3), seeds(), st.sampled_from(NORMS), st.sampled_from(("ce", "dlr")), st.booleans())
def test_two_classes_fall_exactly_where_eps_exceeds_the_distance(
    shape: tuple[int, int, int], seed: int, norm: float, loss: str, targeted: bool
) -> None:
    problem = linear_problem(shape, 2, 3, seed)
    y = 1 - problem.y if targeted else problem.y
    for i, distance in enumerate(problem.distance(norm).tolist()):
        row = torch.tensor([i])
        for factor in (0.999, 1.002):
            threat = ThreatModel(norm, factor * distance + (factor - 1.0) * 1e-3)
            x_adv = apgd(
                problem.model,
                problem.x[row],
                y[row],
                threat,
                draws=problem.draws.rows(row),
                targeted=targeted,
                loss=loss,  # type: ignore[arg-type]
                steps=12,
            )
            assert bool(problem.model(x_adv).argmax(1) != problem.y[i]) == (factor > 1.0)


@settings(max_examples=5)
@given(st.sampled_from((1e-3, 1.0, 1e3)), st.sampled_from(NORMS))
def test_the_scale_of_the_logits_does_not_matter_to_the_difference_of_logits_ratio(scale: float, norm: float) -> None:
    model = conv_net().double()
    x, _, draws = images(conv_net(), 6)
    x, threat = x.double(), ThreatModel(norm, EPS[norm])
    y = model(x).argmax(1)
    expected = apgd(model, x, y, threat, draws=draws, loss="dlr", steps=10)
    assert torch.allclose(apgd(Scaled(model, scale), x, y, threat, draws=draws, loss="dlr", steps=10), expected)


def test_cross_entropy_is_blind_where_the_ratio_is_not() -> None:
    model = Scaled(conv_net(), 1e5)  # float32: the probability of y is 1, its gradient 0
    x, y, draws = images(model, 12)
    threat = ThreatModel(inf, 0.1)
    by_ce, by_dlr = (apgd(model, x, y, threat, draws=draws, loss=loss, steps=20) for loss in ("ce", "dlr"))
    fooled, fooled_by_dlr = (int((model(z).argmax(1) != y).sum()) for z in (by_ce, by_dlr))
    assert fooled < fooled_by_dlr


@pytest.mark.parametrize("norm", NORMS)
def test_stopping_early_changes_no_verdict_and_saves_passes(norm: float) -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    y = y.clone()
    y[0] = (y[0] + 1) % 4  # wrong from the start
    threat = ThreatModel(norm, EPS[norm])
    early, full = Counting(model, len(x)), Counting(model, len(x))
    short = apgd(early, x, y, threat, draws=draws, steps=20)
    long = apgd(full, x, y, threat, draws=draws, steps=20, early_stop=False)
    fooled = model(short).argmax(1) != y
    runs = 3 if norm == 1 else 1  # in l1 each of the three balls has a start of its own
    assert torch.equal(fooled, model(long).argmax(1) != y)
    assert bool((full.passes == 20 + runs).all())
    assert bool((early.passes[~fooled] == 1 + 20 + runs).all())
    assert int(early.passes[0]) == 1
    assert torch.equal(short[0], x[0])
    assert int(early.passes.sum()) < int(full.passes.sum())
    assert bool((cross_entropy(model(long), y)[fooled] >= cross_entropy(model(short), y)[fooled] - 1e-6).all())


def test_restarts_are_made_for_survivors_only() -> None:
    model = conv_net()
    x, y, draws = images(model, 24)
    threat = ThreatModel(inf, EPS[inf])
    once, thrice = Counting(model, len(x)), Counting(model, len(x))
    first = apgd(once, x, y, threat, draws=draws, steps=6)
    last = apgd(thrice, x, y, threat, draws=draws, steps=6, restarts=3)
    fooled, held = model(first).argmax(1) != y, model(last).argmax(1) == y
    assert bool(fooled.any())
    assert torch.equal(thrice.passes[fooled], once.passes[fooled])
    assert bool((thrice.passes[held] == 1 + 3 * 7).all())


@given(seeds(), st.sampled_from((2.0, inf)))
def test_starts_lie_on_the_border_of_the_ball_or_of_the_box(seed: int, norm: float) -> None:
    x = torch.full((3, 1, 4, 4), 0.5)
    start = auto_pgd_loop._on_border(x, ThreatModel(norm, 0.3), Draws(seed, torch.arange(3)), 0)
    assert lengths(start - x, norm).tolist() == pytest.approx([0.3] * 3, rel=1e-4)


def test_l1_steps_skip_components_that_the_box_holds_back() -> None:
    model = Linear(torch.tensor([[0.0, 0.0, 0.0, 0.0], [-9.0, 1.0, 0.5, 0.2]]), torch.tensor([0.7, 0.0]))
    x, y = torch.tensor([0.0, 0.1, 0.5, 0.5]).reshape(1, 1, 2, 2), torch.tensor([0])
    assert int(model(x).argmax(1)) == 0  # logit 1 is 0.45 and must gain 0.25: all of it from the second component
    found = apgd(model, x, y, ThreatModel(1, 0.26), draws=images(conv_net(), 1)[2], steps=20)
    # The first component has by far the largest gradient and cannot fall below 0.
    assert int(model(found).argmax(1)) == 1
    assert float(found[0, 0, 0, 0]) == 0.0


@pytest.mark.parametrize(
    ("threat", "options", "message"),
    [
        (ThreatModel(2, None), {}, "needs a radius"),
        (ThreatModel(2, 1.0), {"steps": 0}, "steps must be at least 1, got 0"),
        (ThreatModel(2, 1.0), {"restarts": 0}, "restarts must be at least 1"),
        (ThreatModel(2, 1.0), {"rho": 0.0}, "rho must be positive"),
        (ThreatModel(2, 1.0), {"loss": "mse"}, "loss must be one of ce, dlr, got 'mse'"),
    ],
)
def test_impossible_settings_are_refused(threat: ThreatModel, options: dict[str, object], message: str) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError, match=message):
        apgd(model, x, y, threat, draws=draws, **options)  # type: ignore[arg-type]


class Scaled(nn.Module):
    """The logits of `model` times a number."""

    def __init__(self, model: nn.Module, scale: float) -> None:
        super().__init__()
        self.model, self.scale = model, scale

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.scale * self.model(x)
        return logits


@pytest.mark.slow
def test_means_over_passes_fool_a_random_model_more_often() -> None:
    model = Shaky(conv_net())
    x, y, draws = images(conv_net(), 12)
    shares = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for samples in (1, 20):
            x_adv = apgd(model, x, y, ThreatModel(inf, 0.05), draws=draws, steps=20, samples=samples)
            shares[samples] = model.fooled_share(x_adv, y)
    assert shares[20] > shares[1] + 0.1


def test_every_pass_is_counted() -> None:
    x, y, draws = images(conv_net(), 4)
    watch = Counting(conv_net(), 4)
    apgd(watch, x, y, ThreatModel(inf, 1e-6), draws=draws, steps=5, samples=3)
    assert watch.passes.tolist() == [3 * (1 + 6)] * 4
    with pytest.raises(ConfigError, match="samples must be at least 1"):
        apgd(watch, x, y, ThreatModel(inf, 0.1), draws=draws, samples=0)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("width", "low"), [(2.0, 0.0), (256.0, 0.0), (4.0, -2.0)])
def test_it_starts_alike_in_a_box_of_any_width(norm: float, width: float, low: float) -> None:
    """The first point that is looked at, of images from `low` to `low` + `width`; exactly so without the move."""
    model = conv_net()
    x, y, draws = images(model, 6)
    usual, found = (_first_look(model, x, y, draws, threat) for threat in _boxes(norm, width, low))
    assert float((usual - x).abs().amax()) > EPS[norm]
    if low == 0.0:
        assert torch.equal(found, width * usual)
    else:
        torch.testing.assert_close((found - low) / width, usual, atol=1e-6, rtol=0.0)


def _boxes(norm: float, width: float, low: float) -> tuple[ThreatModel, ThreatModel]:
    eps = 4.0 * EPS[norm]
    return ThreatModel(norm, eps), ThreatModel(norm, width * eps, low, low + width)


def _first_look(model: nn.Module, x: Tensor, y: Tensor, draws: Draws, threat: ThreatModel) -> Tensor:
    """Where APGD starts for the images x in [0, 1], moved to the threat's box, of a model that moves them back."""
    seen: list[Tensor] = []
    width = threat.high - threat.low

    def objective(z: Tensor, rows: Tensor) -> Evaluation:
        seen.append(z.detach().clone())
        return misclassify(model, y)((z - threat.low) / width, rows)

    x = threat.low + width * x
    auto_pgd_loop.auto_pgd(x, objective, threat, draws=draws, steps=1, rho=RHO, early_stop=False)
    return seen[0]


@pytest.mark.parametrize("norm", NORMS)
def test_samples_that_are_carried_along_for_a_while_keep_their_first_example(
    norm: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, which is asked rarely who is done."""
    model, found = conv_net(), []
    x, y, draws = images(model, 24)
    for between in (1, 5):
        monkeypatch.setitem(devices._STEPS_BETWEEN_CHECKS, "cpu", between)
        found.append(apgd(model, x, y, ThreatModel(norm, 5 * EPS[norm]), draws=draws, steps=30))
    torch.testing.assert_close(*found)
    assert int((model(found[0]).argmax(1) != y).sum()) >= 4

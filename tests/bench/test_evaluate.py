"""Rows do not depend on how they are computed; a grid says what its radii say one by one; bad input never starts."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbench.attacks.gradient.pgd import pgd
from advbench.bench.evaluate import evaluate, evaluate_grid, trajectories
from advbench.bench.scene import Assault, Execution, on_device
from advbench.core.draws import Draws
from advbench.core.gradients import class_gradient
from advbench.registry import ATTACKS, AttackInfo, Entry
from advbench.types import STATUSES, ConfigError, Outcomes, Radius, ThreatModel

GRID = tuple(map(Radius, ("0.02", "0.05", "0.1", "0.2", "0.4")))
FLOATS = ("l0", "l1", "l2", "linf", "margin_clean", "margin_adv")


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """A small convolutional net, far from linear, at a fixed random point."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(), nn.Flatten())
        return nn.Sequential(*layers, nn.Linear(72, 5)).eval()


class Writer(nn.Module):
    """Computes like `net` and leaves another image behind."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: Tensor) -> Tensor:
        z -= 0.5
        logits: Tensor = self.net(z + 0.5)
        return logits


class NoNumbers(Writer):
    def forward(self, z: Tensor) -> Tensor:
        logits: Tensor = self.net(z) * math.nan
        return logits


@pytest.fixture(scope="module")
def samples(net: nn.Module) -> tuple[Tensor, Tensor]:
    """Images with the net's own labels, the first two of them changed: clean errors."""
    x = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = net(x).argmax(1)
    y[:2] = (y[:2] + 1) % 5
    return x, y


def _grid(
    net: nn.Module, x: Tensor, y: Tensor, ids: Tensor | None = None, *, name: str = "pgd", **how: int
) -> Outcomes:
    assault = Assault(ATTACKS[name], {"steps": 10} if name == "pgd" else {})
    return evaluate_grid(net, x, y, ids, assault=assault, norm=math.inf, grid=GRID, execution=Execution(**how))  # type: ignore[arg-type]


def _assert_same(left: Outcomes, right: Outcomes) -> None:
    for name in Outcomes.columns():
        a, b = getattr(left, name), getattr(right, name)
        if name in FLOATS:
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
        else:
            assert torch.equal(a, b), name


@settings(max_examples=8)
@given(size=st.sampled_from([1, 7, 64]), order=st.randoms(use_true_random=False), cut=st.integers(1, 39))
def test_batch_order_and_sharding_leave_the_rows_alone(
    net: nn.Module, samples: tuple[Tensor, Tensor], size: int, order: object, cut: int
) -> None:
    x, y = samples
    ids = torch.arange(100, 140)
    whole = _grid(net, x, y, ids)
    shuffled = torch.randperm(40, generator=torch.Generator().manual_seed(cut))
    parts = [_grid(net, x[part], y[part], ids[part], micro_batch=size) for part in shuffled.split(cut)]
    table = Outcomes.concat(parts)
    position = torch.argsort(table.eps * 1e6 + table.sample_id, stable=True)
    _assert_same(table.take(position), whole)


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_a_grid_gives_what_its_radii_give_one_by_one_or_more(
    net: nn.Module, samples: tuple[Tensor, Tensor], name: str
) -> None:
    x, y = samples
    table = _grid(net, x, y, name=name)
    assert set(table.to_pandas()["evidence"]) <= {"run", "carried"}
    fooled = table.fooled.reshape(len(GRID), -1)
    assert bool((fooled[1:] >= fooled[:-1]).all()), "the curve must be monotone"
    for k, radius in enumerate(GRID):
        params = {"steps": 10} if name == "pgd" else {}
        alone = evaluate(net, x, y, attack=name, threat=ThreatModel(math.inf, float(radius)), **params)
        assert bool((fooled[k] >= alone.fooled).all()), f"weaker than a separate run at eps {radius}"


def test_a_nested_grid_is_monotone_and_cheaper(net: nn.Module, samples: tuple[Tensor, Tensor]) -> None:
    x, y = samples
    tables = [
        evaluate_grid(
            net,
            x,
            y,
            None,
            assault=Assault(ATTACKS["pgd"], {"steps": 10}, nested=nested),
            norm=math.inf,
            grid=GRID,
            execution=Execution(),
        )
        for nested in (False, True)
    ]
    fooled = tables[1].fooled.reshape(len(GRID), -1)
    assert bool((fooled[1:] >= fooled[:-1]).all())
    assert int(tables[1].forwards.sum()) < int(tables[0].forwards.sum())
    rows = tables[1].to_pandas()
    assert "nested" in set(rows["evidence"])
    assert not rows.loc[rows["evidence"] == "nested", "fooled"].any()


def test_a_nested_grid_begins_in_the_smaller_ball_at_the_example_of_the_larger(
    net: nn.Module, samples: tuple[Tensor, Tensor]
) -> None:
    x, y = samples
    seen: list[tuple[float, Tensor, Tensor, Tensor | None]] = []

    def told(
        model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, x_start: Tensor | None = None
    ) -> Tensor:
        seen.append((threat.radius, x, y, x_start))
        return pgd(model, x, y, threat, draws=draws, x_start=x_start, steps=10)

    entry = Entry("told", told, AttackInfo((math.inf,), "gradient", nested=True))
    for nested in (True, False):
        seen.clear()
        evaluate_grid(
            net, x, y, None, assault=Assault(entry, nested=nested), norm=math.inf, grid=GRID, execution=Execution()
        )
        assert len(seen) == len(GRID)
        assert all((start is not None) == (nested and place > 0) for place, (_, _, _, start) in enumerate(seen))
        for (larger, *_), (eps, clean, label, start) in pairwise(seen):
            if start is not None:
                length = (start - clean).flatten(1).abs().amax(1)
                assert bool(((length > eps) & (length <= larger + 1e-6)).all())
                assert bool((net(start).argmax(1) != label).all())


def test_the_example_of_a_row_is_what_the_row_says(net: nn.Module, samples: tuple[Tensor, Tensor]) -> None:
    x, y = samples
    table = _grid(net, x, y)
    assert table.x_adv is not None
    delta = (table.x_adv.double() - x.double().repeat(len(GRID), 1, 1, 1)).flatten(1)
    torch.testing.assert_close(table.linf, delta.abs().amax(1))
    assert bool((table.linf <= table.eps + 1e-6).all())
    with torch.no_grad():
        assert torch.equal(net(table.x_adv).argmax(1), table.adv_pred)


def test_clean_errors_are_counted_and_not_attacked(net: nn.Module, samples: tuple[Tensor, Tensor]) -> None:
    x, y = samples
    row = evaluate(net, x, y, threat=ThreatModel(math.inf, 0.1))
    assert row.fooled[:2].tolist() == [True, True]
    assert row.clean_correct[:2].tolist() == [False, False]
    assert row.forwards[:2].tolist() == row.backwards[:2].tolist() == [0, 0]
    assert row.l2[:2].tolist() == [0.0, 0.0]


def test_passes_are_counted_per_sample(net: nn.Module, samples: tuple[Tensor, Tensor]) -> None:
    x, y = samples
    threat = ThreatModel(math.inf, 0.1)
    row = evaluate(net, x, y, attack="pgd", threat=threat, steps=7, early_stop=False, random_start=False)
    assert set(row.forwards[2:].tolist()) == {8}  # one look at the last point
    assert set(row.backwards[2:].tolist()) == {7}
    eager = evaluate(net, x, y, attack="pgd", threat=threat, steps=7, random_start=False)
    found = eager.fooled & eager.clean_correct
    assert torch.equal(eager.fooled, row.fooled)
    assert torch.equal(eager.forwards[found], eager.first_success_step[found] + 1)
    assert bool((eager.forwards <= row.forwards).all())
    assert int(eager.forwards.sum()) < int(row.forwards.sum())


def test_reduced_precision_agrees_with_float32(net: nn.Module, samples: tuple[Tensor, Tensor]) -> None:
    x, y = samples
    full, low = (
        evaluate(net, x, y, threat=ThreatModel(math.inf, 0.05), precision=precision)
        for precision in ("float32", "bfloat16")
    )
    clear = full.margin_clean.abs() > 0.02
    assert torch.equal(full.clean_pred, low.clean_pred)  # the judge is float32 either way
    assert float((full.fooled != low.fooled)[clear].float().mean()) <= 0.05


def test_trajectories_start_at_the_label_and_end_where_the_attack_stopped(
    net: nn.Module, samples: tuple[Tensor, Tensor]
) -> None:
    x, y = samples
    assault = Assault(ATTACKS["pgd"], {"steps": 6, "random_start": False})
    threat = ThreatModel(math.inf, 0.1)
    path = trajectories(net, x, y, None, assault=assault, threat=threat, execution=Execution())
    row = evaluate(net, x, y, threat=threat, steps=6, random_start=False)
    assert path.shape == (40, int(row.forwards.max()))
    assert bool((path[:2] == -1).all())
    assert torch.equal(path[2:, 0], y[2:])
    assert torch.equal((path >= 0).sum(1), row.forwards)


class _Fixed(nn.Module):
    """Always class 0 of three."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.eye(3)[0].expand(len(x), 3) + 0.0 * x.flatten(1).sum(1, keepdim=True)


@pytest.fixture
def liar() -> Entry[AttackInfo]:
    """An attack that returns whatever `point` says, admissible or not."""

    def liar(
        model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, point: float = 2.0
    ) -> Tensor:
        return torch.full_like(x, point)

    return Entry("liar", liar, AttackInfo((math.inf,), "none"))


@pytest.mark.parametrize(("point", "status"), [(2.0, "invalid"), (math.nan, "invalid"), (0.5, "held")])
def test_a_cheating_attack_gains_nothing(liar: Entry[AttackInfo], point: float, status: str) -> None:
    x, y = torch.full((3, 1, 4, 4), 0.5), torch.zeros(3, dtype=torch.int64)
    table = evaluate_grid(
        _Fixed(),
        x,
        y,
        None,
        assault=Assault(liar, {"point": point}),
        norm=math.inf,
        grid=GRID[:1],
        execution=Execution(),
    ).to_pandas()
    assert set(table["status"]) == {status}
    assert not table["fooled"].any()


def test_an_attack_may_be_given_as_the_function_and_a_goal_as_a_number(
    net: nn.Module, samples: tuple[Tensor, Tensor]
) -> None:
    x, y = samples
    threat = ThreatModel(math.inf, 0.1)
    by_name = evaluate(net, x, y, attack="pgd", threat=threat, goal="3", steps=3)
    _assert_same(evaluate(net, x, y, attack=pgd, threat=threat, goal=3, steps=3), by_name)
    assert torch.equal(by_name.robust, by_name.clean_correct & ~by_name.fooled & (by_name.adv_pred == y))
    assert repr(by_name).startswith("Outcomes(40 rows, 38 classified correctly at x, ")


@pytest.mark.parametrize("attack", ["pgd", "square", "carlini_wagner"])
def test_each_sample_may_have_a_class_of_its_own_to_reach(
    net: nn.Module, samples: tuple[Tensor, Tensor], attack: str
) -> None:
    """As the goal "next", one class per sample too; where it is the label, or -1, there is nothing to reach."""
    x, y = samples
    threat = ThreatModel(2, None if attack == "carlini_wagner" else 1.5)
    goal, by_name = (y + 1) % 5, evaluate(net, x, y, attack=attack, threat=threat, goal="next")
    given = evaluate(net, x, y, attack=attack, threat=threat, goal=goal)
    assert given.to_pandas().equals(by_name.to_pandas())
    assert by_name.fooled.any()
    goal = goal.where(torch.arange(len(y)) % 3 > 0, y).where(torch.arange(len(y)) % 3 < 2, -1)
    some = evaluate(net, x, y, attack=attack, threat=threat, goal=goal.tolist())
    asked = torch.arange(len(y)) % 3 == 1
    assert torch.equal(some.target, goal.where(asked, -1))
    assert {STATUSES[code] for code in some.status[~asked].tolist()} <= {"not_applicable", "clean_error"}
    assert torch.equal(some.fooled[asked], by_name.fooled[asked])


def test_no_samples_give_no_rows(net: nn.Module) -> None:
    x, y = torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64)
    assert len(evaluate(net, x, y, threat=ThreatModel(math.inf, 0.1))) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attack": "pgdd"}, "did you mean 'pgd'"),
        ({"step": 3}, "did you mean 'steps'"),
        ({"goal": "nearest"}, "no goal"),
        ({"goal": torch.tensor([1])}, r"a class or 2 classes, got torch.int64 of shape \(1,\)"),
        ({"goal": torch.tensor([1.0, 2.0])}, "goal must be a name, a class or 2 classes"),
        ({"goal": (1, 5)}, r"goal: classes must lie in 0 \.\. 4 \(or be -1: none\), got 1 \.\. 5"),
        ({"goal": torch.tensor([1, 1]), "attack": "fab_t"}, "fab_t cannot be targeted"),
        ({"threat": ThreatModel(0, 3)}, "does not work in l0"),
        ({"threat": ThreatModel(math.inf, None)}, "needs a radius"),
        ({"x": torch.full((2, 1, 8, 8), 3.0)}, r"images must lie in \[0, 1\]"),
        ({"x": torch.zeros(2, 64)}, r"images must be \(B, C, H, W\), got shape \(2, 64\)"),
        ({"y": torch.zeros(3, dtype=torch.int64)}, "must be int64 labels"),
        ({"y": torch.tensor([0, 9])}, r"labels must lie in 0 \.\. 4"),
        ({"x": torch.zeros(2, 1, 8, 8).numpy()}, "must be a torch tensor"),
        ({"y": [0, 1]}, "y must be a torch tensor of int64 labels, got list"),
        (
            {"x": torch.zeros(2, 3, 8, 8)},
            r"does not take images \(3, 8, 8\): .* takes 1 channel and gets 3",
        ),
        ({"x": torch.zeros(2, 1, 9, 9)}, r"does not take images \(1, 9, 9\): .* takes \d+ values and gets \d+"),
        ({"device": "gpu"}, "no device 'gpu' here; there are: cpu, auto"),
        ({"attack": None}, "attack must be a name or a function registered with @attack, got None"),
        ({"attack": lambda: None}, "registered with @attack, got <lambda>"),
        ({"attack": "saliency"}, "'saliency' is an attribution, not an attack"),
        ({"attack": "random_spher"}, "did you mean 'random_sphere'"),
        ({"threat": "linf"}, "threat must be a ThreatModel"),
        ({"threat": ThreatModel(math.inf, 0.1, 0.2, 0.8)}, r"images are in \[0, 1\] here, got the box \[0.2, 0.8\]"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ({"seed": "0"}, "seed must be a whole number >= 0, got '0'"),
        ({"budget": 0}, "budget must be a whole number of at least 1, got 0"),
        ({"budget": 2.5}, "budget must be a whole number of at least 1, got 2.5"),
        ({"micro_batch": 0}, "micro_batch must be a whole number of at least 1, got 0"),
        ({"precision": "float16"}, "precision must be float32 or bfloat16, got 'float16'"),
        ({"sample_ids": torch.arange(3)}, r"sample_ids must be 2 whole numbers, got torch.int64 of shape \(3,\)"),
        ({"sample_ids": [0.5, 1.0]}, "sample_ids must be 2 whole numbers, got torch.float32"),
        ({"steps": 2.5}, "pgd: steps must be an integer, got 2.5"),
        ({"steps": "4"}, "pgd: steps must be an integer, got '4'"),
        ({"step_size": "0.1"}, "pgd: step_size must be a number or None, got '0.1'"),
        ({"attack": "apgd", "loss": "dl"}, "apgd: loss must be one of ce, dlr, got 'dl'; did you mean 'dlr'"),
        ({"attack": "transfer"}, "transfer needs the parameter 'substitute': a model"),
        ({"attack": "transfer", "substitute": "twin"}, "transfer: substitute must be a model, got 'twin'"),
        (
            {"attack": "transfer", "substitute": torch.nn.Linear(3, 5)},
            r"the substitute does not take images \(1, 8, 8\): Linear takes 3 values and gets 8",
        ),
    ],
)
def test_bad_input_is_refused_before_any_work(net: nn.Module, change: dict[str, object], message: str) -> None:
    call: dict[str, object] = {
        "x": torch.zeros(2, 1, 8, 8),
        "y": torch.zeros(2, dtype=torch.int64),
        "threat": ThreatModel(math.inf, 0.1),
    } | change
    with pytest.raises(ConfigError, match=message):
        evaluate(net, **call)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("small_cnn", "model must be a torch.nn.Module, got 'small_cnn'; load_model makes one from a name"),
        (None, "model must be a torch.nn.Module, got None"),
        (nn.Flatten(0), r"the model must return logits \(1, K\) for 1 images, it returned \(64,\)"),
        (nn.Identity(), r"the model must return logits \(1, K\) for 1 images, it returned \(1, 1, 8, 8\)"),
    ],
)
def test_what_is_no_classifier_is_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(model, torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64), threat=ThreatModel(math.inf, 0.1))


def test_the_networks_own_error_is_kept_as_the_cause(net: nn.Module) -> None:
    with pytest.raises(ConfigError) as caught:
        evaluate(net, torch.zeros(2, 1, 9, 9), torch.zeros(2, dtype=torch.int64), threat=ThreatModel(math.inf, 0.1))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_functions_name_is_not_enough(net: nn.Module) -> None:
    def pgd(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws) -> Tensor:
        return x

    with pytest.raises(ConfigError, match="registered with @attack, got pgd"):
        evaluate(net, torch.zeros(2, 1, 8, 8), torch.zeros(2).long(), attack=pgd, threat=ThreatModel(math.inf, 0.1))


def _walk(
    model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws, asked: list[float | None]
) -> Tensor:
    """The last wrong point of a walk of 50 steps from afar back to x, along the sign of the gradient."""
    asked.append(threat.eps)
    grad = class_gradient(model, x, y)
    found = x.clone()
    for length in torch.linspace(0.5, 0.01, 50):
        z = (x - length * grad.sign()).clamp(0.0, 1.0)
        wrong = model(z).argmax(1) != y
        found[wrong] = z[wrong]
    return found


def test_a_minimum_norm_attack_runs_once_for_the_whole_grid(net: nn.Module, samples: tuple[Tensor, Tensor]) -> None:
    x, y = samples
    asked: list[float | None] = []
    entry = Entry("walk", _walk, AttackInfo(norms=(math.inf,), access="gradient", minimum_norm=True))
    assault = Assault(entry, {"asked": asked})
    how = {"assault": assault, "norm": math.inf, "execution": Execution()}
    table = evaluate_grid(net, x, y, None, grid=GRID, **how)  # type: ignore[arg-type]
    assert asked == [None]
    nearest = evaluate_grid(net, x, y, None, grid=None, **how)  # type: ignore[arg-type]
    for k, radius in enumerate(GRID):
        page = table.take(torch.arange(40 * k, 40 * (k + 1)))
        assert torch.equal(page.fooled, nearest.fooled & (nearest.linf <= float(radius) * (1 + 1e-6) + 1e-7))
        assert bool((page.linf[page.fooled] == nearest.linf[page.fooled]).all())
        assert bool((page.linf[~page.fooled] == 0).all())  # what is not near enough is not shown as an example
        assert bool(page.in_ball.all())
        attacked = page.clean_correct
        assert bool((page.forwards[attacked] == 51).all())
    # The walk comes from far away: it enters a smaller ball later.
    first = table.first_success_step.reshape(len(GRID), 40)
    both = (first[:-1] > 0) & (first[1:] > 0)
    assert bool((first[:-1][both] >= first[1:][both]).all())
    assert int(both.sum()) > 10
    for k, radius in enumerate(GRID):  # a grid of one radius counts alike
        alone = evaluate_grid(net, x, y, None, grid=[radius], **how)  # type: ignore[arg-type]
        assert torch.equal(alone.first_success_step, first[k])


def test_a_budget_binds_every_sample(net: nn.Module, samples: tuple[Tensor, Tensor]) -> None:
    x, y = samples
    table = evaluate(net, x, y, attack="pgd", threat=ThreatModel(math.inf, 0.02), budget=7, steps=10)
    passes = table.forwards + table.backwards
    assert bool((passes[table.robust] == 7).all())  # three steps, and a last look that is not followed back
    assert int(table.robust.sum()) > 10
    with pytest.raises(ConfigError, match="budget"):
        evaluate(net, x, y, attack="pgd", threat=ThreatModel(math.inf, 0.02), budget=0)


def test_a_model_on_another_device_stays_there(net: nn.Module) -> None:
    """The device "meta" is on every machine."""
    moved = on_device(net, torch.device("meta"))
    assert {tensor.device.type for tensor in moved.parameters()} == {"meta"}
    assert {tensor.device.type for tensor in net.parameters()} == {"cpu"}
    assert on_device(net, torch.device("cpu")) is net


def test_inference_mode_does_not_hide_the_gradients(net: nn.Module, samples: tuple[Tensor, Tensor]) -> None:
    """Under it every gradient would be missing and every sample would seem to hold."""
    x, y = samples
    threat = ThreatModel(math.inf, 0.1)
    expected = evaluate(net, x, y, attack="fgsm", threat=threat)
    assert bool(expected.fooled.any())
    with torch.inference_mode():
        for images, labels in ((x, y), (x.clone(), y.clone())):
            assert torch.equal(evaluate(net, images, labels, attack="fgsm", threat=threat).fooled, expected.fooled)


def test_images_that_want_a_gradient_are_attacked_without_a_graph(
    net: nn.Module, samples: tuple[Tensor, Tensor]
) -> None:
    """Else x_adv, and every step on the way to it, would hang on the graph of x."""
    x, y = samples
    wanting = x.clone().requires_grad_(True)
    threat = ThreatModel(math.inf, 0.1)
    found = evaluate(net, wanting, y, attack="pgd", threat=threat, steps=3).x_adv
    expected = evaluate(net, x, y, attack="pgd", threat=threat, steps=3).x_adv
    assert found is not None
    assert expected is not None
    assert not found.requires_grad
    assert torch.equal(found, expected)
    assert wanting.grad is None


def test_a_model_that_writes_into_its_images_is_refused(net: nn.Module, samples: tuple[Tensor, Tensor]) -> None:
    x, y = samples
    before = x.clone()
    with pytest.raises(ConfigError, match="in place"):
        evaluate(Writer(net), x, y, attack="pgd", threat=ThreatModel(math.inf, 0.1))
    assert torch.equal(x, before)


def test_logits_that_are_no_numbers_are_refused(net: nn.Module, samples: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ConfigError, match="not finite on clean images"):
        evaluate(NoNumbers(net), *samples, attack="pgd", threat=ThreatModel(math.inf, 0.1))


@pytest.mark.parametrize(
    ("name", "norm", "radii"), [("universal", math.inf, GRID[1:4]), ("universal_patch", 0.0, None)]
)
def test_one_perturbation_for_all_samples_is_one_at_every_radius(
    net: nn.Module, samples: tuple[Tensor, Tensor], name: str, norm: float, radii: tuple[Radius, ...] | None
) -> None:
    x, y = samples
    grid = radii or tuple(map(Radius, ("9", "16", "25")))
    assault = Assault(ATTACKS[name], {"epochs": 2})
    table = evaluate_grid(net, x, y, None, assault=assault, norm=norm, grid=grid, execution=Execution())
    for k, radius in enumerate(grid):
        page = table.take(torch.arange(40 * k, 40 * (k + 1)))
        alone = evaluate(net, x, y, attack=name, threat=ThreatModel(norm, float(radius)), epochs=2)
        _assert_same(page, alone)
        assert set(page.evidence.tolist()) == {0}


def test_robust_accuracy_is_about_the_samples_that_the_goal_applies_to(
    net: nn.Module, samples: tuple[Tensor, Tensor]
) -> None:
    x, y = samples
    rows = evaluate(net, x, y, attack="pgd", threat=ThreatModel(math.inf, 0.3), goal=int(y[5]), steps=5)
    asked = y != y[5]
    assert rows.robust_accuracy == pytest.approx(float(rows.robust[asked].float().mean()))
    assert rows.robust_accuracy < float(rows.robust.float().mean())
    assert math.isnan(rows.take(torch.tensor([5])).robust_accuracy)


def test_an_inner_attack_may_be_given_by_name(net: nn.Module, samples: tuple[Tensor, Tensor]) -> None:
    x, y = samples
    how = {"attack": "transfer", "threat": ThreatModel(math.inf, 0.05), "substitute": net}
    _assert_same(evaluate(net, x, y, via="pgd", **how), evaluate(net, x, y, via=pgd, **how))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no attack named 'pgdd'; did you mean 'pgd'"):
        evaluate(net, x, y, via="pgdd", **how)  # type: ignore[arg-type]


def test_a_part_of_a_component_is_no_radius_in_l0(net: nn.Module, samples: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ConfigError, match=r"eps in l0 is a number of components: 0\.5 allows none"):
        evaluate(net, *samples, attack="pgd_l0", threat=ThreatModel(0, 0.5))

"""The training loop: it learns, it repeats itself, it goes on where it was stopped."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from advbench.core.draws import Draws
from advbench.datasets.dataset import Dataset
from advbench.defenses import train as training_loop
from advbench.defenses.curve import Epoch, Measured, measure
from advbench.defenses.train import Training, TrainingLoss, plain, train
from advbench.defenses.training.adversarial import adversarial
from advbench.defenses.training.fast_adversarial import fast_adversarial
from advbench.models.small_cnn import small_cnn
from advbench.registry import DEFENSES, DefenseInfo, Entry
from advbench.types import ConfigError, ThreatModel

LINF = ThreatModel(math.inf, 0.15)
SHORT = Training(epochs=3, batch_size=64, held_out=100)


def net(seed: int = 0) -> nn.Module:
    """Untrained, with dropout: it draws from torch's global generator."""
    model = small_cnn((1, 8, 8), 10, seed=seed, width=8)
    assert isinstance(model, nn.Sequential)
    return model.insert(4, nn.Dropout(0.1))


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.mark.slow
def test_a_plain_training_learns_the_digits(digits: Dataset, unseen_digits: Dataset) -> None:
    model = small_cnn((1, 8, 8), 10, seed=0)
    training = Training(epochs=8, batch_size=64)
    curve = train(model, digits.images, digits.labels, training=training, seed=0, progress=False)
    losses = [epoch.loss for epoch in curve.epochs]
    assert len(losses) == 8
    assert losses[-1] < 0.2 * losses[0]
    ids = torch.arange(len(unseen_digits))
    found = measure(
        model, unseen_digits.images, unseen_digits.labels, ids, threat=ThreatModel(2, 0.0), seed=0, size=500
    )
    assert found.accuracy is not None
    assert found.accuracy > 0.9
    assert curve.epochs[-1].held_out_accuracy == pytest.approx(found.accuracy, abs=0.08)
    assert curve.epochs[-1].held_out_pgd_accuracy is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "threat"),
    [
        (adversarial, LINF),
        (fast_adversarial, LINF),
        (partial(adversarial, steps=5), ThreatModel(2, 0.8)),
    ],
)
def test_a_defended_net_holds_where_its_undefended_twin_falls(
    loss: TrainingLoss, threat: ThreatModel, digits: Dataset, unseen_digits: Dataset
) -> None:
    training = Training(epochs=8, batch_size=64)
    held = []
    for used, against in ((plain, ThreatModel(2, 0.0)), (loss, threat)):
        model = small_cnn((1, 8, 8), 10, seed=0)
        train(model, digits.images, digits.labels, loss=used, threat=against, training=training, seed=0, progress=False)
        ids = torch.arange(len(unseen_digits))
        found = measure(model, unseen_digits.images, unseen_digits.labels, ids, threat=threat, seed=1, size=500)
        assert found.pgd_accuracy is not None
        held.append(found.pgd_accuracy)
    assert held[1] > held[0] + 0.15


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "stopped_after"), [("adam", 1), ("sgd", 2)])
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(
    optimizer: str, stopped_after: int, digits: Dataset, tmp_path: Path
) -> None:
    training = Training(epochs=3, batch_size=64, lr=0.01, optimizer=optimizer, augment="crop_flip")  # type: ignore[arg-type]
    go = partial(
        train, images=digits.images, labels=digits.labels, loss=partial(adversarial, steps=2), threat=LINF, seed=3,
        training=training, progress=False,
    )  # fmt: skip
    whole, parts = net(), net()
    expected = go(whole)

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == stopped_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(parts, checkpoint=tmp_path / "checkpoint.pt", on_epoch=stop)
    torch.rand(5)  # the global generator is somewhere else by now
    seen: list[int] = []
    resumed = net(seed=9)
    curve = go(resumed, checkpoint=tmp_path / "checkpoint.pt", on_epoch=lambda epoch: seen.append(epoch.epoch))
    assert seen == list(range(stopped_after + 1, 4))
    assert_same(state(resumed), state(whole))
    assert [epoch.loss for epoch in curve.epochs] == [epoch.loss for epoch in expected.epochs]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(digits: Dataset) -> None:
    def trained(seed: int) -> dict[str, Tensor]:
        model = net()
        train(model, digits.images, digits.labels, training=Training(epochs=1), seed=seed, progress=False)
        return state(model)

    first, second, other = trained(0), trained(0), trained(1)
    assert_same(first, second)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_global_generator_and_the_modes_come_back(digits: Dataset) -> None:
    model = net().train()
    model[0].eval()  # type: ignore[index]
    modes = [module.training for module in model.modules()]
    before = torch.get_rng_state()
    train(model, digits.images, digits.labels, training=Training(epochs=1), seed=0, progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.is_contiguous() for parameter in model.parameters())


def test_every_sample_that_is_not_held_out_is_seen_once_an_epoch_and_the_radius_ramps_up() -> None:
    count = 103
    x, y = torch.rand(count, 1, 4, 4), torch.arange(count) % 3
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    seen: list[Tensor] = []
    radii: list[float] = []

    def watching(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws) -> Tensor:
        seen.append(draws.sample_ids)
        radii.append(threat.eps or 0.0)
        assert model.training
        return plain(model, x, y, threat, draws=draws)

    training = Training(epochs=2, batch_size=10, held_out=20, eps_ramp=0.5)
    train(model, x.__getitem__, y, loss=watching, threat=LINF, training=training, seed=0, progress=False)
    batches = len(seen) // 2
    first, second = torch.cat(seen[:batches]), torch.cat(seen[batches:])
    assert len(first) == 103 - 10  # a tenth of the samples at most
    assert torch.equal(first.sort().values, second.sort().values)
    assert len(first.unique()) == len(first)
    assert not torch.equal(first, second)
    assert max(map(len, seen)) - min(map(len, seen)) <= 1
    assert radii[: batches + 1] == pytest.approx([LINF.eps * (i + 1) / batches for i in range(batches)] + [LINF.eps])  # type: ignore[operator]
    assert set(radii[batches:]) == {LINF.eps}


def test_a_loss_that_is_no_number_stops_the_training_with_a_hint() -> None:
    x, y = torch.rand(32, 1, 4, 4), torch.arange(32) % 2
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))

    def broken(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws) -> Tensor:
        return plain(model, x, y, threat, draws=draws) * math.inf

    with pytest.raises(FloatingPointError, match=r"inf in epoch 1; lower training.lr \(now 0.002\)"):
        train(model, x.__getitem__, y, loss=broken, training=SHORT, seed=0, progress=False)


def test_bfloat16_learns_and_keeps_the_weights_in_float32(digits: Dataset) -> None:
    model = small_cnn((1, 8, 8), 10, seed=0)
    training = Training(epochs=2, batch_size=64, precision="bfloat16")
    loss = partial(adversarial, steps=2)
    curve = train(
        model, digits.images, digits.labels, loss=loss, threat=LINF, training=training, seed=0, progress=False
    )
    assert curve.epochs[1].loss < curve.epochs[0].loss
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_a_checkpoint_of_another_training_is_refused(digits: Dataset, tmp_path: Path) -> None:
    settings = {"images": digits.images, "labels": digits.labels, "seed": 0, "loss": partial(adversarial, steps=1)}
    settings |= {"checkpoint": tmp_path / "checkpoint.pt", "threat": LINF, "training": Training(epochs=1)}
    train(net(), **settings, progress=False)  # type: ignore[arg-type]
    others: list[dict[str, object]] = [
        {"seed": 1},
        {"training": Training(epochs=2)},
        {"threat": LINF.at(0.2)},
        {"loss": plain},
        {"loss": partial(adversarial, steps=2)},
        {"labels": digits.labels.flip(0)},  # the same labels in another order
        {"images": lambda ids: 1.0 - digits.images(ids)},
    ]
    for other in others:
        with pytest.raises(ConfigError, match="another training"):
            train(net(), **{**settings, **other}, progress=False)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="another training"):
        train(small_cnn((1, 8, 8), 10, seed=0), **settings, progress=False)  # type: ignore[arg-type]
    train(net(), **settings, progress=False)  # type: ignore[arg-type]


def test_a_checkpoint_knows_the_code_of_a_loss_of_the_users(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DEFENSES.load()
    settings = {
        "images": digits.images,
        "labels": digits.labels,
        "seed": 0,
        "loss": mine,
        "training": Training(epochs=1),
    }
    settings |= {"checkpoint": tmp_path / "checkpoint.pt", "progress": False}
    for code in ("before", "before"):
        monkeypatch.setitem(DEFENSES._entries, "mine", Entry("mine", mine, DefenseInfo("training"), code))
        train(net(), **settings)  # type: ignore[arg-type]
    monkeypatch.setitem(DEFENSES._entries, "mine", Entry("mine", mine, DefenseInfo("training"), "after"))
    with pytest.raises(ConfigError, match="another training"):
        train(net(), **settings)  # type: ignore[arg-type]


def mine(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws) -> Tensor:
    """A loss of a third party."""
    return cross_entropy(model(x), y).mean()


def test_nothing_to_train_on_and_no_radius_are_refused() -> None:
    x, y = torch.rand(4, 1, 4, 4), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ConfigError, match="at least one sample"):
        train(nn.Flatten(), x.__getitem__, y[:0], training=SHORT, seed=0)
    with pytest.raises(ConfigError, match="radius"):
        train(nn.Flatten(), x.__getitem__, y, training=SHORT, seed=0, threat=ThreatModel(2, None))


def test_progress_is_a_plain_line_per_epoch_where_there_is_no_terminal(
    digits: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    train(net(), digits.images, digits.labels, training=Training(epochs=2), seed=0)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2"]
    assert "held out" in lines[0]


def test_a_collapse_is_told_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # Two measurements an epoch: on samples seen in training, on samples held out.
    robust = iter([0.1, 0.1, 0.6, 0.6, 0.0, 0.0])
    monkeypatch.setattr(training_loop, "measure", lambda *args, **kwargs: Measured(0.9, next(robust)))
    x, y = torch.rand(40, 1, 4, 4), torch.arange(40) % 2
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    curve = train(model, x.__getitem__, y, loss=fast_adversarial, threat=LINF, training=SHORT, seed=0)
    assert curve.collapsed
    lines = capsys.readouterr().err.splitlines()
    assert [number for number, line in enumerate(lines) if "catastrophic overfitting" in line] == [3]

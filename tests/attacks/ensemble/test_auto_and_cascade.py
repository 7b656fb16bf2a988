"""Ensembles: as strong as their strongest part, no work for samples that are done, a rule that owns up to itself."""

from __future__ import annotations

import warnings
from math import inf

import pytest
import torch
from torch import Tensor, nn

from advbench.attacks.ensemble.auto import auto, standard
from advbench.attacks.ensemble.cascade import cascade
from advbench.attacks.ensemble.worst_case import in_copies
from advbench.core.draws import Draws
from advbench.core.losses import margin_loss
from advbench.core.marks import collecting, marked
from advbench.core.objectives import misclassify
from advbench.models.watch import Watched
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, Shaky, conv_net, images

SIZE, QUERIES = 12, 400


class Sharp(nn.Module):
    """The same decisions with logits so far apart that the cross entropy has no gradient left in float32."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = 1e4 * self.model(x)
        return logits


BRIEF = {"steps": 20, "queries": QUERIES}


def case(radius: float) -> tuple[nn.Module, Tensor, Tensor, ThreatModel, Draws]:
    net = conv_net()
    x, y, draws = images(net, SIZE)
    return net, x, y, ThreatModel(inf, radius), draws


def held(model: nn.Module, x_adv: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        kept: Tensor = model(x_adv).argmax(1) == y
    return kept


@pytest.mark.slow
@pytest.mark.parametrize("radius", [0.02, 0.06])
def test_what_one_part_fools_the_whole_fools(radius: float) -> None:
    net, x, y, threat, draws = case(radius)
    together = held(net, auto(net, x, y, threat, draws=draws, **BRIEF), y)
    for name, part in standard(**BRIEF, norm=threat.norm).items():
        alone = held(net, part(net, x, y, threat, draws=draws.branch(name)), y)
        assert not bool((together & ~alone).any()), name


@pytest.mark.slow
def test_what_one_part_fooled_costs_the_others_nothing() -> None:
    net, x, y, threat, draws = case(0.5)
    watched = Watched(net, y)
    assert not bool(held(net, auto(watched, x, y, threat, draws=draws, **BRIEF), y).any())
    assert int(watched.forwards.max()) < 110  # the looks before and after, and a run of APGD at most


@pytest.mark.slow
def test_the_cascade_tells_every_survivor_apart() -> None:
    net, x, y, threat, draws = case(0.03)
    with collecting() as marks:
        left = held(net, cascade(net, x, y, threat, draws=draws, audit=0.5, **BRIEF), y)
    decided, audited = (marked(marks, word, SIZE, x.device) for word in ("decided", "audited"))
    assert not bool((decided & audited).any())
    assert bool((left | ~decided).all()), "a sample that was declared robust is returned as fooled"
    whole = held(net, auto(net, x, y, threat, draws=draws, **BRIEF), y)
    assert torch.equal(left, whole)


@pytest.mark.slow
def test_all_or_nothing_is_audited() -> None:
    net, x, y, threat, draws = case(0.005)
    for audit, word in ((0.0, "decided"), (1.0, "audited")):
        watched = Watched(net, y)
        with collecting() as marks:
            cascade(watched, x, y, threat, draws=draws, audit=audit, **BRIEF)
        sure = marked(marks, word, SIZE, x.device)
        assert int(sure.sum()) > 3
        full = watched.forwards[sure] > QUERIES
        assert bool((full == (audit == 1.0)).all())


@pytest.mark.slow
def test_what_the_rule_overlooks_is_among_the_audited_and_what_falls_by_itself_is_not() -> None:
    """A rule that hardly ever doubts, after a step or two: all audited, and none."""
    net = conv_net()
    x, y, draws = images(net, 200)
    threat, how = ThreatModel(inf, 0.03), {"steps": 5, "queries": 20, "doubt": 0.0, "populations": 0, "persistence": 0}
    held_at, said = {}, {}
    for audit in (0.0, 1.0):
        with collecting() as marks:
            held_at[audit] = held(net, cascade(net, x, y, threat, draws=draws, audit=audit, **how), y)
        said[audit] = {word: marked(marks, word, 200, x.device) for word in ("decided", "audited")}
    overlooked = held_at[0.0] & ~held_at[1.0]
    assert 0 < int(overlooked.sum()) < 20
    assert bool((said[0.0]["decided"] & said[1.0]["audited"])[overlooked].all())
    assert not bool(said[1.0]["decided"].any() | said[0.0]["audited"].any())
    assert bool((held_at[0.0] | ~said[0.0]["decided"]).all())


@pytest.mark.slow
def test_vanishing_gradients_do_not_help() -> None:
    net, x, y, threat, draws = case(0.06)
    plain = held(net, auto(net, x, y, threat, draws=draws, **BRIEF), y)
    assert not bool(plain.all())
    masked = held(Sharp(net), cascade(Sharp(net), x, y, threat, draws=draws, **BRIEF), y)
    assert not bool((masked & ~plain).any())


@pytest.mark.slow
def test_a_random_model_is_named_as_such_and_met_with_means() -> None:
    net, x, y, threat, draws = case(0.05)
    model, shares = Shaky(net), {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        with pytest.warns(RuntimeWarning, match="version='rand' averages"):
            x_adv = auto(model, x, y, threat, draws=draws, version="standard", steps=20, queries=50)
        shares["standard"] = model.fooled_share(x_adv, y)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            x_adv = auto(model, x, y, threat, draws=draws, version="rand", steps=20)
        shares["rand"] = model.fooled_share(x_adv, y)
    assert shares["rand"] > shares["standard"] + 0.1


def test_cascade_names_a_random_model_too() -> None:
    net, x, y, threat, draws = case(0.05)
    with pytest.warns(RuntimeWarning, match="cascade: the model answers .* differently"):
        cascade(Shaky(net), x, y, threat, draws=draws, **BRIEF | {"populations": 0, "persistence": 0})


def test_on_a_model_that_is_not_random_no_warning_is_given() -> None:
    net, x, y, threat, draws = case(0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        auto(net, x, y, threat, draws=draws, version="plus", steps=2, queries=4)
    watched = Watched(net, y)
    auto(watched, x, y, threat, draws=draws, version="rand", steps=2)
    assert int(watched.forwards.max()) <= 20 * (1 + 2 * (1 + 3 + 1))


def test_copies_are_attacked_at_once_and_the_best_is_kept() -> None:
    net, x, y, threat, draws = case(0.03)
    seen: list[tuple[Tensor, Tensor]] = []

    def noise(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws) -> Tensor:
        z = x + 0.2 * draws.normal(tuple(x.shape[1:]), "noise")
        model(z)  # a pass that the books must charge to the right samples
        seen.append((z, draws.sample_ids))
        return z

    watched = Watched(net, y)
    best = in_copies(noise, 5)(watched, x, y, threat, draws=draws)
    (tried, ids) = seen[0]
    assert len(seen) == 1
    assert len(ids.unique()) == 5 * SIZE
    assert watched.forwards.tolist() == [10] * SIZE  # five in the part, five looks afterwards
    margin = misclassify(net, y.repeat_interleave(5), loss=margin_loss)(tried, torch.arange(5 * SIZE)).loss
    assert torch.equal(
        best, tried.reshape(SIZE, 5, *x.shape[1:])[torch.arange(SIZE), margin.reshape(SIZE, 5).argmin(1)]
    )


def test_bad_settings_are_refused_before_work() -> None:
    net, x, y, threat, draws = case(0.1)
    with pytest.raises(ConfigError, match="version"):
        auto(net, x, y, threat, draws=draws, version="extra")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="audit"):
        cascade(net, x, y, threat, draws=draws, audit=1.5)
    with pytest.raises(ConfigError, match="eps"):
        auto(net, x, y, threat.at(None), draws=draws)
    for method in (auto, cascade):
        watched = Counting(net, len(x))
        with pytest.raises(ConfigError, match="queries must be at least 2, one for x and one for the start of square"):
            method(watched, x, y, threat, draws=draws, steps=2, queries=1)
        assert not bool(watched.passes.any())

"""The numbers below a map are those of the metrics, each for its own image and score."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from advbench.attributions.gradient import gradient
from advbench.bench import explanation_measures
from advbench.bench.asked_scores import asked_scores
from advbench.bench.explanation import (
    MAP,
    RANDOM_WEIGHTS,
    SHUFFLED,
    Panel,
    Question,
    methods,
    panels,
    random_copy,
    with_layers,
)
from advbench.bench.explanation_measures import measured
from advbench.core.draws import Draws
from advbench.core.targets import parse_target
from advbench.metrics.completeness import completeness
from advbench.metrics.deletion import deletion
from advbench.metrics.energy_pointing_game import energy_pointing_game
from advbench.metrics.insertion import insertion
from advbench.metrics.map_similarity import rank_correlation
from advbench.metrics.pointing_game import pointing_game
from advbench.metrics.random_logit import random_logit
from advbench.metrics.road import road

K = 3


def question(*names: str, target: str | None = None, controls: bool = False, **params: object) -> Question:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(180, 8), nn.ReLU())
    model = nn.Sequential(*model, nn.Linear(8, K)).eval()
    x = torch.rand(3, 3, 6, 6)
    targets = () if target is None else (target,)
    asked = asked_scores(model(x).detach(), ["a", "b", "c"], classes=(), targets=targets, top=None)
    chosen = methods(names, params, layer=None)  # type: ignore[arg-type]
    return Question(x, asked, chosen, [model], [random_copy(model, x, 0)] if controls else [])


def number(panel: Panel, word: str) -> float:
    notes = (*panel.notes, *panel.of_method)
    found = re.search(rf"{re.escape(word)} (-?[\d.]+|nan)", " ".join(notes))
    assert found is not None, notes
    return float(found[1])


@pytest.mark.parametrize("target", [None, "log_prob:y"])
def test_areas_are_those_of_the_metrics(target: str | None) -> None:
    asked = question("saliency", target=target)
    for panel in measured(asked, panels(asked)):
        x, heat = asked.x[panel.sample : panel.sample + 1], panel.heat[None]
        text = asked.asked[0].texts[panel.sample]
        y = torch.tensor([int(text.split(":")[1])]) if target is None else parse_target(text)
        draws = Draws(0, torch.tensor([panel.sample]))
        low = float(deletion(asked.nets[0], x, y, heat, draws=draws, normalise=True).area)
        high = float(insertion(asked.nets[0], x, y, heat, draws=draws, normalise=True).area)
        assert number(panel, "del.") == pytest.approx(low, abs=0.0051, nan_ok=True)
        assert number(panel, "ins.") == pytest.approx(high, abs=0.0051, nan_ok=True)
        gap = float(road(asked.nets[0], x, y, heat, draws=draws).gap)
        assert number(panel, "road") == pytest.approx(gap, abs=0.0051)


def test_classes_are_told_apart_where_classes_were_asked_for() -> None:
    asked = question("gradient")
    made = measured(asked, panels(asked))
    y = torch.tensor([int(text.split(":")[1]) for text in asked.asked[0].texts])
    expected = random_logit(lambda kind: gradient(asked.nets[0], asked.x, kind), y, K, draws=Draws(0, torch.arange(3)))
    for panel in made:
        assert number(panel, "other class:") == pytest.approx(expected.score, abs=0.0051)
    other = question("gradient", target="log_prob:y")
    assert not any("other class" in note for panel in measured(other, panels(other)) for note in panel.of_method)


def test_where_the_object_is_known_the_map_is_held_against_it() -> None:
    asked = question("saliency", controls=True)
    objects = torch.zeros(3, 6, 6, dtype=torch.bool)
    objects[0, :3], objects[1, :, 4:] = True, True
    for panel in measured(replace(asked, objects=objects), panels(asked)):
        if panel.control == RANDOM_WEIGHTS:
            continue
        mask, heat = objects[panel.sample : panel.sample + 1], panel.heat[None]
        hit, share = pointing_game(heat, mask, tolerance=0), energy_pointing_game(heat, mask)
        assert number(panel, "on object:") == pytest.approx(float(hit), abs=0.051, nan_ok=True)
        assert number(panel, "energy") == pytest.approx(float(share), abs=0.0051, nan_ok=True)


def test_complete_methods_say_what_is_missing_and_others_do_not() -> None:
    asked = question("integrated_gradients", "gradient")
    for panel in measured(asked, panels(asked)):
        if panel.method == 0:
            x = asked.x[panel.sample : panel.sample + 1]
            y = torch.tensor([int(asked.asked[0].texts[panel.sample].split(":")[1])])
            gap = completeness(asked.nets[0], x, y, panel.heat[None], torch.zeros(1)).relative
            assert number(panel, "sum off") == pytest.approx(100 * float(gap), abs=0.051)
        else:
            assert "sum off" not in " ".join(panel.notes)
    blurred = question("integrated_gradients", baseline="blur")
    assert all("sum off" not in " ".join(panel.notes) for panel in measured(blurred, panels(blurred)))


def test_a_map_without_structure_is_called_blank_and_has_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = question("gradient", controls=True)
    maps = explanation_measures.maps_of
    monkeypatch.setattr(explanation_measures, "maps_of", lambda *given: [0 * maps(*given)[0], *maps(*given)[1:]])
    made = [replace(panel, heat=0 * panel.heat) if panel.sample == 0 else panel for panel in panels(asked)]
    for panel in measured(asked, made):
        notes = " ".join(panel.notes)
        if panel.control == RANDOM_WEIGHTS:
            assert ("likeness: blank" in notes) == (panel.sample == 0)
        else:
            assert (panel.notes[0] == "blank") == (panel.sample == 0) == ("del." not in notes)
        if panel.control == MAP:
            assert "(1 blank)" in panel.of_method[0]  # in one stage at most half of the layers forgot


def test_random_weights_are_compared_with_the_map() -> None:
    asked = question("gradient", controls=True)
    made = measured(asked, panels(asked))
    own = {panel.sample: panel.heat for panel in made if panel.control == MAP}
    for panel in made:
        if panel.control == RANDOM_WEIGHTS:
            pair = [heat.abs().sum(0)[None, None] for heat in (panel.heat, own[panel.sample])]
            assert number(panel, "likeness") == pytest.approx(float(rank_correlation(*pair)), abs=0.0051)
        if panel.control == SHUFFLED:
            assert panel.of_method == ()


def test_random_copies_leave_the_net_and_share_no_weight() -> None:
    asked = question("gradient")
    before = {name: value.clone() for name, value in asked.nets[0].state_dict().items()}
    other = random_copy(asked.nets[0], asked.x, 1)
    after = asked.nets[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(torch.equal(value, after[name]) for name, value in other.state_dict().items())
    again = random_copy(asked.nets[0], asked.x, 1).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in other.state_dict().items())


def test_the_layer_that_a_method_would_choose_is_named() -> None:
    asked = question("grad_cam", "gradient")
    named = with_layers(asked)
    layer = named.methods[0].params["layer"]
    assert layer in dict(asked.nets[0].named_modules())
    assert named.methods[1] == asked.methods[1]
    for first, second in zip(panels(asked), panels(named), strict=True):
        torch.testing.assert_close(first.heat, second.heat)
    chosen = methods(["grad_cam"], {}, layer="0")
    own = with_layers(Question(asked.x, asked.asked, chosen, asked.nets))
    assert own.methods[0].params["layer"] == "0"

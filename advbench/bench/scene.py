"""One attack on one model and one batch, before a radius is chosen; and the act itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from advbench.bench.goals import own_targets, targets
from advbench.bench.judge import Verdict, judge
from advbench.core.call_checks import sample_numbers
from advbench.core.copying import copy_of
from advbench.core.devices import choose_device
from advbench.core.draws import Draws
from advbench.core.gradients import in_pieces
from advbench.core.losses import margin
from advbench.core.marks import collecting
from advbench.core.norms import LENGTHS
from advbench.models.check import check_leaves_input, check_logits, warn_if_unsteady
from advbench.models.predict import predict
from advbench.models.prepare import Precision, Prepared, prepare
from advbench.models.refusal import naming_refusals
from advbench.models.watch import Watched
from advbench.plain_images import ordinary
from advbench.registry import CONTROLS, Access, AttackInfo, Entry
from advbench.types import ConfigError, ThreatModel

# A sample that held in reduced precision goes on in float32 if its margin has fallen below this share of the clean one.
SCREEN_MARGIN = 0.25


@dataclass(frozen=True)
class Assault:
    """Which attack, towards what, with which random numbers. params: resolved values of the attack's own parameters.

    nested: on a grid of radii, let a failure in a ball speak for the smaller balls inside it (see `evaluate_grid`).
    budget: passes (forward plus backward) through the victim that a sample may take per run; None: no limit. target
    (B,): a class to reach for each sample, which the goal's name only announces.
    """

    entry: Entry[AttackInfo]
    params: Mapping[str, object] = field(default_factory=dict)
    goal: str = "untargeted"
    seed: int = 0
    nested: bool = False
    budget: int | None = None
    target: Tensor | Sequence[int] | None = None

    @property
    def access(self) -> Access:
        """What it gets to see of the victim: a control may look at its answers."""
        return "scores" if self.entry.name in CONTROLS else self.entry.info.access


@dataclass(frozen=True)
class Execution:
    """How it is carried out: device (None: where x is), precision, micro-batch (None: found by a probe)."""

    device: str | None = None
    precision: Precision = "float32"
    micro_batch: int | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything about an evaluation that does not depend on the radius."""

    model: nn.Module  # untouched, float32: the judge's
    assault: Assault
    params: Mapping[str, object]  # the assault's, with its models prepared
    x: Tensor  # (B, C, H, W)
    y: Tensor  # (B,) labels
    target: Tensor  # (B,) class to reach, -1 for none
    draws: Draws
    clean_pred: Tensor  # (B,)
    margin_clean: Tensor  # (B,)
    prepared: Mapping[Precision, Prepared]
    precision: Precision
    micro_batch: int

    @property
    def targeted(self) -> bool:
        return self.assault.goal != "untargeted"

    @property
    def goal(self) -> Tensor:
        """The y that the attack is given: what to reach if targeted, else what to leave."""
        return self.target if self.targeted else self.y


def set_scene(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    sample_ids: Tensor | Sequence[int] | None,
    *,
    assault: Assault,
    execution: Execution,
) -> Scene:
    """Look at the clean samples, choose the targets and make the model fast to attack."""
    place = torch.device(choose_device(execution.device)) if execution.device else x.device
    x, y, model = ordinary(x.to(place)), ordinary(y.to(place)), on_device(model, place)
    draws = Draws(assault.seed, sample_numbers(sample_ids, len(x)).to(place))
    prepared, logits = _looked_at(model, x, execution)
    size = prepared["float32"].micro_batch
    params = {name: _ready(name, value, x) for name, value in assault.params.items()}
    helpers = [value.micro_batch for value in params.values() if isinstance(value, Prepared)]
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < logits.shape[1]:
        raise ConfigError(f"labels must lie in 0 .. {logits.shape[1] - 1}, got {int(y.min())} .. {int(y.max())}")
    return Scene(
        model=model,
        assault=assault,
        params=params,
        x=x,
        y=y,
        target=targets(assault.goal, logits, y, draws)
        if assault.target is None
        else own_targets(assault.target, logits, y),
        draws=draws,
        clean_pred=logits.argmax(1),
        margin_clean=margin(logits, y),
        prepared=prepared,
        precision=execution.precision,
        micro_batch=min([size, *helpers]),
    )


def on_device(model: nn.Module, place: torch.device) -> nn.Module:
    """The model itself if it is there already, else a copy: the caller's stays where it is."""
    there = torch.empty(0, device=place).device  # "cuda" is "cuda:0"
    elsewhere = any(tensor.device != there for tensor in (*model.parameters(), *model.buffers()))
    return copy_of(model).to(place) if elsewhere else model


def _looked_at(model: nn.Module, x: Tensor, execution: Execution) -> tuple[Mapping[Precision, Prepared], Tensor]:
    """The model made fast in each precision that is needed, and its logits (B, K). ConfigError if it gives none."""
    precision, size = execution.precision, execution.micro_batch
    with naming_refusals(model, x, logits=True):
        check_leaves_input(model, x)
        full = prepare(model, x, micro_batch=size)
        prepared: dict[Precision, Prepared] = {"float32": full}
        if precision != "float32":
            prepared[precision] = prepare(model, x, precision=precision, micro_batch=full.micro_batch)
        logits = predict(model, x, batch=full.micro_batch)
        if logits.dim() != 2:
            raise ValueError(f"logits of shape {tuple(logits.shape)}")
    check_logits(logits, len(x))
    warn_if_unsteady(model, x)
    return prepared, logits


def strike(
    scene: Scene,
    rows: Tensor,
    threat: ThreatModel,
    *,
    reach: Sequence[float] = (),
    x_start: Tensor | None = None,
) -> tuple[Verdict, Watched]:
    """Attack the samples at `rows` (A,) and judge them; note the first success within each radius of `reach`.

    x_start (A, C, H, W): where to begin, for an attack that can be told.

    In reduced precision every success is judged in float32 like any other, and survivors whose margin has shrunk are
    attacked again in float32.
    """
    verdict, watched = run_attack(scene, rows, threat, scene.precision, reach=reach, x_start=x_start)
    if scene.precision == "float32":
        return verdict, watched
    doubtful = ~verdict.reached & (verdict.margin_adv < SCREEN_MARGIN * scene.margin_clean[rows])
    again = doubtful.nonzero()[:, 0]
    if not len(again):
        return verdict, watched
    begin = None if x_start is None else x_start[again]
    second, more = run_attack(scene, rows[again], threat, "float32", reach=reach, x_start=begin)
    watched.add(again, more)
    return verdict.replaced(again, second), watched


def run_attack(
    scene: Scene,
    rows: Tensor,
    threat: ThreatModel,
    precision: Precision,
    *,
    tracing: bool = False,
    reach: Sequence[float] = (),
    x_start: Tensor | None = None,
) -> tuple[Verdict, Watched]:
    """Run the attack once on the samples at `rows` (A,), in the given precision, and judge what it returns."""
    x, goal, entry = scene.x[rows], scene.goal[rows], scene.assault.entry
    watched = Watched(
        scene.prepared[precision],
        goal,
        targeted=scene.targeted,
        tracing=tracing,
        access=scene.assault.access,
        budget=scene.assault.budget,
        reach=(x, threat.norm, reach) if reach else None,
    )
    params = _for_rows(scene, rows)
    call = partial(entry.function, watched, x.clone(), goal, threat, draws=scene.draws.rows(rows), **params)
    told: dict[str, object] = {"targeted": True} if scene.targeted else {}
    if x_start is not None:
        told["x_start"] = x_start
    with in_pieces(scene.micro_batch), collecting() as watched.marks:
        x_adv = call(**told)
    if not isinstance(x_adv, Tensor) or x_adv.shape != x.shape:
        given = tuple(x_adv.shape) if isinstance(x_adv, Tensor) else type(x_adv).__name__
        raise ConfigError(f"{entry.name} must return x_adv of shape {tuple(x.shape)}, got {given}")
    verdict = judge(
        scene.model,
        x,
        x_adv.detach().float(),
        label=scene.y[rows],
        target=scene.target[rows],
        threat=threat,
        batch=scene.micro_batch,
    )
    return verdict, watched


def _for_rows(scene: Scene, rows: Tensor) -> dict[str, object]:
    """The attack's parameters for the samples at `rows` (A,): of `starts`, an image per sample, theirs."""
    params, starts = dict(scene.params), scene.params.get("starts")
    if isinstance(starts, Tensor) and len(starts) == len(scene.x):
        params["starts"] = starts[rows.to(starts.device)]
    return params


def stay(scene: Scene, rows: Tensor) -> Verdict:
    """What x itself is worth at `rows` (A,): an attack found nothing that is admissible."""
    x, inside = scene.x[rows], torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    return Verdict(
        x_adv=x,
        adv_pred=scene.clean_pred[rows],
        margin_adv=scene.margin_clean[rows],
        distances={norm: torch.zeros(len(rows), dtype=torch.float64, device=rows.device) for norm in LENGTHS},
        in_ball=inside,
        in_box=inside,
        reached=torch.zeros_like(inside),
    )


def _ready(name: str, value: object, x: Tensor) -> object:
    """A model among the parameters, made fast like the victim; anything else as it is."""
    if not isinstance(value, nn.Module):
        return value
    with naming_refusals(value, x, what=f"the {name}"):
        return prepare(on_device(value, x.device), x)

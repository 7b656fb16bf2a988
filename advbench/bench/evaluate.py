"""One attack on one model over a grid of radii, judged. Batch, device and engine change nothing in the rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from advbench.bench.goals import check_goal
from advbench.bench.judge import inside, limit
from advbench.bench.ledger import Ledger
from advbench.bench.scene import Assault, Execution, Scene, run_attack, set_scene, stay, strike
from advbench.core.annotations import kind_of
from advbench.core.call_checks import check_count, check_network, check_parameters, check_seed, shown
from advbench.core.devices import choose_device
from advbench.metrics.blind import ADVICE, blind
from advbench.metrics.invalid import invalid
from advbench.metrics.unstarted import unstarted
from advbench.models.check import SAMPLES, check_images
from advbench.models.gradient_end import gradient_end
from advbench.models.predict import exact_float32
from advbench.models.prepare import Precision
from advbench.registry import ATTACKS, CONTROLS, AttackInfo, Entry, attack_or_control
from advbench.types import EVIDENCE, STATUSES, ConfigError, Outcomes, Radius, ThreatModel, norm_name


def evaluate(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    attack: str | Callable[..., Tensor] = "pgd",
    threat: ThreatModel,
    goal: str | int | Tensor | Sequence[int] = "untargeted",
    seed: int = 0,
    sample_ids: Tensor | Sequence[int] | None = None,
    device: str | None = None,
    precision: Precision = "float32",
    micro_batch: int | None = None,
    budget: int | None = None,
    **params: object,
) -> Outcomes:
    """Attack x (B, C, H, W) in [0, 1] with labels y (B,) and judge the result: B rows, with x_adv (B, C, H, W).

    attack: an attack or a control, by name or as the registered function; params: its own. goal: untargeted, random,
    least_likely, next, a class index, or one for each sample (B,), -1 for those that are not to be attacked. sample_ids
    (B,) int64 fix each sample's random numbers (default 0 .. B - 1). device: where to compute (default: where x is);
    the rows come back on the CPU. budget: passes (forward plus backward) through the model that a sample may take.
    Raises ConfigError on what cannot be evaluated. Warns (UserWarning) if results lie outside of the ball or the box,
    which count as held, if most of the samples that held never got a gradient other than zero from an attack that asked
    for it, and if a search had nothing to begin with.
    """
    entry = _method(attack)
    if not isinstance(threat, ThreatModel):
        raise ConfigError(f"threat must be a ThreatModel(norm=..., eps=...), got {shown(threat)}")
    if (threat.low, threat.high) != (0.0, 1.0):
        raise ConfigError(f"threat: images are in [0, 1] here, got the box [{threat.low:g}, {threat.high:g}]")
    params = {name: _inner(entry, name, value) for name, value in params.items()}
    grid = None if threat.eps is None else (Radius(repr(threat.eps)),)
    name, target = (str(goal), None) if isinstance(goal, str | int | None) else ("given", goal)
    outcomes = evaluate_grid(
        model,
        x,
        y,
        sample_ids,
        assault=Assault(entry, params, name, seed, budget=budget, target=target),
        norm=threat.norm,
        grid=grid,
        execution=Execution(device, precision, micro_batch),
    )
    _warn(entry.name, outcomes, threat, model, x)
    return outcomes


def _warn(attack: str, outcomes: Outcomes, threat: ThreatModel, model: nn.Module, x: Tensor) -> None:
    """Say what the rows of one radius keep silent about: results that do not count, gradients that were not there."""
    outside = outcomes.status == STATUSES.index("invalid")
    idle = outcomes.evidence == EVIDENCE.index("unstarted")
    if not bool((outside | outcomes.blind | idle).any()):
        return
    table = outcomes.to_pandas()
    if (refused := invalid(table, threat.norm)) is not None:
        keep = "keep x_adv inside with advbench.core.projections.within(threat, x)"
        warnings.warn(f"{attack}: {refused}; {keep}", UserWarning, stacklevel=3)
    if (unled := blind(table)) is not None:
        first = next(model.parameters(), x)
        name = gradient_end(model, x[:SAMPLES].to(first.device)) if unled.blind == unled.asked else ""
        where = f" It ends at the module {name!r}." if name else ""
        warnings.warn(f"{attack}: {unled}.{where} {ADVICE}", UserWarning, stacklevel=3)
    if (left := unstarted(table)) is not None:
        warnings.warn(f"{attack}: {left}", UserWarning, stacklevel=3)


@torch.inference_mode(False)  # there are no gradients in the caller's, if there is one
@exact_float32()
def evaluate_grid(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    sample_ids: Tensor | Sequence[int] | None,
    *,
    assault: Assault,
    norm: float,
    grid: Sequence[Radius] | None,
    execution: Execution,
) -> Outcomes:
    """The rows of one cell: for each radius of the increasing grid (None: minimum-norm) the B samples in order.

    The grid runs upwards; an example found at one radius counts at every radius whose ball holds it (evidence
    "carried"), so a row is never more robust than in a run at its radius alone; but each radius of an attack on all
    samples together is a run of its own. With `assault.nested` the radii of an attack that declares it run downwards,
    and a sample that held in a ball is not attacked again in the smaller ones inside it (evidence "nested"): about as
    cheap as one radius, but only as good as the attack is at the largest. An attack that can be told where to begin
    (pgd, apgd) begins in the smaller ball at the example of the larger one, drawn into it. A minimum-norm attack runs
    once, without a radius: its distances serve all radii of the grid.
    """
    threat = ThreatModel(norm, None)
    check_assault(assault, threat, grid)
    check_execution(execution)
    check_network(model)
    check_images(x)
    check_labels(x, y)
    scene = set_scene(model, x, y, sample_ids, assault=assault, execution=execution)
    radii = [None] if grid is None else [float(radius) for radius in grid]
    ledger = Ledger(scene, radii)
    if assault.entry.info.minimum_norm and grid is not None and len(grid) > 1:
        return _once_for_all(scene, ledger, norm, [float(radius) for radius in grid])
    nested = assault.nested and assault.entry.info.nested
    for k in reversed(range(len(radii))) if nested else range(len(radii)):
        rows = ledger.open_rows(k)
        if not len(rows):
            continue
        # Some meet errors outside of the ball first, or in altered copies of x: those are not its first success.
        reach = _reach(scene, norm, radii[k : k + 1])
        above = nested and k + 1 < len(radii) and assault.entry.takes("x_start")
        x_start = ledger.examples(k + 1, rows) if above else None
        verdict, watched = strike(scene, rows, threat.at(radii[k]), reach=reach, x_start=x_start)
        ledger.write(k, rows, verdict, watched, page=0 if reach else None)
        if assault.entry.info.together:
            continue  # one perturbation for all samples: those fooled by the one of a smaller ball are in this set too
        for other, eps in enumerate(radii):
            fits = verdict.reached & inside(verdict.distances[norm], threat.at(eps), size=x[0].numel())
            ledger.carry(other, rows[fits], source=k)
            if nested and other < k:
                ledger.close(other, rows[~verdict.reached])
    return ledger.outcomes()


def _once_for_all(scene: Scene, ledger: Ledger, norm: float, radii: Sequence[float]) -> Outcomes:
    """The rows of a minimum-norm attack over a grid: one run, read at each radius."""
    rows = ledger.open_rows(0) if radii else scene.y[:0]
    if len(rows):
        verdict, watched = strike(scene, rows, ThreatModel(norm, None), reach=_reach(scene, norm, radii))
        size = scene.x[0].numel()
        for k, eps in enumerate(radii):
            fits = verdict.reached & inside(verdict.distances[norm], ThreatModel(norm, eps), size=size)
            found = fits.nonzero()[:, 0]
            ledger.write(k, rows, stay(scene, rows).replaced(found, verdict.take(found)), watched, page=k)
    return ledger.outcomes()


def _reach(scene: Scene, norm: float, radii: Sequence[float | None]) -> list[float]:
    """How far from x a success may lie to be one, for each radius that there is."""
    return [limit(ThreatModel(norm, eps), size=scene.x[0].numel()) for eps in radii if eps is not None]


@torch.inference_mode(False)
@exact_float32()
def trajectories(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    sample_ids: Tensor | Sequence[int] | None,
    *,
    assault: Assault,
    threat: ThreatModel,
    execution: Execution,
) -> Tensor:
    """Predicted class (B, T) int64 at each forward pass of the attack on each sample, -1 after its last one.

    The same attack is run once more with the books open, in float32. Clean errors, which are not attacked, have -1
    throughout.
    """
    scene = set_scene(model, x, y, sample_ids, assault=assault, execution=execution)
    rows = ((scene.clean_pred == scene.y) & (scene.goal >= 0)).nonzero()[:, 0]
    _, watched = run_attack(scene, rows, threat, "float32", tracing=True)
    seen = watched.trajectory()
    table = seen.new_full((len(x), seen.shape[1]), -1)
    table[rows] = seen
    return table.cpu()


def check_assault(assault: Assault, threat: ThreatModel, grid: Sequence[Radius] | None) -> None:
    """Raise ConfigError for an attack that cannot do what is asked: norm, radius, goal, parameters."""
    entry = assault.entry
    check_parameters(entry, assault.params)
    if assault.target is None:
        check_goal(assault.goal)
    check_seed(assault.seed)
    check_count("budget", assault.budget)
    if assault.goal != "untargeted" and not entry.takes("targeted"):
        raise ConfigError(f"{entry.name} cannot be targeted: its goal must be untargeted, got {assault.goal!r}")
    if threat.norm not in entry.info.norms:
        norms = ", ".join(map(norm_name, entry.info.norms))
        raise ConfigError(f"{entry.name} does not work in {norm_name(threat.norm)}; it has: {norms}")
    if grid is None and entry.info.needs_radius:
        raise ConfigError(f"{entry.name} needs a radius: threat.eps is None and it is no minimum-norm attack")
    for radius in grid or ():
        threat.at(float(radius))
        if threat.norm == 0 and 0 < float(radius) < 1:
            raise ConfigError(f"eps in l0 is a number of components: {radius} allows none of them to change")


def check_execution(execution: Execution) -> None:
    """Raise ConfigError for a device that is not there, and for a precision or a micro-batch that cannot be."""
    if execution.device is not None:
        choose_device(execution.device)
    if execution.precision not in get_args(Precision):
        raise ConfigError(f"precision must be {' or '.join(get_args(Precision))}, got {shown(execution.precision)}")
    check_count("micro_batch", execution.micro_batch)


def check_labels(x: Tensor, y: object) -> None:
    """Raise ConfigError unless y holds a label for each of the images x (B, C, H, W)."""
    if not isinstance(y, Tensor):
        raise ConfigError(f"y must be a torch tensor of int64 labels, got {type(y).__name__}: torch.as_tensor(y)")
    if y.shape != x.shape[:1] or y.dtype != torch.int64:
        whole = not (y.is_floating_point() or y.is_complex() or y.dtype is torch.bool)
        remedy = ": y.long()" if whole and y.shape == x.shape[:1] else ""
        raise ConfigError(f"y must be int64 labels ({len(x)},), got {y.dtype} of shape {tuple(y.shape)}{remedy}")


def _inner(entry: Entry[AttackInfo], name: str, value: object) -> object:
    """A parameter; the attack itself where it may be an attack and names one, as `via` does."""
    parameter = entry.parameters().get(name)
    is_attack = parameter is not None and kind_of(parameter.annotation) is Callable
    return ATTACKS[value].function if is_attack and isinstance(value, str) else value


def _method(attack: object) -> Entry[AttackInfo]:
    """The attack or control of that name, or that this function is."""
    if isinstance(attack, str):
        return attack_or_control(attack)
    for table in (ATTACKS, CONTROLS):
        if (entry := table.entry_of(attack)) is not None:
            return entry
    given = getattr(attack, "__name__", shown(attack))
    raise ConfigError(f"attack must be a name or a function registered with @attack, got {given}")

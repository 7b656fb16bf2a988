"""The nouns that travel between the rooms: frozen data, no behaviour beyond checking themselves."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from numbers import Real
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import pandas as pd
    import torch

NORMS = (0.0, 1.0, 2.0, math.inf)

# How a row of `Outcomes` came about. The codes are stored: append, never reorder.
STATUSES = ("held", "fooled", "clean_error", "invalid", "not_applicable")
EVIDENCE = ("run", "carried", "nested", "decided", "audited", "unstarted")


class ConfigError(ValueError):
    """The user asked for something that cannot be: shown as one message, exit code 2."""


@dataclass(frozen=True)
class Radius:
    """A perturbation radius in input units, held exactly and printed as it was written ("8/255", "0.3")."""

    text: str

    def __post_init__(self) -> None:
        try:
            value = Fraction(self.text)
        except (ValueError, ZeroDivisionError):
            raise ConfigError(f"eps must be a number such as 0.3 or 8/255, got {self.text!r}") from None
        if value < 0:
            raise ConfigError(f"eps must not be negative, got {self.text}")

    @property
    def exact(self) -> Fraction:
        return Fraction(self.text)

    def __float__(self) -> float:
        return float(self.exact)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class ThreatModel:
    """What the attacker may do: move x by at most `eps` in `norm`, inside the box [low, high].

    norm: 0, 1, 2 or inf. eps: radius in input units, or None (the default) for a minimum-norm attack (no radius:
    the nearest adversarial example is sought). Raises ConfigError on any other value.
    """

    norm: float
    eps: float | None = None
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", norm_of(self.norm))
        if not (isinstance(self.low, Real) and isinstance(self.high, Real) and self.low < self.high):
            raise ConfigError(f"threat: low must be a number below high, got [{self.low}, {self.high}]")
        if self.eps is None:
            return
        try:
            eps = float(Radius(self.eps) if isinstance(self.eps, str) else self.eps)
        except TypeError:
            raise ConfigError(f"threat.eps must be a number or None, got {type(self.eps).__name__}") from None
        if not (math.isfinite(eps) and eps >= 0):
            raise ConfigError(f"threat.eps must be a finite number >= 0, got {self.eps}")
        width = self.high - self.low
        if self.norm == math.inf and eps > width:
            raise ConfigError(
                f"threat.eps = {eps:g} in linf is larger than the box [{self.low:g}, {self.high:g}]; "
                f"images are in [0, 1] here: did you mean {eps:g}/255?"
            )
        object.__setattr__(self, "eps", eps)

    @property
    def radius(self) -> float:
        """eps, for those who need one. Raises ConfigError if it is None."""
        if self.eps is None:
            raise ConfigError(f"threat.eps is None: this needs a radius in {norm_name(self.norm)}")
        return self.eps

    def at(self, eps: float | None) -> ThreatModel:
        """The same threat with another radius."""
        return ThreatModel(self.norm, eps, self.low, self.high)


def norm_of(value: object) -> float:
    """The norm that `value` (0, 1, 2, inf, "linf", "l2", ...) names, as a float. Raises ConfigError otherwise."""
    text = str(value).strip().lower().lstrip("l")
    try:
        norm = float(text)
    except ValueError:
        norm = math.nan
    if norm not in NORMS:
        raise ConfigError(f"norm must be 0, 1, 2 or inf, got {value!r}")
    return norm


def norm_name(norm: float) -> str:
    """ "linf", "l2", "l1" or "l0"."""
    return "linf" if norm == math.inf else f"l{norm:.0f}"


class Evaluation(NamedTuple):
    """An objective's answer for the rows it was asked about: loss (A,) to minimise, reached (A,) bool."""

    loss: torch.Tensor
    reached: torch.Tensor


# Values that a canonical JSON may hold. Floats are written as strings by the caller where exactness matters.
Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


def canonical_json(value: Json) -> str:
    """`value` as JSON with sorted keys and no spaces: the same text for the same content."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def content_key(value: Json) -> str:
    """SHA-256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@dataclass(frozen=True)
class Cell:
    """One entry of a matrix, with resolved names and numbers only: what is computed, not where or how fast.

    eps: the grid in increasing order, or None for a minimum-norm attack. Every mapping holds resolved
    parameters, defaults filled in. Device, batch size, workers and paths are provenance and stay out.
    """

    dataset: Mapping[str, Json]  # name, split, ids (hash of the ordered sample ids), count
    model: Mapping[str, Json]  # name, params, weights (content hash, or key of the training that makes them)
    defense: Mapping[str, Json]  # name, params
    attack: Mapping[str, Json]  # kind (attack | control), name, params
    goal: str  # untargeted | random | least_likely | next | a class index
    norm: float
    eps: tuple[Radius, ...] | None
    seed: int

    def spec(self) -> dict[str, Json]:
        """The key's pre-image: what `cell.json` keeps. eps as exact fractions, so 0.3 and 3/10 are one cell."""
        return {
            "schema": 1,
            "dataset": self.dataset,
            "model": self.model,
            "defense": self.defense,
            "attack": self.attack,
            "goal": self.goal,
            "norm": norm_name(self.norm),
            "eps": None if self.eps is None else [str(radius.exact) for radius in self.eps],
            "seed": self.seed,
        }

    @property
    def key(self) -> str:
        return content_key(self.spec())


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What happened to each sample at each eps: one row per (sample, eps), all columns of length N.

    Distances are those of the judged x_adv. A clean error is a row with fooled = True at distance 0 when the
    goal is untargeted. `forwards`, `backwards` count passes of this sample through the model in the attack that made
    the row; `queries` those a black-box attacker pays for (forwards of the victim without its gradient).
    """

    sample_id: torch.Tensor  # int64
    eps: torch.Tensor  # float64; nan for a minimum-norm attack
    label: torch.Tensor  # int64
    target: torch.Tensor  # int64; -1 when untargeted
    clean_pred: torch.Tensor  # int64
    adv_pred: torch.Tensor  # int64
    clean_correct: torch.Tensor  # bool
    fooled: torch.Tensor  # bool: misclassified, or the target reached; in the ball and in the box
    in_ball: torch.Tensor  # bool
    in_box: torch.Tensor  # bool
    l0: torch.Tensor  # float64: number of changed components
    l1: torch.Tensor  # float64
    l2: torch.Tensor  # float64
    linf: torch.Tensor  # float64
    margin_clean: torch.Tensor  # float32: logit of the label minus the best other, at x
    margin_adv: torch.Tensor  # float32: the same at x_adv
    first_success_step: torch.Tensor  # int64: forward passes before the first success; -1 if never
    hits: torch.Tensor  # int64: forward passes whose prediction met the goal
    forwards: torch.Tensor  # int64
    backwards: torch.Tensor  # int64
    queries: torch.Tensor  # int64
    status: torch.Tensor  # int8: index into STATUSES
    evidence: torch.Tensor  # int8: index into EVIDENCE
    blind: torch.Tensor  # bool: gradients were asked for, and each was missing, exactly zero or not finite
    x_adv: torch.Tensor | None = None  # (N, C, H, W) float32

    def __len__(self) -> int:
        return len(self.sample_id)

    def __repr__(self) -> str:
        right, held = int(self.clean_correct.sum()), int(self.robust.sum())
        return f"Outcomes({len(self)} rows, {right} classified correctly at x, {held} of them robust)"

    @property
    def robust(self) -> torch.Tensor:
        """bool (N,): correct at x, and no admissible x_adv changed that; their share is `robust_accuracy`.

        An attack that misses its target but changes the class has found an error all the same.
        """
        changed = self.in_ball & self.in_box & (self.adv_pred != self.label)
        return self.clean_correct & ~self.fooled & ~changed

    @property
    def robust_accuracy(self) -> float:
        """Share of the rows that are robust, of those that the goal applies to; nan if there are none.

        An attack towards class 3 has nothing to do on a 3.
        """
        asked = self.status != STATUSES.index("not_applicable")
        return float(self.robust[asked].float().mean())

    @staticmethod
    def columns() -> tuple[str, ...]:
        """The names of the stored columns, in order (x_adv is stored beside the table)."""
        return tuple(field.name for field in fields(Outcomes) if field.name != "x_adv")

    def take(self, index: torch.Tensor) -> Outcomes:
        """The rows that `index` (bool mask or int64 positions) selects."""
        picked = {name: getattr(self, name)[index] for name in self.columns()}
        return Outcomes(**picked, x_adv=None if self.x_adv is None else self.x_adv[index])

    @staticmethod
    def concat(parts: Sequence[Outcomes]) -> Outcomes:
        """All rows of `parts`, in order. x_adv is kept only if every part has it."""
        import torch

        joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in Outcomes.columns()}
        images = [part.x_adv for part in parts if part.x_adv is not None]
        return Outcomes(**joined, x_adv=torch.cat(images) if len(images) == len(parts) else None)

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a table; status and evidence as words."""
        import pandas as pd

        table = pd.DataFrame({name: getattr(self, name).cpu().numpy() for name in self.columns()})
        table["status"] = [STATUSES[code] for code in table["status"]]
        table["evidence"] = [EVIDENCE[code] for code in table["evidence"]]
        return table

    @staticmethod
    def from_pandas(table: pd.DataFrame) -> Outcomes:
        """The inverse of `to_pandas`."""
        import torch

        codes = table.assign(
            blind=table.get("blind", False),  # rows stored before there was this column
            status=table["status"].map(STATUSES.index).astype("int8"),
            evidence=table["evidence"].map(EVIDENCE.index).astype("int8"),
        )
        return Outcomes(**{name: torch.from_numpy(codes[name].to_numpy(copy=True)) for name in Outcomes.columns()})

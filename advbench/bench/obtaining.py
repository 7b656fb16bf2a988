"""Before the cells: every model that they need is checked, and trained if need be, once."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from advbench.bench import interrupts
from advbench.bench.jobs import Job, Recipe, SubstituteRecipe, members_of
from advbench.bench.stage import Place, load_model_of, load_samples_of
from advbench.models.check import check_model
from advbench.store import StoreError
from advbench.types import ConfigError

AnyRecipe: TypeAlias = Recipe | SubstituteRecipe


class Lost(NamedTuple):
    """A job that cannot run because its model could not be had: the error in a line, and where it was raised."""

    job: Job
    error: str
    trace: str


def obtain_models(jobs: Sequence[Job], place: Place) -> list[Lost]:
    """Check the given models, then train the others, so that cells in several processes find them ready.

    Raises ConfigError if a given model is unusable: that is the user's to mend before any work. A training that fails
    takes only the jobs that need it; they are returned.
    """
    for job, recipe in _first_uses(jobs):
        if not is_trained(recipe):
            _check(job, recipe, place)
    lost: list[Lost] = []
    for _, recipe in _first_uses(jobs):
        if is_trained(recipe):
            lost += _train(recipe, jobs, place)
    return lost


def is_trained(recipe: AnyRecipe) -> bool:
    """Are its weights made here, rather than given?"""
    return isinstance(recipe, SubstituteRecipe) or not recipe.fixed


def _check(job: Job, recipe: AnyRecipe, place: Place) -> None:
    with interrupts.at_once():
        data, ids = load_samples_of(job, place)
        x = data.images(ids[:8]).to(place.device)
        try:
            check_model(load_model_of(recipe, place), x, len(data.classes))
        except ConfigError as error:
            raise ConfigError(f"{_label(recipe)}: {error}") from None
        except Exception:
            return  # not a mistake in the matrix: the cells of this model meet it again, and fail alone


def _label(recipe: AnyRecipe) -> str:
    return " + ".join(
        member.label or member.spec if isinstance(member, Recipe) else member.student.label
        for member in members_of(recipe)
    )


def _train(recipe: AnyRecipe, jobs: Sequence[Job], place: Place) -> list[Lost]:
    try:
        with interrupts.at_once():
            load_model_of(recipe, place)
    except StoreError:
        raise
    except Exception as error:
        trace = traceback.format_exc()
        reason = f"its model could not be trained: {type(error).__name__}: {error}"
        return [Lost(job, reason, trace) for job in jobs if recipe in _needs(job)]
    return []


def _first_uses(jobs: Sequence[Job]) -> Iterator[tuple[Job, AnyRecipe]]:
    """Each recipe once, with the first job that needs it; a substitute comes after its victim."""
    seen: list[AnyRecipe] = []
    for job in jobs:
        for recipe in _needs(job):
            if recipe not in seen:
                seen.append(recipe)
                yield job, recipe


def _needs(job: Job) -> list[AnyRecipe]:
    return [job.recipe, *members_of(job.substitute)]

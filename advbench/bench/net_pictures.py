"""What plain and robust nets of one architecture want to see: class images, dreams and inversions, made once a run.

The same pictures with the same settings for each net, so that what differs is the net: gradients of adversarially
trained nets look like objects (Tsipras et al. 2019, arXiv:1805.12152; Engstrom et al. 2019, arXiv:1906.00945).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from tqdm import tqdm

from advbench.bench import interrupts
from advbench.bench.jobs import Job, Recipe
from advbench.bench.stage import Place, load_model_of, load_samples_of
from advbench.core.draws import Draws
from advbench.core.layer_order import finishing_order
from advbench.core.targets import logit
from advbench.models.predict import exact_float32, predict
from advbench.store import StoreError, read_tensors, sole_writer, write_json, write_tensors
from advbench.synthesis.dream.dream import dream
from advbench.synthesis.inversion.inversion import inversion
from advbench.synthesis.visualize.recipes import Recipe as ImageRecipe
from advbench.synthesis.visualize.recipes import along_gradient
from advbench.synthesis.visualize.visualize import visualize
from advbench.types import ConfigError, Json, content_key

FOLDER, INDEX = "pictures", "pictures.json"
COLUMNS = 5  # classes shown
_VERSION = 1  # of the settings below: another one makes the pictures anew

# Nothing but the score: a prior would make the plain net's pictures smoother than its gradients are.
_CLASS_IMAGE = ImageRecipe("pixels", "noise", 0.02, along_gradient, 0.03, 60, bounded=True)


class Shown(NamedTuple):
    """Classes (k,), a sample's id and image of each, (k,) and (k, C, H, W), and the random numbers of the columns.

    source: the data that the samples are of.
    """

    classes: Tensor
    ids: Tensor
    photos: Tensor
    draws: Draws
    source: Mapping[str, Json]


@dataclass(frozen=True)
class Method:
    """How a row of pictures is made, and what the report says about it. alike: it should look like the sample."""

    made: Callable[[nn.Module, Shown], Tensor]
    said: str
    alike: bool = False


@dataclass(frozen=True)
class Net:
    """A model of the matrix by its shown names."""

    model: str
    defense: str
    recipe: Recipe


def _visualize(model: nn.Module, shown: Shown) -> Tensor:
    height, width = shown.photos.shape[2:]
    shape = (shown.photos.shape[1], height, width)
    return visualize(model, logit(shown.classes), draws=shown.draws, shape=shape, preset=_CLASS_IMAGE, redirected=False)


def _dream(model: nn.Module, shown: Shown) -> Tensor:
    return dream(model, shown.photos, draws=shown.draws, octaves=2, steps=12, step_size=0.01)


def _inversion(model: nn.Module, shown: Shown) -> Tensor:
    layer = _representation(model, shown.photos)
    return inversion(
        model, shown.photos, draws=shown.draws, layer=layer, variation=0.0, alpha_weight=0.0, restarts=1, steps=100
    )


def _representation(model: nn.Module, photos: Tensor) -> str | None:
    """What the last linear layer gets; None (the last layer with maps) for a network without one, or with nothing else.

    In front of it an image of a small net could be computed back from its maps, whatever the net has learnt.
    """
    names, modules = list(finishing_order(model, photos[:1])), dict(model.named_modules())
    linear = [i for i, name in enumerate(names) if isinstance(modules[name], nn.Linear)]
    return names[linear[-1] - 1] if linear and linear[-1] > 0 else None


METHODS: Mapping[str, Method] = {
    "visualize": Method(
        _visualize,
        "from noisy grey, 60 steps up the class's logit, each of 0.03 (root mean square over the pixels); no prior",
    ),
    "dream": Method(
        _dream,
        "from the sample, in 2 octaves 12 steps of 0.01 (mean over the pixels) up the energy of the deepest layer "
        "whose maps still know places",
    ),
    "inversion": Method(
        _inversion,
        "from noisy grey, 100 steps of Adam towards the sample's features before the last linear layer; no prior",
        alike=True,
    ),
}


def groups(jobs: Sequence[Job]) -> list[list[Net]]:
    """Nets of one architecture, each group with two or more; an inference defense changes no net and is left out."""
    found: dict[str, dict[str, Net]] = {}
    for job in jobs:
        recipe = job.recipe
        if recipe.stage != "inference":
            family = content_key([recipe.spec, dict(recipe.params), list(recipe.shape), recipe.classes])
            net = Net(job.labels["model"], job.labels["defense"], recipe)
            found.setdefault(family, {}).setdefault(recipe.key, net)
    return [list(nets.values()) for nets in found.values() if len(nets) > 1]


def make_pictures(jobs: Sequence[Job], methods: Sequence[str], place: Place) -> None:
    """Fill the matrix's folder `pictures` for the groups among the jobs; what is there already is not made again.

    Without methods only its index goes, so that no report shows what the matrix does not ask for any more.
    Whatever goes wrong with a picture is noted in place of it. Raises Interrupted and StoreError.
    """
    folder = place.folder / FOLDER
    if not methods:
        (folder / INDEX).unlink(missing_ok=True)
        return
    families = groups(jobs)
    if not families:
        return
    with interrupts.at_once(), exact_float32(), sole_writer(folder):
        try:
            shown = _chosen(jobs[0], place)
        except StoreError:
            raise
        except Exception as error:
            tqdm.write(f"pictures: left out, {_reason(error)}", file=sys.stderr)
            return
        listed: list[Json] = []
        for nets in families:
            listed.append([_row(net, shown, methods, folder, place) for net in nets])
        write_json(
            folder / INDEX,
            {"schema": 1, "methods": {name: METHODS[name].said for name in methods}, "groups": listed},
        )


def _row(net: Net, shown: Shown, methods: Sequence[str], folder: Path, place: Place) -> Json:
    """The index's entry of one net, its file made if need be."""
    of: list[Json] = [net.recipe.key, shown.source, shown.ids.tolist()]
    key = content_key([_VERSION, *of, list(methods), int(shown.draws.seed)])[:16]
    file = folder / f"{key}.safetensors"
    failed: dict[str, str] = {}
    known = _known(file)
    missing = [name for name in methods if name not in known]
    if missing:
        try:
            model = load_model_of(net.recipe, place)
            known = {"classes": shown.classes, "ids": shown.ids, "photos": shown.photos} | known
            for name in missing:
                try:
                    known |= _made(name, model, shown)
                except StoreError:
                    raise
                except Exception as error:
                    failed[name] = _reason(error)
            write_tensors(file, {name: tensor.detach().cpu().contiguous() for name, tensor in known.items()})
        except StoreError:
            raise
        except Exception as error:
            failed = dict.fromkeys(missing, _reason(error))
    for name, reason in failed.items():
        tqdm.write(f"pictures: no {name} of {net.model} / {net.defense}: {reason}", file=sys.stderr)
    return {"model": net.model, "defense": net.defense, "file": file.name, "failed": dict(failed)}


def _made(name: str, model: nn.Module, shown: Shown) -> dict[str, Tensor]:
    """What the file holds of one method: pictures (k, C, H, W), the net's probability of each one's class (k,), and
    where that means something the correlation of its values with those of the sample (k,).
    """
    method = METHODS[name]
    made = method.made(model, shown)
    chance = predict(model, made).softmax(1).gather(1, shown.classes[:, None])[:, 0]
    found = {name: made, f"{name}_chance": chance}
    if method.alike:
        one, other = (each.flatten(1) - each.flatten(1).mean(1, keepdim=True) for each in (made, shown.photos))
        found[f"{name}_likeness"] = cosine_similarity(one, other, dim=1)
    return found


def _known(file: Path) -> dict[str, Tensor]:
    """What the file holds; nothing if it is missing or damaged."""
    try:
        return read_tensors(file) if file.is_file() else {}
    except (OSError, ValueError):
        return {}


def _chosen(job: Job, place: Place) -> Shown:
    """COLUMNS classes of the evaluated samples, evenly spread, with the first sample of each."""
    data, ids = load_samples_of(job, place)
    labels = data.labels[ids]
    there = torch.tensor(sorted(set(labels.tolist())))
    spread = torch.linspace(0, len(there) - 1, min(COLUMNS, len(there))).round().long()
    classes = there[spread]
    first = torch.stack([ids[labels == kind][0] for kind in classes])
    here = torch.device(place.device)
    source = {name: value for name, value in job.cell.dataset.items() if name != "ids"}
    return Shown(classes.to(here), first, data.images(first).to(here), Draws(job.cell.seed, first.to(here)), source)


def _reason(error: Exception) -> str:
    kind = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
    return f"{kind}{error}"

"""`advbench cue-conflict`: does a network name shapes or textures?"""

from __future__ import annotations

from pathlib import Path

import click

from advbench.cli.outputs import OUT_FILE
from advbench.types import ConfigError

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    name="cue-conflict",
    epilog="Example: advbench cue-conflict --model torchvision:resnet50@IMAGENET1K_V2 --stimuli stimuli "
    "--groups sixteen_classes.json",
)
@click.option("--model", "specs", multiple=True, required=True, help="A name or a spec; repeatable.")
@click.option("--weights", multiple=True, type=FILE, help="A file; one per --model, in order.")
@click.option("--stimuli", required=True, type=click.Path(file_okay=False, path_type=Path), help="Has labels.csv.")
@click.option("--groups", type=FILE, help="JSON: class of the stimuli -> classes of the model.")
@click.option("--dataset", help="The data whose classes and image size the models have.  [default: ImageNet]")
@click.option("--allow-code", is_flag=True, help="Run model code that --model names (python:module:function).")
@click.option("--out", type=OUT_FILE, help="FILE.png: pictures with the networks' answers.")
def cue_conflict(
    *,
    specs: tuple[str, ...],
    weights: tuple[Path, ...],
    stimuli: Path,
    groups: Path | None,
    dataset: str | None,
    allow_code: bool,
    out: Path | None,
) -> None:
    """Count how often networks name the shape, how often the texture, on pictures where these differ.

    The folder --stimuli holds pictures and labels.csv with columns file, shape, texture (the published ones of Geirhos
    et al. 2019, or those that `advbench cue-conflict-stimuli` paints of your own images).
    """
    from itertools import zip_longest

    import torch

    from advbench.bench.picture_sources import Source, materials_of
    from advbench.datasets.load import load_dataset
    from advbench.datasets.stimuli import read_groups, read_stimuli
    from advbench.diagnostics.cue_conflict import cue_conflict as measure
    from advbench.report.conflict_sheet import write_conflict_sheet

    if len(weights) > len(specs):
        raise ConfigError(f"{len(weights)} --weights for {len(specs)} --model; give one for each, in order")
    known = None if groups is None else read_groups(groups)
    size, names, channels = 224, tuple(known or ()), 3
    if dataset is not None:
        data = load_dataset(dataset)
        (channels, size, _), names = data.shape, names or data.classes
    shown = read_stimuli(stimuli, size=size, names=names, channels=channels, cropped=dataset is None)
    found = {}
    for spec, file in zip_longest(specs, weights):
        source = Source(spec, file, dataset, allow_code)
        model = materials_of(source, torch.device("cpu")).model
        assert model is not None
        label = spec.rpartition("/")[2] + (f" ({file.name})" if file else "")
        found[label] = conflict = measure(model, shown, known)
        bias, decided = conflict.whole.bias, conflict.whole.decided
        click.echo(
            f"{label}: shape {conflict.whole.shape}, texture {conflict.whole.texture}, neither "
            f"{conflict.whole.neither} of {decided.n}; shape bias {bias.value:.1%} [{bias.low:.1%}, {bias.high:.1%}]"
        )
    if out is not None:
        write_conflict_sheet(out, shown, found)
        click.echo(f"wrote {out}")

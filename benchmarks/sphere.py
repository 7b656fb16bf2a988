"""Is it the direction or the size? Loss ascent against random images twice as far away, photo by photo.

The lecture's experiment: x_adv after 15 steps of plain gradient ascent on the loss, then 1,000 images drawn uniformly
on the sphere of radius 2 |x - x_adv| around x. How many of them change the label?

    python -m benchmarks.sphere --model torchvision:squeezenet1_1@IMAGENET1K_V1 --data folder:PHOTOS#imagenet
"""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from advbench.bench.evaluate import evaluate, trajectories
from advbench.bench.grid import pixels
from advbench.bench.scene import Assault, Execution
from advbench.datasets.load import load_dataset
from advbench.datasets.select import select
from advbench.models.load import load_model
from advbench.models.predict import predict
from advbench.registry import ATTACKS
from advbench.types import ThreatModel

FACTOR = 2.0
DRAWN = 4  # photos in the picture
AMPLIFIED = 50  # what the ascent changes is invisible at ten times its size


@click.command()
@click.option("--model", "spec", required=True, help="Model spec.")
@click.option("--weights", type=click.Path(exists=True, path_type=Path))
@click.option("--data", required=True, help="Dataset spec of labelled photos.")
@click.option("--photos", default=20, show_default=True, help="How many correctly classified ones.")
@click.option("--tries", default=1000, show_default=True, help="Random images per photo.")
@click.option("--step-size", default=0.1, show_default=True, help="Of the ascent, for images in [0, 1].")
@click.option("--stop-when-fooled", is_flag=True, help="Take x_adv where the label first changes, not after 15 steps.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("sphere"), show_default=True)
def main(
    *,
    spec: str,
    weights: Path | None,
    data: str,
    photos: int,
    tries: int,
    step_size: float,
    stop_when_fooled: bool,
    seed: int,
    out: Path,
) -> None:
    """Write OUT.csv (a row per photo) and OUT.png."""
    dataset = load_dataset(data)
    model = load_model(spec, weights=weights, shape=dataset.shape, classes=len(dataset.classes))
    every = select(dataset, None, seed)
    correct = every[predict(model, dataset.images(every), batch=16).argmax(1) == dataset.labels[every]]
    order = torch.randperm(len(correct), generator=torch.Generator().manual_seed(seed))
    ids = correct[order[:photos]].sort().values
    x, y = dataset.images(ids), dataset.labels[ids]
    params: dict[str, object] = {"step_size": step_size, "early_stop": stop_when_fooled}
    distance = ThreatModel(2, None)
    ascent = evaluate(model, x, y, attack="loss_ascent", threat=distance, sample_ids=ids, **params)
    assault = Assault(ATTACKS["loss_ascent"], params)
    path = trajectories(model, x, y, ids, assault=assault, threat=distance, execution=Execution())
    assert ascent.x_adv is not None
    rows, pictures = [], []
    for i in tqdm(range(len(ids)), desc="photos"):
        one, radius = slice(i, i + 1), FACTOR * float(ascent.l2[i])
        noise = evaluate(
            model,
            x[one],
            y[one],
            attack="random_sphere",
            threat=ThreatModel(2, radius),
            sample_ids=ids[one],
            seed=seed,
            tries=tries,
            early_stop=False,
        )
        assert noise.x_adv is not None
        pictures.append((x[i], ascent.x_adv[i], noise.x_adv[0]))
        rows.append(
            {
                "sample_id": int(ids[i]),
                "label": dataset.classes[int(y[i])],
                "first step that fools": int(ascent.first_success_step[i]),
                "class after the ascent": dataset.classes[int(ascent.adv_pred[i])],
                "l2 of the ascent": float(ascent.l2[i]),
                "radius of the sphere": radius,
                "images drawn": int(noise.forwards[0]),
                "label changes": int(noise.hits[0]),
                "classes on the path": " > ".join(_runs([dataset.classes[int(k)] for k in path[i]])),
            }
        )
    table = pd.DataFrame(rows)
    table.to_csv(out.with_suffix(".csv"), index=False)
    _draw(pictures[:DRAWN], table[:DRAWN], out.with_suffix(".png"))
    fooled = int((table["first step that fools"] >= 0).sum())
    click.echo(table.drop(columns="classes on the path").to_string(index=False))
    click.echo(f"loss ascent fools {fooled} of {len(table)}; random images that change the label: "
               f"{table['label changes'].sum()} of {table['images drawn'].sum()}")  # fmt: skip


def _runs(names: list[str]) -> list[str]:
    """The names without repeats of the one before."""
    return [name for i, name in enumerate(names) if i == 0 or name != names[i - 1]]


def _draw(pictures: list[tuple[Tensor, Tensor, Tensor]], table: pd.DataFrame, path: Path) -> None:
    """A row per photo: x, x_adv, their difference, and the random image closest to another label."""
    figure = Figure(figsize=(8, 2.25 * len(pictures)), layout="constrained")
    axes = figure.subplots(len(pictures), 4, squeeze=False)
    for row, (x, x_adv, noise), (_, facts) in zip(axes, pictures, table.iterrows(), strict=True):
        titles = (
            facts["label"],
            f"{facts['class after the ascent']}\n|dx| = {facts['l2 of the ascent']:.2f}",
            f"{AMPLIFIED} x difference",
            f"{facts['label changes']} of {facts['images drawn']:,} change\n|dx| = {facts['radius of the sphere']:.2f}",
        )
        images = (x, x_adv, (0.5 + AMPLIFIED * (x_adv - x)).clamp(0, 1), noise)
        for axis, image, title in zip(row, images, titles, strict=True):
            axis.imshow(pixels(image), vmin=0, vmax=1, cmap="gray")
            axis.set_title(title, fontsize=8, loc="left", parse_math=False)
            axis.set_axis_off()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

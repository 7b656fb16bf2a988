"""Style transfer beside neural-style-pt: seconds a step and peak memory, both in one run, taking turns.

git clone https://github.com/ProGamerGov/neural-style-pt PEER
python benchmarks/speed/neural_style.py --peer PEER --threads 2

Each is a process of its own with the same two pictures, layers, optimiser (L-BFGS with 20 pairs), steps and weights:
VGG-19's shape up to relu5_1 with random weights, because what a step costs does not depend on their values. The peer is
run as it is, without total variation. What comes before the second step is not counted, neither its time nor its
memory. The peer puts zeros around its maps: ours is run so too, and as it is by default.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch.nn import functional

from advbench.core.draws import Draws
from advbench.core.journal import running
from advbench.datasets.images import read_image
from advbench.models.load import load_model
from advbench.models.normalize import IMAGENET
from advbench.synthesis.style.style import style

_STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
_CONTENT_LAYER = "relu4_2"
_PAIRS = 20  # of L-BFGS: ours keeps so many


class Cost(NamedTuple):
    """Of a step: seconds by the clock and of the processor; of the steps: the largest resident memory, in bytes."""

    clock: float
    processor: float
    memory: int


def measured(command: Sequence[str], steps: int, threads: int, folder: Path) -> Cost:
    """What a process costs between its second and its last step, which it announces by lines "Iteration N / M"."""
    counts = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    # Threads that wait would spin, and on a machine that others use as well that would count as work.
    environment = {**os.environ, **counts, "OMP_WAIT_POLICY": "passive", "PYTHONUNBUFFERED": "1"}
    marks: list[Cost] = []
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            words = line.split()
            if words[:1] != ["Iteration"] or int(words[1]) not in (2, steps):
                continue
            marks.append(Cost(time.perf_counter(), _processor_seconds(process.pid), _peak_memory(process.pid)))
            if len(marks) == 1:
                Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak counts from here on
    if process.returncode or len(marks) != 2:
        raise RuntimeError(f"{' '.join(command)}: exit status {process.returncode} after {len(marks)} marks")
    first, last = marks
    taken = steps - 2
    return Cost((last.clock - first.clock) / taken, (last.processor - first.processor) / taken, last.memory)


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def write_peer_weights(path: Path) -> None:
    """The weights of `_network`, for images as the peer feeds them: blue first, bytes, less their mean."""
    named = _network().state_dict()
    weights = {name[name.index("features.") :]: value for name, value in named.items() if "features." in name}
    first = weights["features.0.weight"] / (255.0 * torch.tensor(IMAGENET[1])[:, None, None])
    torch.save({**weights, "features.0.weight": first.flip(1).contiguous()}, path)


def _network() -> torch.nn.Module:
    return load_model("vgg19_features", shape=(3, 224, 224), classes=1).eval()


def run_ours(content: Path, painting: Path, size: int, steps: int, padding: str) -> None:
    """Our style transfer, announcing its steps as the peer does."""
    model, draws = _network(), Draws(0, torch.arange(1))
    with running(watch=lambda frame: print(f"Iteration {frame.step + 1} / {steps}", flush=True)):
        style(
            model,
            read_image(content, size=size)[None],
            read_image(painting, size=size)[None],
            draws=draws,
            content_layers=(_CONTENT_LAYER,),
            style_layers=_STYLE_LAYERS,
            tv_weight=0.0,
            steps=(steps,),
            padding=padding,
        )


def peer_command(folder: Path, size: int, steps: int) -> list[str]:
    """The peer on the pictures and weights in the folder, told what ours does."""
    told: Mapping[str, object] = {
        "model_file": folder / "vgg19.pth",
        "content_image": folder / "content.png",
        "style_image": folder / "style.png",
        "output_image": folder / "peer.png",
        "image_size": size,
        "gpu": "c",
        "num_iterations": steps,
        "lbfgs_num_correction": _PAIRS,
        "init": "image",
        "tv_weight": 0,
        "print_iter": 1,
        "save_iter": 0,
        "style_layers": ",".join(_STYLE_LAYERS),
        "content_layers": _CONTENT_LAYER,
    }
    options = [word for name, value in told.items() for word in (f"-{name}", str(value))]
    return [sys.executable, "neural_style.py", "-disable_check", *options]


def compare(peer: Path, size: int, steps: int, rounds: int, threads: int) -> dict[str, list[Cost]]:
    """The costs of each contender in each round."""
    costs: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, picture in enumerate(("content", "style")):
            noise = Draws(number, torch.arange(1)).uniform((3, 16, 16), "picture")
            smooth = functional.interpolate(noise, (size, size), mode="bicubic").clamp(0.0, 1.0)
            pixels = (255.0 * smooth[0].permute(1, 2, 0)).byte().numpy()
            Image.fromarray(pixels).save(folder / f"{picture}.png")
        write_peer_weights(folder / "vgg19.pth")
        pictures = [str(folder / "content.png"), str(folder / "style.png")]
        ours = [sys.executable, str(Path(__file__).resolve()), "--size", str(size), "--steps", str(steps), "--ours"]
        contenders: dict[str, tuple[list[str], Path]] = {
            "advbench, zeros around the maps": ([*ours, *pictures, "zeros"], Path.cwd()),
            "neural-style-pt": (peer_command(folder, size, steps), peer),
            "advbench, as it is (reflected)": ([*ours, *pictures, "reflect"], Path.cwd()),
        }
        for _ in range(rounds):
            for contender, (command, place) in contenders.items():
                costs.setdefault(contender, []).append(measured(command, steps, threads, place))
                print(contender, costs[contender][-1], file=sys.stderr, flush=True)
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, help="A checkout of neural-style-pt.")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ours", nargs=3, metavar=("CONTENT", "STYLE", "PADDING"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ours:
        run_ours(Path(asked.ours[0]), Path(asked.ours[1]), asked.size, asked.steps, asked.ours[2])
        return
    if asked.peer is None or asked.steps < 3:
        parser.error("need --peer, and at least 3 steps")
    print("| median of the rounds | processor s a step | clock s | least clock s | GiB |\n|---|---|---|---|---|")
    for name, costs in compare(asked.peer, asked.size, asked.steps, asked.rounds, asked.threads).items():
        clock, processor, memory = (statistics.median(column) for column in zip(*costs, strict=True))
        least = min(cost.clock for cost in costs)
        print(f"| {name} | {processor:.2f} | {clock:.2f} | {least:.2f} | {memory / 2**30:.2f} |")


if __name__ == "__main__":
    main()

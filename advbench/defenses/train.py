"""The only training loop: a defense is a loss, everything else about training stands here."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from advbench.core.draws import Draws
from advbench.core.losses import cross_entropy
from advbench.defenses.augment import AUGMENTS
from advbench.defenses.checkpoint import load_checkpoint, save_checkpoint
from advbench.defenses.curve import Curve, Epoch, Images, measure
from advbench.defenses.schedules import OPTIMIZERS
from advbench.defenses.settings import Training
from advbench.defenses.training_key import training_key
from advbench.types import ConfigError, ThreatModel, content_key

__all__ = ["UNPERTURBED", "Training", "TrainingLoss", "plain", "train"]

UNPERTURBED = ThreatModel(math.inf, 0.0)  # what a training without a defense defends against
_BATCHES_BETWEEN_LOOKS = 50  # at the loss: each look makes a GPU wait for its queue


class TrainingLoss(Protocol):
    """A training defense with its own parameters bound: the scalar that a batch is to lower."""

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws) -> Tensor: ...


def plain(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, draws: Draws) -> Tensor:
    """No defense: mean cross entropy on the images as they are."""
    return cross_entropy(model(x), y).mean()


def train(
    model: nn.Module,
    images: Images,
    labels: Tensor,
    *,
    training: Training,
    seed: int,
    loss: TrainingLoss = plain,
    threat: ThreatModel = UNPERTURBED,
    checkpoint: Path | None = None,
    device: str | torch.device = "cpu",
    progress: bool = True,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Curve:
    """Train `model` in place on images(ids) with labels (N,) int64, ids in 0 .. N - 1; it ends on `device`.

    Order, augmentation and attack noise follow from (seed, epoch, sample) alone: after an interruption the training
    goes on from `checkpoint`, written after each epoch, to the weights it would have had. on_epoch is called after
    that. The model's modes come back, torch's global random state is not moved.
    Raises ConfigError if there is nothing to train on, FloatingPointError when the loss is no longer finite.
    """
    if not len(labels):
        raise ConfigError("training needs at least one sample, got none")
    if threat.eps is None:
        raise ConfigError("training needs a radius: threat.eps is None")
    device = torch.device(device)
    # Small convolutions are up to twice as fast with the channels innermost, on CPU and GPU.
    _lay_out(model.to(device), torch.channels_last)
    make = OPTIMIZERS[training.optimizer]
    optimizer = make(model.parameters(), training.lr, training.weight_decay, training.momentum)
    held_out = min(training.held_out, len(labels) // 10)
    order = _shuffled(torch.arange(len(labels)), seed, "held out", 0)
    job = _Job(
        model, images, labels, order[held_out:], order[:held_out], loss, training, seed, threat, device, optimizer
    )
    curve, key = Curve(), ""
    if checkpoint is not None:
        key = training_key(model, images, labels, loss, training=training, threat=threat, seed=seed)
        curve = load_checkpoint(checkpoint, model, optimizer, key)
    with _modes_restored(model):
        while len(curve.epochs) < training.epochs:
            curve = Curve((*curve.epochs, _train_epoch(job, len(curve.epochs), progress)))
            if checkpoint is not None:
                save_checkpoint(checkpoint, model, optimizer, curve, key)
            if progress:
                _tell(curve)
            if on_epoch is not None:
                on_epoch(curve.epochs[-1])
    _lay_out(model, torch.contiguous_format)
    return curve


@dataclass(frozen=True)
class _Job:
    """What stays the same through a training."""

    model: nn.Module
    images: Images
    labels: Tensor
    ids: Tensor  # (n,) trained on
    held_out: Tensor  # (m,) only measured on
    loss: TrainingLoss
    training: Training
    seed: int
    threat: ThreatModel
    device: torch.device
    optimizer: Optimizer


def _train_epoch(job: _Job, epoch: int, progress: bool) -> Epoch:
    """Step through every training sample once, then measure."""
    training, start = job.training, time.perf_counter()
    ids = _shuffled(job.ids, job.seed, "order", epoch)
    batches = ids.tensor_split(math.ceil(len(ids) / training.batch_size))  # nearly equal: no batch of one at the end
    noise = int(content_key(["epoch", job.seed, epoch])[:12], 16)
    summed = torch.zeros((), device=job.device)
    job.model.train()
    rate, threat = training.lr, job.threat
    bar = tqdm(batches, f"epoch {epoch + 1}/{training.epochs}", leave=False, disable=not (progress and _on_terminal()))
    with _global_random_state(noise, job.device):
        for i, batch in enumerate(bar):
            rate = training.rate((epoch + i / len(batches)) / training.epochs)
            threat = _scaled(job.threat, training.ramp((epoch + (i + 1) / len(batches)) / training.epochs))
            for group in job.optimizer.param_groups:
                group["lr"] = rate
            summed += len(batch) * _train_batch(job, batch, threat, noise)
            if i % _BATCHES_BETWEEN_LOOKS == 0 or i + 1 == len(batches):
                _require_finite(summed.item(), epoch, training)
    seconds = time.perf_counter() - start
    seen = job.ids[: max(len(job.held_out), min(len(job.ids), training.batch_size))]
    train_accuracy, train_pgd_accuracy = _measured(job, seen)
    held_out_accuracy, held_out_pgd_accuracy = _measured(job, job.held_out)
    return Epoch(
        epoch=epoch + 1,
        loss=summed.item() / len(ids),
        learning_rate=rate,
        eps=threat.eps or 0.0,
        train_accuracy=train_accuracy,
        train_pgd_accuracy=train_pgd_accuracy,
        held_out_accuracy=held_out_accuracy,
        held_out_pgd_accuracy=held_out_pgd_accuracy,
        seconds=seconds,
    )


def _train_batch(job: _Job, batch: Tensor, threat: ThreatModel, noise: int) -> Tensor:
    """One step of the optimizer on the samples `batch` (B,); the loss (), detached."""
    y, draws = job.labels[batch].to(job.device), Draws(noise, batch.to(job.device))
    x = AUGMENTS[job.training.augment](job.images(batch).to(job.device), draws)
    with torch.autocast(job.device.type, torch.bfloat16, enabled=job.training.precision == "bfloat16"):
        value = job.loss(job.model, x, y, threat, draws=draws)
    job.optimizer.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    job.optimizer.step()
    return value.detach()


def _measured(job: _Job, ids: Tensor) -> tuple[float | None, float | None]:
    """Clean and PGD accuracy on `ids` (n,); None where there is nothing to measure."""
    return measure(
        job.model, job.images, job.labels, ids, threat=job.threat, seed=job.seed, size=job.training.batch_size
    )


def _shuffled(ids: Tensor, seed: int, purpose: str, counter: int) -> Tensor:
    """ids (n,) in an order drawn per sample."""
    return ids[Draws(seed, ids).words(1, purpose, counter)[:, 0].argsort(stable=True)]


def _scaled(threat: ThreatModel, share: float) -> ThreatModel:
    return threat if threat.eps is None else threat.at(share * threat.eps)


def _lay_out(model: nn.Module, layout: torch.memory_format) -> None:
    """Give all weights of convolutions (4 dimensions) this memory layout; their values stay."""
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)


@contextmanager
def _modes_restored(model: nn.Module) -> Iterator[None]:
    """Each module comes back in the mode, train or eval, that it came in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _global_random_state(seed: int, device: torch.device) -> Iterator[None]:
    """Layers such as dropout draw from torch's global generators: inside these start at `seed`, then they come back."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng([device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def _require_finite(loss: float, epoch: int, training: Training) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the loss became {loss} in epoch {epoch + 1}; lower training.lr (now {training.lr:g}) or check the images"
        )


def _on_terminal() -> bool:
    return sys.stderr.isatty()


def _tell(curve: Curve) -> None:
    tqdm.write(str(curve.epochs[-1]), file=sys.stderr)
    if curve.collapsed:
        tqdm.write("  catastrophic overfitting: PGD accuracy on training samples has collapsed", file=sys.stderr)

"""A small convolutional network with fixed weights, and a witness of which samples go through it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.core.gradients import attended_rows


def conv_net(seed: int = 0, classes: int = 4) -> nn.Module:
    """A curved network on 1 x 6 x 6 images, in eval mode, that calls noise each of its classes about equally often."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 16), nn.ReLU())
        head = nn.Linear(16, classes)
    with torch.no_grad():
        noise = torch.rand(512, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
        logits = head(body(noise))
        head.bias.sub_(logits.mean(0))
        for parameter in head.parameters():
            parameter.mul_(4.0 / (logits - logits.mean(0)).std())
    return nn.Sequential(body, head).eval()


def images(model: nn.Module, count: int = 16, seed: int = 1) -> tuple[Tensor, Tensor, Draws]:
    """x (B, 1, 6, 6), the model's own labels for them, and their draws."""
    x = torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
    return x, model(x).argmax(1), Draws(seed, torch.arange(count))


class Counting(nn.Module):
    """Counts passes per row of the attacked batch, as the core announces them; keeps each pass's predictions."""

    def __init__(self, model: nn.Module, count: int) -> None:
        super().__init__()
        self.model = model
        self.passes = torch.zeros(count, dtype=torch.int64)
        self.predictions: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        rows = attended_rows()
        assert rows is not None
        self.passes.index_add_(0, rows, torch.ones_like(rows))  # a row may be asked about several times
        self.predictions.append(logits.argmax(1))
        return logits


class Shaky(nn.Module):
    """`model` behind Gaussian noise drawn from torch's own generator at every pass, as a randomised defence has it."""

    def __init__(self, model: nn.Module, noise: float = 0.1) -> None:
        super().__init__()
        self.model, self.noise = model, noise

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x + self.noise * torch.randn_like(x))
        return logits

    def fooled_share(self, x: Tensor, y: Tensor, passes: int = 200) -> float:
        """Share of fresh passes of x (B, ...) that do not say y (B,)."""
        with torch.no_grad():
            return float(torch.stack([self(x).argmax(1) != y for _ in range(passes)]).double().mean())

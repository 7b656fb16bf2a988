"""Small networks with fixed weights, one for each thing that an attribution may need."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import VisionTransformer

from advbench.registry import Needs
from tests.attacks.small_nets import conv_net

SHAPES: dict[Needs, tuple[int, int, int]] = {
    "": (1, 6, 6),
    "relu": (1, 6, 6),
    "maps": (1, 6, 6),
    "pooled maps": (3, 13, 10),
    "attention": (3, 16, 16),
}


def net_with(needs: Needs) -> nn.Module:
    """A model of 4 classes, in eval mode, that has what is needed, for images of SHAPES[needs]."""
    if needs == "attention":
        return tiny_vit()
    return pooled_net() if needs == "pooled maps" else conv_net()


def pooled_net(seed: int = 3) -> nn.Sequential:
    """conv, ReLU, conv, ReLU, global mean, linear: what CAM is defined for."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
        ).eval()


def tiny_vit(seed: int = 4) -> nn.Module:
    """torchvision's vision transformer with two blocks of two heads, patches of 4 on 16 x 16."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = VisionTransformer(
            image_size=16, patch_size=4, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=4
        )
        nn.init.normal_(net.heads.head.weight)  # comes as zeros: every image would get the same scores
    return net.eval()


class FunctionalTwin(nn.Module):
    """`conv_net` written with F.relu, a ReLU that overwrites its input, and the same module twice."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        body, head = model.children()
        layers = list(body.children())
        self.conv, self.pool, self.hidden, self.head = layers[0], layers[2], layers[4], head
        self.again = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.relu_(self.conv(x))
        pooled = self.pool(self.again(functional.relu(maps)))
        logits: Tensor = self.head(self.again(self.hidden(pooled.flatten(1))))
        return logits

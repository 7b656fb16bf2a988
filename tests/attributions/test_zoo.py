"""The CAM family, the rules for ReLUs and both of attention, on torchvision's families and on our own models.

A method works or says why it cannot, and what can. Random weights and small images suffice for that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision import models as tv
from torchvision.models.convnext import CNBlockConfig

from advbench import load_model
from advbench.attributions.cam import cam
from advbench.attributions.explain import explain
from advbench.attributions.grad_cam import grad_cam
from advbench.attributions.score_cam import score_cam
from advbench.core.default_layer import default_layer
from advbench.core.spatial import layer_maps
from advbench.core.targets import logit
from advbench.datasets.images import read_image
from advbench.testing.witness import state_of
from advbench.types import ConfigError
from tests.attributions.attention_nets import swin
from tests.attributions.cam_nets import pictures

pytestmark = pytest.mark.slow

FEW = {"squeezenet": "features.0", "alexnet": "features.0", "resnet": "layer1"}  # for one pass per channel
MAPS = ("grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "score_cam")
NO_MEAN, BENT, NO_MAPS = "no mean over all of a map; hires_cam and grad_cam", "no linear function", "no convolution"
NO_ATTENTION, SMOOTH = "no self-attention; grad_cam", "is defined for ReLU, and this model uses"
NO_RELU = "changes what passes a ReLU, and this model calls none"
RULES = ("guided_backprop", "deconvnet", "guided_grad_cam")


def vit() -> nn.Module:
    net: nn.Module = tv.VisionTransformer(
        image_size=64, patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=4
    )
    nn.init.normal_(net.get_parameter("heads.head.weight"))  # comes as zeros: no gradient would flow
    return net


def convnext() -> nn.Module:
    settings = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, 16, 1), CNBlockConfig(16, None, 1)]
    net: nn.Module = tv.ConvNeXt(settings, num_classes=4, layer_scale=0.5)
    return net


def resnet() -> nn.Module:
    net: nn.Module = tv.ResNet(tv.resnet.BasicBlock, [1, 1, 1, 1], num_classes=4)
    return net


def vgg() -> nn.Module:
    net: nn.Module = tv.VGG(tv.vgg.make_layers([8, "M", 8, "M", 16, "M", 16, "M", 16, "M"]), init_weights=False)
    net.classifier = narrow(16 * 7 * 7)
    return net


def alexnet() -> nn.Module:
    net: nn.Module = tv.alexnet()
    net.classifier = narrow(256 * 6 * 6)
    return net


def narrow(inputs: int) -> nn.Sequential:
    """The head of VGG and AlexNet, with 32 units in place of 4,096."""
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(32, 4))


def mobilenet_v3() -> nn.Module:
    net: nn.Module = tv.mobilenet_v3_small(num_classes=4, width_mult=0.25)
    return net


def saturating() -> nn.Module:
    """A network of before there were ReLUs."""
    maps = (nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.Tanh())
    return nn.Sequential(*maps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def ours(name: str, shape: tuple[int, int, int], **params: object) -> Callable[[], nn.Module]:
    return lambda: load_model(name, shape=shape, classes=4, params=params)


# builder, image, default layer, why cam does not work (or ""), the same of RULES, of the attention methods
Case = tuple[Callable[[], nn.Module], tuple[int, int, int], str, str, str, str]
IMAGE, DIGIT = (3, 64, 64), (1, 28, 28)
ZOO: dict[str, Case] = {
    "squeezenet": (lambda: tv.squeezenet1_1(num_classes=4), (3, 96, 96), "features", "", "", NO_ATTENTION),
    "alexnet": (alexnet, (3, 96, 96), "features.11", NO_MEAN, "", NO_ATTENTION),
    "vgg": (vgg, IMAGE, "features.10", NO_MEAN, "", NO_ATTENTION),
    "resnet": (resnet, IMAGE, "layer2", "", "", NO_ATTENTION),
    "densenet": (lambda: tv.DenseNet(4, (2, 2, 2, 2), 8, num_classes=4), IMAGE, "", "", "", NO_ATTENTION),
    "mobilenet_v2": (lambda: tv.mobilenet_v2(num_classes=4, width_mult=0.25), IMAGE, "", "", "", NO_ATTENTION),
    "mobilenet_v3": (mobilenet_v3, IMAGE, "", BENT, SMOOTH, NO_ATTENTION),
    "vit": (vit, IMAGE, "encoder.layers.encoder_layer_2.ln_1", NO_MEAN, SMOOTH, ""),
    "swin": (swin, IMAGE, "permute", "", SMOOTH, "within windows"),
    "convnext": (convnext, IMAGE, "features.4.0", BENT, SMOOTH, NO_ATTENTION),
    "saturating": (saturating, DIGIT, "4", "", NO_RELU, NO_ATTENTION),
    "small_cnn": (ours("small_cnn", DIGIT), DIGIT, "", NO_MEAN, "", NO_ATTENTION),
    "lenet5": (ours("lenet5", DIGIT), DIGIT, "", NO_MEAN, "", NO_ATTENTION),
    "preact_resnet18": (ours("preact_resnet18", (3, 32, 32), width=8), (3, 32, 32), "", "", "", NO_ATTENTION),
    "wide_resnet": (ours("wide_resnet", (3, 32, 32), depth=10, width=1), (3, 32, 32), "", "", "", NO_ATTENTION),
}


def built(case: Case) -> tuple[nn.Module, Tensor, Tensor]:
    """The model in eval mode, two images, and the classes it gives them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = case[0]().eval()
    x = pictures(2, case[1])
    with torch.no_grad():
        return model, x, model(x).argmax(1)


@pytest.mark.parametrize("name", ZOO)
def test_every_method_works_or_says_why_not(name: str) -> None:
    case = ZOO[name]
    model, x, y = built(case)
    found = default_layer(model, x, logit(y))
    assert found == case[2] or not case[2]
    before = state_of(model)
    reasons = dict.fromkeys(MAPS, "") | {"cam": case[3]} | dict.fromkeys(RULES, case[4])
    reasons |= dict.fromkeys(("attention_rollout", "attention_gradient"), case[5])
    for method, reason in reasons.items():
        if reason:
            with pytest.raises(ConfigError, match=reason):
                explain(method, model, x, y)
            continue
        count = 1 if method == "score_cam" else 2
        if method == "score_cam":
            heat = score_cam(model, x[:1], y[:1], layer=FEW.get(name))
        else:
            heat = explain(method, model, x, y)
        channels = x.shape[1] if method in RULES else 1
        assert heat.shape == (count, channels, *x.shape[2:]), method
        assert bool(torch.isfinite(heat).all()), method
        assert bool((heat.flatten(1).amax(1) > heat.flatten(1).amin(1)).all()), f"{method}: a level map"
    assert state_of(model) == before


@pytest.mark.parametrize("name", [name for name, case in ZOO.items() if not case[3] and name != "squeezenet"])
def test_cam_is_complete(name: str) -> None:
    """Its mean is the score less a bias. These maps' cells are whole pixels, so that enlarging keeps the mean."""
    model, x, _ = built(ZOO[name])
    y = torch.zeros(2, dtype=torch.int64)
    total = cam(model, x, y).mean((1, 2, 3))
    rise = model(x)[:, 0].detach() - total
    assert torch.allclose(rise[0], rise[1], atol=1e-4 * float(total.abs().max()) + 1e-7)


@pytest.mark.parametrize(
    ("name", "layer"),
    [("resnet", "layer4"), ("mobilenet_v2", "features"), ("swin", "permute"), ("squeezenet", "classifier.2")],
)
def test_grad_cam_of_the_averaged_maps_is_cam(name: str, layer: str) -> None:
    model, x, y = built(ZOO[name])
    cells = layer_maps(model, x, layer)[0, 0].numel()
    once, divided = grad_cam(model, x, y, layer=layer), cam(model, x, y, relu=True) / cells
    assert torch.allclose(once, divided, rtol=1e-3, atol=1e-5 * float(divided.max()))
    assert bool(divided.any())


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_networks_without_maps_are_refused(name: str) -> None:
    model = load_model(name, shape=DIGIT, classes=4)
    for method in (*MAPS, "cam", "guided_grad_cam", "attention_rollout"):
        with pytest.raises(ConfigError):
            explain(method, model, pictures(1, DIGIT), 0)


def test_the_samoyeds_face_makes_it_a_samoyed(shared_data: Path) -> None:
    """SqueezeNet's published weights and a photograph: every map is highest on the dog's head, in the upper left."""
    weights = shared_data / "imagenet_weights" / "squeezenet1_1_caffe.safetensors"
    model = load_model("torchvision:squeezenet1_1", weights=weights)
    x = read_image(shared_data / "photos_hub" / "dog_258.jpg", size=224)[None]
    for method in ("grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "cam"):
        row, column = divmod(int(explain(method, model, x, 258).argmax()), 224)
        assert 20 < row < 60, method
        assert 5 < column < 70, method

"""When another network would make a better picture: what the command says after its work."""

from __future__ import annotations

from torch import nn

VGG = "torchvision:vgg19@IMAGENET1K_V1"
# What is taken if no model is named; torchvision downloads it once.
DEFAULT_MODELS = {"texture": VGG, "style": VGG, "arf": VGG}

_FEW = 8  # convolutions: fewer see edges, colours and simple patterns, but no parts of things
_OF_TEXTURE = ("texture", "style", "adaptive_style", "arf")
_BETTER = {
    "texture": f"{VGG}, then torchvision:squeezenet1_1@IMAGENET1K_V1",
    "things": f"torchvision:squeezenet1_1@IMAGENET1K_V1 or {VGG}",
    "any": "torchvision:resnet18@IMAGENET1K_V1 or torchvision:vit_b_16@IMAGENET1K_V1",
}
_KINDS = {**dict.fromkeys(_OF_TEXTURE, "texture"), "plug_in_inversion": "any"}
_NOT_USED = ("fast_style", "efros_leung", "wei_levoy")


def advice(method: str, model: nn.Module) -> str | None:
    """A line that names networks that suit the method better, or None if this one may be as good as any.

    It looks at the network, not at its name: how many convolutions it has, and, for methods of texture, whether it has
    short cuts (their maps are peaky, which texture distances suffer from; arXiv:2104.05623).
    """
    if method in _NOT_USED:
        return None
    modules = list(model.modules())
    convolutions = sum(isinstance(module, nn.Conv2d) for module in modules)
    better = _BETTER[_KINDS.get(method, "things")]
    attends = any(isinstance(module, nn.MultiheadAttention) for module in modules)
    if convolutions < _FEW and not attends:
        return f"note: a network of {convolutions} convolutions knows little more than edges; better: {better}"
    if method in _OF_TEXTURE and any("downsample" in name for name, _ in model.named_modules()):
        smooth = " or --param smooth=true" if method == "style" else ""
        return f"note: residual networks give poor textures; better: {better}{smooth}"
    return None

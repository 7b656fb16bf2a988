"""Names of the classes of well-known datasets, in the order of their labels."""

from __future__ import annotations

from advbench.names import nearest
from advbench.types import ConfigError

_DIGITS = tuple("0123456789")

_CIFAR100 = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """.split()  # noqa: SIM905
)

_NAMES = {
    "digits": _DIGITS,
    "mnist": _DIGITS,
    "svhn": _DIGITS,
    "kmnist": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "cifar100": _CIFAR100,
}

NAMED = (*_NAMES, "imagenet")  # datasets whose names are known here


def class_names(dataset: str) -> tuple[str, ...]:
    """The names, label 0 first. Raises ConfigError for a dataset whose names are not known here."""
    if dataset == "imagenet":
        from torchvision.models import ResNet18_Weights  # it carries the 1,000 names

        return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    if dataset not in _NAMES:
        raise ConfigError(f"no class names for {dataset!r}; {nearest(dataset, [*NAMED])}Known: {', '.join(NAMED)}")
    return _NAMES[dataset]


def numbered(count: int) -> tuple[str, ...]:
    """Names for classes of which only the number is known: "0", "1", ..."""
    return tuple(str(number) for number in range(count))

"""The one-line names of models: `name`, `name:argument`, `name:argument@weights`, `name:argument#entry`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from advbench.types import ConfigError

_FORM = re.compile(r"(?P<name>\w+)(?::(?P<argument>[^@#]+))?(?:@(?P<weights>[^@#]+))?(?:#(?P<entry>[^@#]+))?")


@dataclass(frozen=True)
class Spec:
    """A spec taken apart; "" where a part is missing."""

    name: str
    argument: str = ""
    weights: str = ""
    entry: str = ""

    def __str__(self) -> str:
        marked = ((":", self.argument), ("@", self.weights), ("#", self.entry))
        return self.name + "".join(mark + part for mark, part in marked if part)


def parse_spec(text: str) -> Spec:
    """The parts of `text`: a registered name, then `:argument`, `@weights`, `#entry`, each optional, in this order.

    A part that itself holds `@` or `#` is given as a parameter instead. Raises ConfigError on any other form.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ConfigError(
            f"a model is written name[:argument][@weights][#entry], such as small_cnn, torchvision:resnet18@DEFAULT "
            f"or sequential:layers.json#entry; got {text!r}"
        )
    return Spec(**{part: value or "" for part, value in match.groupdict().items()})

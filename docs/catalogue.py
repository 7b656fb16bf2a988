"""Write docs/attacks.md from the registry: `python docs/catalogue.py`. A test holds the file to it."""

from __future__ import annotations

import importlib
from pathlib import Path

from advbench.registry import ATTACKS, AttackInfo, Entry
from advbench.types import norm_name

FOLDERS = ("gradient", "minimum_norm", "score", "decision", "transfer", "physical", "ensemble", "explanation")
DOCS = Path(__file__).parent

HEAD = """# The attacks

Written by `python docs/catalogue.py` from the registry. `advbench show attack NAME` prints an attack's parameters with
their defaults; `advbench list attacks` prints a similar table in the terminal.

- **radius**: *ball*: works in a ball of given eps; *nearest*: looks for the nearest example, one run serves all eps;
  *free*: runs with and without a radius.
- **goal**: *any*: untargeted or towards a class; *leave*: untargeted only; *keep*: the class stays, the explanation
  changes.
- **cost**: forward + backward passes of a sample that holds, with the default parameters. Fooled samples leave early.
"""


def catalogue() -> str:
    """The whole page."""
    by_folder = {folder: [entry for entry in ATTACKS if _folder(entry) == folder] for folder in FOLDERS}
    return HEAD + "".join(_section(folder, entries) for folder, entries in by_folder.items() if entries)


def _section(folder: str, entries: list[Entry[AttackInfo]]) -> str:
    sign = (importlib.import_module(f"advbench.attacks.{folder}").__doc__ or "").strip().split("\n")[0]
    lead = sign.removesuffix("See advbench.attacks.").removesuffix("See advbench.attacks for the signature.").strip()
    rows = "\n".join(_row(entry) for entry in entries)
    pictures = "".join(f"\n![{entry.name}](pictures/{entry.name}.png)\n" for entry in entries if _picture(entry))
    head = "| attack | norms | radius | goal | cost | what it does |\n|---|---|---|---|---|---|"
    return f"\n## {folder.replace('_', ' ').capitalize()}\n\n{lead}\n\n{head}\n{rows}\n{pictures}"


def _row(entry: Entry[AttackInfo]) -> str:
    info = entry.info
    radius = "nearest" if info.minimum_norm else "free" if info.unbounded else "ball"
    cost = "" if info.cost is None else f"{info.cost[0]:,} + {info.cost[1]:,}"
    goal = "keep" if info.keeps_label else "any" if entry.takes("targeted") else "leave"
    norms = " ".join(map(norm_name, info.norms))
    paper = f" {info.paper}." if info.paper and info.paper not in entry.summary else ""
    return f"| `{entry.name}` | {norms} | {radius} | {goal} | {cost} | {entry.summary}{paper} |"


def _folder(entry: Entry[AttackInfo]) -> str:
    return entry.function.__module__.split(".")[2]


def _picture(entry: Entry[AttackInfo]) -> bool:
    return (DOCS / "pictures" / f"{entry.name}.png").exists()


if __name__ == "__main__":
    (DOCS / "attacks.md").write_text(catalogue())

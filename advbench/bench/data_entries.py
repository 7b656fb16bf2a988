"""Images in a matrix: those that are attacked, and those that one perturbation for all is learned on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from advbench.bench.belonging import entry_of
from advbench.bench.jobs import DataChoice
from advbench.bench.parameters import content_of, resolve_path
from advbench.bench.sections import integer, table, word
from advbench.bench.yaml_loader import Node, placing
from advbench.registry import DATASETS
from advbench.types import Json

DATA_KEYS = ("name", "split", "count", "choose", "train", "root", "size")
LEARNED_KEYS = ("name", "split", "count", "choose")


def read_data(node: Node) -> DataChoice:
    """What the key `data` says: a spec alone, or a table of DATA_KEYS."""
    if isinstance(node.value, str):
        return DataChoice(dataset_spec(node, "test"))
    fields = table(node, DATA_KEYS, ("name",))
    choose = _choose(fields.get("choose"))
    if choose == "all" and "count" in fields:
        raise fields["count"].error("does not go with choose: all")
    split = word(fields["split"]) if "split" in fields else "test"
    return DataChoice(
        name=dataset_spec(fields["name"], split),
        split=split,
        count=integer(fields, "count", lowest=1) if "count" in fields else None,
        choose=choose,
        train=dataset_spec(fields["train"], "train") if "train" in fields else None,
        root=str(resolve_path(fields["root"], word(fields["root"]))) if "root" in fields else None,
        size=integer(fields, "size", lowest=1) if "size" in fields else None,
    )


def _choose(node: Node | None) -> Literal["stratified", "first", "all"]:
    match "stratified" if node is None else node.value:
        case "stratified":
            return "stratified"
        case "first":
            return "first"
        case "all":
            return "all"
    assert node is not None
    raise node.error(f"must be stratified, first or all, got {node.kind}")


def dataset_spec(node: Node, split: str) -> str:
    """A dataset's name, or KIND:PATH with the path made absolute; {split} in the path stays, but that file must be."""
    kind, colon, rest = word(node).partition(":")
    with placing(node):
        entry_of(DATASETS, kind)
    if not colon:
        return kind
    path, _, labels_of = rest.partition("#")
    absolute = f"{kind}:{resolve_path(node, path, split)}"
    # A "#" in the path itself must not be taken for the mark of `labels_of`.
    return f"{absolute}#{labels_of}" if labels_of or "#" in absolute else absolute


def read_images(node: Node) -> list[Json]:
    """A parameter that is a tensor in Python: `images` is written {name, split, count, choose} like `data`, with the
    split "train" unless another is given. Raises ConfigError for every other tensor.
    """
    if not node.path.endswith(".images"):
        raise node.error("is a tensor, which Python alone can give")
    fields = {"name": node} if isinstance(node.value, str) else table(node, LEARNED_KEYS, ("name",))
    split = word(fields["split"]) if "split" in fields else "train"
    spec = dataset_spec(fields["name"], split)
    return [
        {
            "data": {"path": spec, "sha256": content_of_spec(spec, split)},
            "split": split,
            "count": integer(fields, "count", lowest=1) if "count" in fields else None,
            "choose": _choose(fields.get("choose")),
        }
    ]


def content_of_spec(spec: str, split: str) -> str:
    """What a spec stands for: a name, or kind:hash of its file or folder in place of the path.

    Behind the name of a third party's reader stands "@" and what its code is known by.
    """
    kind, colon, rest = spec.partition(":")
    path = rest.rpartition("#")[0] or rest
    code = DATASETS[kind].code
    name = f"{kind}@{code}" if code else kind
    return f"{name}:{content_of(Path(path.replace('{split}', split)))}" if colon else name

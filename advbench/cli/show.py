"""`advbench show`: one registered thing in full."""

from __future__ import annotations

import json

import click

FILLED = {"datasets": ("root", "download")}  # what whoever calls fills in; `root` is a key of a matrix's data

# What a matrix writes where Python takes a tensor.
WRITTEN = {("attacks", "images"): "a dataset or a table like `data` of a matrix, or null"}


@click.command(epilog="Example: advbench show attack pgd")
@click.argument("kind")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def show(kind: str, name: str, as_json: bool) -> None:
    """Print what is known about NAME of KIND: its parameters with defaults and types, its paper, its text."""
    import inspect

    from advbench.cli.kinds import KINDS, facts, kind_of
    from advbench.core.annotations import describe

    table = kind_of(kind)
    entry = KINDS[table][name]
    parameters = {
        own.name: {
            "type": WRITTEN.get((table, own.name)) or describe(own.annotation),
            "default": None if own.default is own.empty else _default(own.default),
            "required": own.default is own.empty,
        }
        for own in entry.parameters().values()
        if own.name not in FILLED.get(table, ())
    }
    known = facts(entry)
    text = inspect.getdoc(entry.function) or ""
    if as_json:
        click.echo(json.dumps({**known, "parameters": parameters, "text": text}, indent=1))
        return
    click.echo(f"{entry.name}: {entry.summary}\n")
    for key, value in known.items():
        if key not in ("name", "summary") and value not in (None, ""):
            shown = " ".join(map(str, value)) if isinstance(value, list | tuple) else value
            click.echo(f"{key.replace('_', '-')}: {shown}")
    click.echo("\nParameters" if parameters else "\nNo parameters")
    for label, about in parameters.items():
        click.echo(
            f"  {label}: {about['type']}, " + ("required" if about["required"] else f"default {about['default']}")
        )
    click.echo(f"\n{text}")


def _default(value: object) -> str:
    """A default as a user would write it."""
    if callable(value):
        return str(getattr(value, "__name__", value))
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)

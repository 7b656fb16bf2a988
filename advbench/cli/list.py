"""`advbench list`: what there is to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from shutil import get_terminal_size
from textwrap import TextWrapper

import click

from advbench.types import Json

WIDTH = 100  # where the output goes to no terminal
TEXTS = ("paper", "source", "summary")  # columns that may be long
INDENT = "    "


@click.command("list", epilog="Example: advbench list attacks --norm inf")
@click.argument("kind", required=False)
@click.option("--norm", help="Only what works in this norm: 0, 1, 2 or inf. Attacks and controls have norms.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def list_command(kind: str | None, norm: str | None, as_json: bool) -> None:
    """Print the registered KIND: attacks, controls, attributions, syntheses, defenses, models or datasets; else all.

    Exit code 3 if nothing matches.
    """
    import json

    from advbench.cli.kinds import KINDS, facts, kind_of
    from advbench.types import norm_name, norm_of

    wanted = [kind_of(kind)] if kind else list(KINDS)
    only = None if norm is None else norm_name(norm_of(norm))
    found = {name: [facts(entry) for entry in KINDS[name]] for name in wanted}
    if only is not None:
        found = {name: [row for row in rows if _has(row, only)] for name, rows in found.items()}
    found = {name: rows for name, rows in found.items() if rows}
    if as_json:
        click.echo(json.dumps(found, indent=1))
    elif found:
        width = get_terminal_size((WIDTH, 24)).columns
        click.echo("\n\n".join(_table(kind, rows, width) for kind, rows in found.items()))
    if not found:
        which = "" if only is None else f" that works in {only}"
        click.echo(f"Nothing to list: there is none among {', '.join(wanted)}{which}.", err=True)
        raise click.exceptions.Exit(3)


def _has(row: Mapping[str, Json], norm: str) -> bool:
    norms = row.get("norms")
    return isinstance(norms, list) and norm in norms


def _table(kind: str, rows: Sequence[Mapping[str, Json]], width: int) -> str:
    """Columns two blanks apart under their names; the kind stands above the names.

    Where that is wider than `width`, the texts of an entry stand in lines of their own below its capabilities.
    """
    columns = [name for name in rows[0] if any(row[name] not in (None, "") for row in rows)]
    lines = _aligned(kind, rows, columns)
    if max(map(len, lines)) <= width:
        return "\n".join(lines)
    head, *lines = _aligned(kind, rows, [name for name in columns if name not in TEXTS])
    paragraph = TextWrapper(
        width, initial_indent=INDENT, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False
    )
    below = [paragraph.fill(_text(row)) for row in rows]
    return "\n".join([head, *(f"{line}\n{text}" for line, text in zip(lines, below, strict=True))])


def _aligned(kind: str, rows: Sequence[Mapping[str, Json]], columns: Sequence[str]) -> list[str]:
    cells = [[kind if name == "name" else name.replace("_", "-") for name in columns]]
    cells += [[_shown(row[name]) for name in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return ["  ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)).rstrip() for line in cells]


def _text(row: Mapping[str, Json]) -> str:
    """The summary, with the paper and the source that it does not name itself."""
    summary, *others = (str(row.get(name) or "") for name in ("summary", "paper", "source"))
    return " ".join([summary, *(f"{other}." for other in others if other not in summary)])


def _shown(value: Json) -> str:
    match value:
        case True:
            return "yes"
        case False | None:
            return "-"
        case list() | tuple():
            return " ".join(map(str, value))
        case _:
            return str(value)

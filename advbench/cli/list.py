"""`advbench list`: what there is to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from advbench.types import Json


@click.command("list", epilog="Example: advbench list attacks --norm inf")
@click.argument("kind", required=False)
@click.option("--norm", help="Only what works in this norm: 0, 1, 2 or inf. Attacks and controls have norms.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def list_command(kind: str | None, norm: str | None, as_json: bool) -> None:
    """Print the registered KIND: attacks, controls, defenses, models, datasets or attributions; all without KIND.

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
    click.echo(json.dumps(found, indent=1) if as_json else "\n\n".join(_table(*item) for item in found.items()))
    if not found:
        raise click.exceptions.Exit(3)


def _has(row: Mapping[str, Json], norm: str) -> bool:
    norms = row.get("norms")
    return isinstance(norms, list) and norm in norms


def _table(kind: str, rows: Sequence[Mapping[str, Json]]) -> str:
    """Columns two blanks apart under their names; the kind stands above the names."""
    columns = [name for name in rows[0] if any(row[name] not in (None, "") for row in rows)]
    cells = [[kind if name == "name" else name.replace("_", "-") for name in columns]]
    cells += [[_shown(row[name]) for name in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)).rstrip() for line in cells)


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

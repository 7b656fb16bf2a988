"""`advbench verify`: is what is stored still what was computed?"""

from __future__ import annotations

from pathlib import Path

import click


@click.command(epilog="Example: advbench verify results/digits")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--allow-code", is_flag=True, help="Run model code that the matrix names (python:module:function).")
@click.pass_context
def verify(context: click.Context, folder: Path, allow_code: bool) -> None:
    """Check the finished cells in DIR: files against their hashes, summaries against the stored rows.

    Where matrix file, data and weights are at hand, the stored examples are judged again by the model. Nothing is
    trained. Exit code 1 if anything is wrong.
    """
    from advbench.bench.cell_folder import REPAIR
    from advbench.bench.verify import verify as findings_in

    wrong = 0
    for finding in findings_in(folder, allow_code=allow_code):
        wrong += finding.wrong
        click.echo(f"{'WRONG' if finding.wrong else 'note '} {finding.folder}: {finding.message}")
    checked = sum(1 for _ in folder.rglob("cell.json"))
    click.echo(f"{checked} finished cells checked: " + (f"{wrong} problems" if wrong else "nothing wrong"))
    if wrong:
        click.echo(f"To mend what is WRONG, {REPAIR}.")
    context.exit(1 if wrong else 0)

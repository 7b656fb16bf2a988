"""`advbench status`: how far a matrix is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click


@click.command(epilog="Example: advbench status results/digits")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
def status(folder: Path) -> None:
    """List the cells stored in DIR: done, damaged, failed, running, missing or skipped, and why.

    Below a finished cell: what to beware of in its results.
    """
    from advbench.bench.export import printable
    from advbench.bench.progress import name_of, stored_notes
    from advbench.bench.status import cell_states, matrix_folders

    for matrix in matrix_folders(folder):
        states = cell_states(matrix)
        counts = Counter(state.status for state in states)
        click.echo(f"{matrix}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
        for state in states:
            detail = f"   {printable(state.detail)}" if state.detail else ""
            click.echo(
                f"  {state.status:8} {name_of(state.labels, nearest=state.eps is None and bool(state.key))}{detail}"
            )
            for note in stored_notes(state.folder) if state.status == "done" else ():
                click.echo(f"           {printable(note)}")

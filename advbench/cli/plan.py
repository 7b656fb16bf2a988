"""`advbench plan`: what a matrix comes to, before anything runs."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(epilog="Example: advbench plan benchmarks/digits.yaml")
@click.argument("matrix", metavar="M.yaml", type=click.Path(path_type=Path))
@click.option("--results", default="results", show_default=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.option("--allow-code", is_flag=True, help="Accept models given as python:module:function.")
def plan(matrix: Path, results: Path, as_json: bool, allow_code: bool) -> None:
    """Print the cells of M.yaml, skips with their reasons, what is stored already, and the cost.

    Nothing is trained or attacked. Exit code 3 if the matrix has no cell to run.
    """
    from advbench.bench.sections import read_sections

    read_sections(matrix)  # a misspelled key is answered before torch is imported
    import json

    from advbench.bench import plan as planning
    from advbench.bench.config import load_matrix
    from advbench.bench.matrix import expand

    unfolded = expand(load_matrix(matrix, allow_code=allow_code))
    if as_json:
        click.echo(json.dumps(planning.as_json(unfolded, results), indent=1))
    else:
        click.echo(planning.describe(unfolded, results))
    if not unfolded.jobs:
        raise click.exceptions.Exit(3)

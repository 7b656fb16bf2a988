"""`advbench run`: what is missing of a matrix."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from advbench.cli.outputs import OUT_FOLDER


@click.command(epilog="Example: advbench run benchmarks/digits.yaml --workers 2 --only 'model=small*,attack=pgd*'")
@click.argument("matrix", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--results", default="results", show_default=True, type=OUT_FOLDER, help="The store.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes on this machine.")
@click.option("--engine", default="local", show_default=True, type=click.Choice(["local", "ray"]))
@click.option("--only", metavar="EXPR", help="Cells whose names match, such as 'model=*cnn*,attack=pgd*'.")
@click.option("--samples", type=click.IntRange(1), help="Instead of the count in MATRIX.")
@click.option("--micro-batch", type=click.IntRange(1), help="Samples at once; found by itself if not given.")
@click.option("--allow-code", is_flag=True, help="Run model code that MATRIX names (python:module:function).")
@click.pass_context
def run(
    context: click.Context,
    *,
    matrix: Path,
    results: Path,
    device: str,
    workers: int,
    engine: str,
    only: str | None,
    samples: int | None,
    micro_batch: int | None,
    allow_code: bool,
) -> None:
    """Compute every cell of MATRIX that has no stored result.

    Stop it when you like: the next run goes on where this one ended. A cell that fails does not stop the others, is
    listed at the end, and is tried again by the next run.

    Exit codes: 0 all done, 1 some cells failed, 2 bad usage or matrix, or a disk that is full or closed, 3 nothing
    selected, 130 or 143 interrupted.
    """
    from advbench.bench.sections import read_sections

    read_sections(matrix)  # a misspelled key is answered before torch is imported
    from advbench.bench.progress import final_lines
    from advbench.bench.runner import run as run_matrix

    tally = run_matrix(
        matrix,
        results=results,
        device=device,
        workers=workers,
        engine=engine,
        only=only,
        samples=samples,
        allow_code=allow_code,
        micro_batch=micro_batch,
    )
    if not tally.selected:
        click.echo(f"{matrix}: nothing selected: {tally.reason}", err=True)
        context.exit(tally.exit_code)
    for line in final_lines(tally.cells, tally.selected):
        click.echo(line)
    if tally.signum:
        click.echo(f"interrupted; go on with: {shlex.join(['advbench', *sys.argv[1:]])}", err=True)
    context.exit(tally.exit_code)

"""`advbench export`: stored results as a table for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from advbench.cli.outputs import OUT_FILE


@click.command(epilog="Example: advbench export results/digits --format csv --out digits.csv")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--format", "form", default="csv", show_default=True,
    type=click.Choice(["csv", "json", "latex", "markdown", "parquet"]),
)  # fmt: skip
@click.option("--out", type=OUT_FILE, help="A file instead of the terminal.")
def export(folder: Path, form: str, out: Path | None) -> None:
    """Write a row per cell and eps of the results in DIR; cells without a result are empty and say why."""
    from advbench.bench.export import export as exported
    from advbench.store import atomic_write

    content = exported(folder, form)
    if out is not None:
        atomic_write(out, lambda file: file.write(content))
        click.echo(f"wrote {out}")
    elif form == "parquet":
        raise click.UsageError("--format parquet needs --out FILE")
    else:
        click.echo(content, nl=False)
